"""Writing a text file whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from har.errors import UserError


def write_text(path: str | os.PathLike, text: str) -> Path:
  """Writes `path` so that a reader, or a killed run, sees the old content or the new, never a part.

  Folders are made as needed.

  Raises:
    UserError: the file cannot be written; what was at `path` is untouched.
  """
  path = Path(path)
  draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      with open(draft, 'w', encoding='utf-8', newline='') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
      os.replace(draft, path)
    finally:
      draft.unlink(missing_ok=True)
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror or error}') from error
  return path


def file_size(count: float) -> str:
  """A number of bytes as a person reads it, in powers of 1000."""
  for unit, scale in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if count >= scale:
      return f'{count / scale:.3g} {unit}'
  return f'{count:.0f} B'


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
  """A table for the terminal, head first; its first `left` columns are text, the others numbers."""
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  text = [
    '  '.join(
      cell.ljust(width) if i < left else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    for line in lines
  ]
  return '\n'.join([text[0], '-' * len(text[0]), *text[1:]])
