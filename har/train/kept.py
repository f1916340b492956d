"""What frozen parts gave, on disk: found by a digest of everything that it depends on."""

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import numpy as np

import har
from har.errors import UserError

_CODE = 'data'
"""The package that reads records; what is computed of them is among the settings."""


def digest(records: Any, fields: Sequence[str], variables: Any, settings: Mapping[str, Any]) -> str:
  """A digest of records' content, variables, settings, the code that reads and JAX's version.

  Args:
    records: random access; `len` of them.
    fields: of the records that are read.
    variables: a tree of arrays.
    settings: whatever else the result depends on, as `repr` shows it.
  """
  found = hashlib.sha256()
  for part in (*_code(), *_arrays(variables), repr(sorted(settings.items())), jax.__version__):
    _add(found, part)
  for i in range(len(records)):
    record = records[i]
    for field in ('label', *fields):
      value = record[field]
      pieces = value if isinstance(value, list | tuple) else [np.asarray(value)]
      for piece in pieces:
        _add(found, piece)
      _add(found, f'{field} {len(pieces)}')
  return found.hexdigest()[:32]


def _code() -> Iterable[bytes]:
  root = pathlib.Path(har.__file__).parent
  return (path.read_bytes() for path in sorted((root / _CODE).glob('*.py')))


def _arrays(variables: Any) -> Iterable[Any]:
  for path, leaf in sorted(flax.traverse_util.flatten_dict(variables).items()):
    yield '/'.join(path)
    yield np.asarray(jax.device_get(leaf))


def _add(found: Any, part: Any) -> None:
  """Adds a value so that no two sequences of values look alike."""
  if isinstance(part, np.ndarray):
    part = f'{part.dtype} {part.shape}'.encode() + np.ascontiguousarray(part).tobytes()
  part = part if isinstance(part, bytes) else str(part).encode()
  found.update(len(part).to_bytes(8, 'little') + part)


def load(path: pathlib.Path) -> dict[str, np.ndarray] | None:
  """Arrays by name; None if there is no such file.

  Raises:
    UserError: the file is damaged.
  """
  if not path.exists():
    return None
  try:
    with np.load(path, allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f'{path} cannot be read ({error}): delete it; it is computed again') from error


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
  """Writes arrays, whole or not at all, with a note beside them for people.

  Raises:
    UserError: they cannot be written.
  """
  draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      with open(draft, 'wb') as file:
        given: dict[str, Any] = dict(arrays)
        np.savez(file, **given)
        file.flush()
        os.fsync(file.fileno())
      os.replace(draft, path)
    finally:
      draft.unlink(missing_ok=True)
    note = {name: str(value) for name, value in settings.items()}
    path.with_suffix('.json').write_text(json.dumps(note, indent=2))
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror or error}') from error
