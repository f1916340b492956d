"""RAR archives, which only other programs can unpack."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence

from data_builders import archives
from har.errors import UserError

# Arguments by program, tried in this order; {archive} is an absolute path.
TOOLS: dict[str, tuple[str, ...]] = {
  'unrar': ('x', '-idq', '-y', '-o+', '-p-', '{archive}', '{folder}/'),
  'unar': (
    '-quiet',
    '-force-overwrite',
    '-no-directory',
    '-output-directory',
    '{folder}',
    '{archive}',
  ),
  'bsdtar': ('-x', '-f', '{archive}', '-C', '{folder}'),
}
# Videos hardly get smaller; lists of them do.
_MOST_BYTES_PER_BYTE, _MORE_BYTES = 4, 2**30
_SECONDS = 0.2  # between looks at how much has been unpacked


class Unpacked:
  """A RAR archive and the archives in it, unpacked into a temporary folder when that is needed.

  Attributes:
    archive: its path.
    names: of the files in it, with / between names, in order; archives in it count as the files
      that they hold, which lie where they lay.
  """

  def __init__(self, archive: pathlib.Path, names: Sequence[str] | None = None):
    """Unpacks it, unless what is in it is known: then not before one of its files is wanted.

    Args:
      archive: the file.
      names: what `names` was when this file was unpacked before.

    Raises:
      UserError: no program that unpacks it, none that can, no space, or something else than files
        in it.
    """
    self.archive = archive
    self._folder: pathlib.Path | None = None
    self.names = sorted(self._unpack() if names is None else names)

  def _unpack(self) -> list[str]:
    """Unpacks it; returns the names."""
    archive = self.archive
    size = archive.stat().st_size
    place = tempfile.gettempdir()
    if size > (free := shutil.disk_usage(place).free):
      raise UserError(
        f'{archive}: has {size} bytes, and {place} room for {free}; set TMPDIR to a folder with '
        'more, or unpack it yourself'
      )
    self._folder = folder = pathlib.Path(tempfile.mkdtemp(prefix='unpacked_'))
    self._end = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
    most = size * _MOST_BYTES_PER_BYTE + _MORE_BYTES
    try:
      _unpack(archive, archive, folder, most)
      for inner in [name for name in self._files(folder) if name.lower().endswith('.rar')]:
        path = folder / inner
        _unpack(path, archive, path.parent, most)
        path.unlink()
      return list(self._files(folder))
    except UserError:
      self.close()
      raise

  def _files(self, root: pathlib.Path) -> Iterator[str]:
    for folder, subfolders, files in os.walk(root):
      for name in (*subfolders, *files):
        path = pathlib.Path(folder, name)
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
          raise UserError(f'{self.archive}: {name!r} in it is no file; do not use it')
      for name in files:
        yield pathlib.Path(folder, name).relative_to(root).as_posix()

  def file(self, name: str) -> pathlib.Path:
    """Where a file of it is, until `close`; UserError if it has to be unpacked and cannot be."""
    if self._folder is None:
      self._unpack()
    assert self._folder is not None
    return self._folder / name

  def close(self) -> None:
    """Removes what was unpacked."""
    if self._folder is not None:
      self._end()


def _unpack(archive: pathlib.Path, named: pathlib.Path, folder: pathlib.Path, most: int) -> None:
  """Has the first program that can unpack an archive; `named` is what to call it."""
  archives.check_start(archive, 'RAR')
  programs = [path for name in TOOLS if (path := shutil.which(name))]
  if not programs:
    raise UserError(
      f'{named}: install one of {", ".join(TOOLS)} to have it unpacked, or unpack it yourself'
    )
  if archive == named:
    print(f'note: {archive} is unpacked into {folder}', file=sys.stderr)
  failures = []
  for program in programs:
    words = TOOLS[pathlib.Path(program).stem]
    values = {'archive': archive.absolute(), 'folder': folder}
    command = [program, *(word.format(**values) for word in words)]
    if not (failure := _run(command, folder, most)):
      return
    failures.append(f'{pathlib.Path(program).name}: {failure}')
  what = '' if archive == named else f'{archive.name} in it '
  raise UserError(
    f'{named}: {what}cannot be unpacked ({"; ".join(failures)}); fetch it again, or unpack it '
    'yourself'
  )


def _run(command: list[str], folder: pathlib.Path, most: int) -> str:
  """Runs a program that writes into a folder; what went wrong, '' if nothing did."""
  environment = {**os.environ, 'LC_ALL': 'C.UTF-8'}
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment
    )
    try:
      while not _ends(process):
        if _bytes_below(folder) > most:
          return f'more than {most} bytes'
    finally:
      process.kill()
      process.wait()
    if not process.returncode:
      return ''
    errors.seek(0)
    lines = errors.read(2**16).decode('utf-8', 'replace').strip().splitlines()
    return lines[0][:200] if lines else f'exit status {process.returncode}'


def _ends(process: subprocess.Popen) -> bool:
  """Waits for a moment; whether a program has ended."""
  try:
    process.wait(_SECONDS)
  except subprocess.TimeoutExpired:
    return False
  return True


def _bytes_below(folder: pathlib.Path) -> int:
  total = 0
  for place, _, files in os.walk(folder):
    for name in files:
      try:
        total += os.lstat(os.path.join(place, name)).st_size
      except FileNotFoundError:  # Renamed meanwhile.
        continue
  return total
