"""The files of a folder and of the zip archives in it.

Archives are read in place: a member counts as the file that it would be if the archive were
extracted where it lies. Those of RAR are unpacked elsewhere if a builder asks for that.
"""

import lzma
import os
import pathlib
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from data_builders import archives, litter, rar
from har.errors import UserError

MAX_FILES = 10**6
_DAMAGED = (
  zipfile.BadZipFile,
  zlib.error,
  lzma.LZMAError,
  EOFError,
  OSError,
  RuntimeError,  # A member that is encrypted, or compressed in a way that is not known.
  ValueError,
  KeyError,
)


class Folder:
  """The files of a folder and of the zip archives in it, by path, litter left aside.

  Attributes:
    root: the folder.
    paths: relative to it, with / between names, in order.
    unpacked: what is in the RAR archives whose files are among them, by path.
  """

  def __init__(self, root: pathlib.Path, suffixes: Collection[str] = ()):
    """Lists the files.

    Args:
      root: the folder.
      suffixes: of recordings, in small letters; no folder in it may have one.

    Raises:
      UserError: no folder, one named like a recording, or a folder or archive that cannot be read.
    """
    self.root, self._suffixes = root, tuple(suffixes)
    if not root.is_dir():
      raise UserError(f'{root}: no such folder (--raw_dir)')
    found = dict.fromkeys(self._walk())
    self._members: dict[str, tuple[zipfile.ZipFile, str]] = {}
    self._unpacked: dict[str, tuple[rar.Unpacked, str]] = {}
    self.unpacked: dict[str, list[str]] = {}
    for archive in [path for path in found if path.lower().endswith('.zip')]:
      self._add_members(archive, found)
    self.paths = sorted([*found, *self._members])
    self._check_count()

  def _check_count(self) -> None:
    if len(self.paths) > MAX_FILES:
      raise UserError(f'{self.root}: more than {MAX_FILES} files')

  def _walk(self) -> Iterator[str]:
    def refuse(error: OSError) -> None:
      raise UserError(f'{error.filename}: cannot be read ({error.strerror})')

    visited = set()
    for folder, subfolders, files in os.walk(self.root, onerror=refuse, followlinks=True):
      real = os.path.realpath(folder)
      if real in visited:  # Links in a circle.
        subfolders.clear()
        continue
      visited.add(real)
      inside = pathlib.Path(folder).relative_to(self.root)
      subfolders[:] = sorted(name for name in subfolders if not litter.is_litter(name))
      for name in subfolders:
        if name.lower().endswith(self._suffixes):
          raise UserError(f'{folder}/{name}: a folder named like a recording; rename it')
      for name in (*subfolders, *files):
        litter.check_arrived(f'{folder}/{name}', name)
      for name in sorted(files):
        path = pathlib.Path(folder, name)
        if not litter.is_litter(name):
          if not path.is_file():
            raise UserError(f'{path}: {litter.not_a_file(path)}')
          yield (inside / name).as_posix()

  def _add_members(self, archive: str, found: Collection[str]) -> None:
    where = self.root / archive
    archives.check_start(where, 'zip')
    try:
      opened = zipfile.ZipFile(where)
    except _DAMAGED as error:
      raise UserError(
        f'{where}: not a complete zip archive ({error}); delete it and fetch it again'
      ) from error
    for info in opened.infolist():
      if info.is_dir() or litter.is_litter(info.filename):
        continue
      litter.check_arrived(f'{where}: {info.filename}', info.filename.rpartition('/')[2])
      if info.filename.startswith('/') or '..' in info.filename.split('/'):
        raise UserError(f'{where}: {info.filename!r} points outside the archive; do not use it')
      path = (pathlib.PurePosixPath(archive).parent / info.filename).as_posix()
      if path in self._members:
        raise UserError(f'{where}: {info.filename} is also in another archive, or twice in this')
      if path not in found:  # What has been extracted counts.
        self._members[path] = (opened, info.filename)

  def unpack(self, archive: str, names: Sequence[str] | None = None) -> None:
    """Adds the files of a RAR archive.

    Args:
      archive: one of `paths`.
      names: what `unpacked` says of this very file; it then is not unpacked before it is read.

    Raises:
      UserError: it cannot be unpacked, or another one holds one of its files.
    """
    found, unpacked = set(self.paths), rar.Unpacked(self.root / archive, names)
    added: dict[str, tuple[rar.Unpacked, str]] = {}
    for name in unpacked.names:
      path = (pathlib.PurePosixPath(archive).parent / name).as_posix()
      if path in self._unpacked:
        other = self._unpacked[path][0]
        raise UserError(f'{unpacked.archive}: {name} is also in {other.archive}; remove one')
      if not litter.is_litter(name) and path not in found:  # What has been extracted counts.
        added[path] = (unpacked, name)
    self._unpacked |= added
    self.unpacked[archive] = unpacked.names
    self.paths = sorted({*found, *self._unpacked})
    self._check_count()

  def others(self, used: Collection[str]) -> str:
    """What there is besides, such as `.gz (2), .txt (1), the first a.gz`; '' if nothing.

    Archives that were opened are not counted; archives in them are.
    """
    opened = {self.holder(path) for path in (*self._members, *self._unpacked)}
    rest = [
      p for p in self.paths if p not in used and (self.is_member(p) or self.root / p not in opened)
    ]
    if not rest:
      return ''
    endings = Counter(pathlib.PurePosixPath(path).suffix.lower() or 'no ending' for path in rest)
    kinds = ', '.join(f'{ending} ({count})' for ending, count in endings.most_common(5))
    return f'{kinds}, the first {rest[0]}'

  def close(self) -> None:
    """Closes the archives; nothing in them can be read any more."""
    for archive, _ in self._members.values():
      archive.close()
    for unpacked, _ in self._unpacked.values():
      unpacked.close()

  def where(self, path: str) -> str:
    """How to name a file to the user."""
    if path in self._members:
      return f'{self.holder(path)}: {self._members[path][1]}'
    if path in self._unpacked:
      return f'{self.holder(path)}: {self._unpacked[path][1]}'
    return str(self.root / path)

  def holder(self, path: str) -> pathlib.Path:
    """The file itself, or the archive that it lies in."""
    if path in self._members:
      return pathlib.Path(str(self._members[path][0].filename))
    return self._unpacked[path][0].archive if path in self._unpacked else self.root / path

  def is_member(self, path: str) -> bool:
    """Whether a file lies in an archive."""
    return path in self._members or path in self._unpacked

  def read(self, path: str, limit: int) -> bytes:
    """A file of at most `limit` bytes; UserError if it is longer, or cannot be read."""
    try:
      if path in self._members:
        archive, name = self._members[path]
        size = archive.getinfo(name).file_size
        data = archives.read_member(archive, name) if size <= limit else b''
      else:
        unpacked = self._unpacked.get(path)
        data = read_file(unpacked[0].file(unpacked[1]) if unpacked else self.root / path, limit)
        size = len(data)
    except _DAMAGED as error:
      reason = getattr(error, 'strerror', None) or error
      raise UserError(f'{self.where(path)}: cannot be read ({reason})') from error
    if size > limit:
      raise UserError(f'{self.where(path)}: too large (more than {limit} bytes); split it')
    return data


def regular(path: pathlib.Path) -> pathlib.Path:
  """The path of a file, or of a link to one; UserError for a pipe, a device or a folder."""
  if path.exists() and not path.is_file():
    raise UserError(f'{path}: neither a file nor a link to one; remove it')
  return path


def read_file(path: pathlib.Path, limit: int) -> bytes:
  """The first bytes of a file, one more than `limit` at most; OSError if it cannot be read."""
  with regular(path).open('rb') as file:
    return file.read(limit + 1)


def clean(text: str) -> str:
  """A name in composed characters, spaces mended."""
  return ' '.join(unicodedata.normalize('NFC', text).split())


def natural(text: str) -> list[Any]:
  """A key that sorts `a2` before `a10`."""
  return [int(part) if part.isdecimal() else part.lower() for part in re.split(r'(\d+)', text)]
