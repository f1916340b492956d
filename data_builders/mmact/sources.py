"""Finds MMAct's files in a folder: extracted, or in the owner's archives."""

import bz2
import contextlib
import dataclasses
import functools
import gzip
import json
import lzma
import os
import pathlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from data_builders import archives, litter
from data_builders.mmact import names
from har.errors import UserError

# Real videos have about 10 MB, sensor files below 1 MB; more is something else altogether.
MAX_BYTES = {'.mp4': 2**29, '.csv': 2**25}
_TAR_SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
_DECOMPRESS: dict[str, Callable] = {
  '.gz': gzip.open,
  '.tgz': gzip.open,
  '.bz2': bz2.open,
  '.xz': lzma.open,
}
_PACKED_BY = {'.zip': 'zip', '.gz': 'gzip', '.tgz': 'gzip', '.bz2': 'bzip2', '.xz': 'xz'}
_READ_ERRORS = (
  zipfile.BadZipFile,
  tarfile.TarError,
  zlib.error,
  lzma.LZMAError,
  EOFError,
  OSError,
  RuntimeError,  # A member of a zip that is encrypted, or compressed in a way that is not known.
  ValueError,
)


@dataclasses.dataclass(frozen=True)
class File:
  """A raw file that is there; small, and good for another process.

  Attributes:
    holder: the folder or archive.
    name: the path in it.
    kind: 'folder', 'zip' or 'tar'.
    size: bytes.
    stamp: changes with the content: time of change, or checksum.
    offset: where it begins in an uncompressed tar.
    title: what to call it, if that is not where it is.
  """

  holder: str
  name: str
  kind: str
  size: int
  stamp: int
  offset: int = 0
  title: str = ''

  @property
  def where(self) -> str:
    """How to name the file to the user."""
    if self.title:
      return self.title
    if self.kind == 'folder':
      return str(pathlib.Path(self.holder) / self.name)
    return f'{self.holder}: {self.name}'

  def read(self) -> bytes:
    """The whole file.

    Raises:
      UserError: it is too large, or cannot be read.
    """
    limit = MAX_BYTES[pathlib.PurePosixPath(self.name).suffix.lower()]
    if self.size > limit:
      raise UserError(f'{self.where}: too large ({self.size} bytes)')
    try:
      if self.kind == 'zip':
        return archives.read_member(_zip(self.holder), self.name)
      path = pathlib.Path(self.holder)
      with open(path / self.name if self.kind == 'folder' else path, 'rb') as file:
        file.seek(self.offset)
        data = file.read(self.size)
    except _READ_ERRORS as error:
      raise UserError(f'{self.where}: cannot be read ({_reason(error)})') from error
    if len(data) < self.size:
      raise UserError(f'{self.where}: ends after {len(data)} of {self.size} bytes')
    return data


def _reason(error: BaseException) -> str:
  text = getattr(error, 'strerror', None) or str(error)
  return ' '.join(text.split()) or type(error).__name__


@functools.lru_cache(maxsize=8)
def _zip(path: str) -> zipfile.ZipFile:
  return zipfile.ZipFile(path)


@dataclasses.dataclass
class Found:
  """What a folder holds of MMAct.

  Attributes:
    videos: by clip.
    sensors: by stream and event.
    ignored: other `.mp4` and `.csv` files, whose paths are not those of clips.
    empty: folders with nothing in them.
  """

  videos: dict[names.Clip, File] = dataclasses.field(default_factory=dict)
  sensors: dict[tuple[str, names.Event], File] = dataclasses.field(default_factory=dict)
  ignored: list[str] = dataclasses.field(default_factory=list)
  empty: list[str] = dataclasses.field(default_factory=list)


def find(
  raw_dir: pathlib.Path, scratch: pathlib.Path, kinds: Collection[str] = ('.mp4', '.csv')
) -> Found:
  """Lists the clips and sensor files below a folder.

  Folders around the owner's layout do not matter. Zip and plain tar archives are read in place; a
  compressed tar allows no random access and is unpacked below `scratch` first. What is there
  extracted is taken from there, not from an archive.

  Args:
    raw_dir: the folder.
    scratch: where compressed tars are unpacked; what an earlier run left there is used.
    kinds: suffixes of the files that matter.

  Raises:
    UserError: no folder, an unreadable archive or one whose members point outside it, a file named
      like none of MMAct, or two files for one clip.
  """
  if not raw_dir.is_dir():
    raise UserError(f'{raw_dir}: no such folder (--raw_dir)')
  found = Found()
  archives: list[pathlib.Path] = []
  for file in _walk(raw_dir, kinds, archives, found.empty):
    _add(found, file, file.name, kinds)
  extracted = set(found.videos) | set(found.sensors)
  for archive in archives:
    prefix = archive.name.split('.')[0]
    for file, member in _members(archive, prefix, scratch, kinds):
      # A copy of the same clip next to the archive is what came out of it.
      if _identity(member, file.where) not in extracted:
        _add(found, file, member, kinds)
  return found


def listing(raw_dir: pathlib.Path, kinds: Collection[str]) -> list[pathlib.Path]:
  """The files of these kinds and the archives in a folder.

  Raises:
    UserError: a folder that cannot be read.
  """
  packed: list[pathlib.Path] = []
  return [raw_dir / file.name for file in _walk(raw_dir, kinds, packed, [])] + packed


def _walk(
  raw_dir: pathlib.Path,
  kinds: Collection[str],
  archives: list[pathlib.Path],
  empty: list[str],
) -> Iterator[File]:
  def refuse(error: OSError) -> None:
    raise UserError(f'{error.filename}: cannot be read ({error.strerror})')

  visited = set()
  for folder, subfolders, files in os.walk(raw_dir, onerror=refuse, followlinks=True):
    real = os.path.realpath(folder)
    if real in visited:  # Links in a circle.
      subfolders.clear()
      continue
    visited.add(real)
    subfolders[:] = sorted(name for name in subfolders if not litter.is_litter(name))
    files = sorted(name for name in files if not litter.is_litter(name))
    for name in (*subfolders, *files):
      if _matters(litter.unfinished(name), kinds):
        litter.check_arrived(str(pathlib.Path(folder, name)), name)
    for name in subfolders:
      if pathlib.PurePath(name).suffix.lower() in MAX_BYTES:
        raise UserError(f'{pathlib.Path(folder, name)}: a folder named like a file; remove it')
    if not subfolders and not files:
      empty.append(folder)
    for name in files:
      path = pathlib.Path(folder, name)
      if not _matters(name, kinds):
        continue
      if not path.is_file():
        raise UserError(f'{path}: {litter.not_a_file(path)}')
      if path.suffix.lower() not in kinds:
        archives.append(path)
      else:
        about = path.stat()
        inner = path.relative_to(raw_dir).as_posix()
        yield File(str(raw_dir), inner, 'folder', about.st_size, about.st_mtime_ns)


def _matters(name: str, kinds: Collection[str]) -> bool:
  """Whether a name is that of a recording that is asked for, or of an archive."""
  return name.lower().endswith((*kinds, '.zip', *_TAR_SUFFIXES))


def _identity(path: str, where: str):
  return names.parse_video(path, where) or names.parse_sensor(path, where)


def _add(found: Found, file: File, path: str, kinds: Collection[str]) -> None:
  if pathlib.PurePosixPath(path).suffix.lower() not in kinds:
    return
  identity = _identity(path, file.where)
  if identity is None:
    found.ignored.append(file.where)
    return
  files: dict = found.videos if isinstance(identity, names.Clip) else found.sensors
  if identity in files:
    raise UserError(f'{file.where}: the same clip as {files[identity].where}; remove one of them')
  files[identity] = file


def _members(
  archive: pathlib.Path, prefix: str, scratch: pathlib.Path, kinds: Collection[str]
) -> Iterator[tuple[File, str]]:
  suffix = archive.suffix.lower()
  archives.check_start(archive, _PACKED_BY.get(suffix, ''))
  try:
    if suffix == '.zip':
      yield from _zip_members(archive, prefix)
    elif suffix == '.tar':
      yield from _tar_members(archive, prefix)
    else:
      yield from _unpacked(archive, prefix, scratch, kinds)
  except UserError:
    raise
  except _READ_ERRORS as error:
    raise UserError(
      f'{archive}: not a complete archive ({_reason(error)}); delete it and fetch it again'
    ) from error


def _safe(archive: pathlib.Path, prefix: str, name: str) -> str:
  """A member's path, told by the archive's name where the member does not say what it is."""
  if name.startswith('/') or '\\' in name or '..' in name.split('/'):
    raise UserError(f'{archive}: {name!r} points outside the archive; do not use it')
  if _matters(litter.unfinished(last := name.rpartition('/')[2]), MAX_BYTES):
    litter.check_arrived(f'{archive}: {name}', last)
  if _matters(name, ()) and not litter.is_litter(name):
    raise UserError(f'{archive}: {name}: an archive in an archive; unpack it')
  return f'{prefix}/{name}'


def _safe_member(archive: pathlib.Path, prefix: str, info: tarfile.TarInfo) -> str:
  if not (info.isreg() or info.isdir()):
    raise UserError(f'{archive}: {info.name!r} is a link or a device, not a file; do not use it')
  return _safe(archive, prefix, info.name)


def _zip_members(archive: pathlib.Path, prefix: str) -> Iterator[tuple[File, str]]:
  for info in _zip(str(archive)).infolist():
    path = _safe(archive, prefix, info.filename)
    if not info.is_dir() and not litter.is_litter(info.filename):
      file = File(str(archive), info.filename, 'zip', info.file_size, info.CRC)
      if info.file_size == 0 or pathlib.PurePosixPath(path).suffix.lower() in MAX_BYTES:
        yield file, path


class _Watched:
  """Remembers how a stream ended: a whole tar ends in zeros, which `tarfile` does not demand."""

  def __init__(self, stream: Any):
    self._stream, self._tail = stream, b''

  def read(self, size: int = -1) -> bytes:
    data = self._stream.read(size)
    self._tail = (self._tail + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
    return data

  def finish(self) -> None:
    """Reads what is left, so that checksums are checked; tarfile.ReadError if it was cut."""
    while self.read(2**20):
      pass
    if self._tail != bytes(tarfile.BLOCKSIZE):
      raise tarfile.ReadError('truncated')


def _tar_members(archive: pathlib.Path, prefix: str) -> Iterator[tuple[File, str]]:
  with open(archive, 'rb') as stream:
    stream.seek(-min(tarfile.BLOCKSIZE, archive.stat().st_size), os.SEEK_END)
    _Watched(stream).finish()
  with tarfile.open(archive, 'r:', tarinfo=archives.TarInfo) as tar:
    for info in tar:
      path = _safe_member(archive, prefix, info)
      if info.isreg() and not litter.is_litter(info.name):
        stamp = int(info.mtime)
        yield File(str(archive), info.name, 'tar', info.size, stamp, info.offset_data), path
    tar.fileobj.seek(tar.offset)  # type: ignore[union-attr]
    archives.check_end(tar.fileobj)


def _unpacked(
  archive: pathlib.Path, prefix: str, scratch: pathlib.Path, kinds: Collection[str]
) -> Iterator[tuple[File, str]]:
  """Unpacks the files that matter under names of our own making, unless that has been done."""
  about = archive.stat()
  target = scratch / f'{archive.name}-{about.st_size}-{about.st_mtime_ns}'
  listing = target / 'members.json'
  if not listing.exists():
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    members: list[tuple[str, str, int]] = []
    with contextlib.ExitStack() as stack:
      watched = _Watched(stack.enter_context(_DECOMPRESS[archive.suffix.lower()](archive)))
      tar = stack.enter_context(
        tarfile.open(fileobj=watched, mode='r|', tarinfo=archives.TarInfo)  # type: ignore[call-overload]
      )
      for info in tar:
        path = _safe_member(archive, prefix, info)
        suffix = pathlib.PurePosixPath(path).suffix.lower()
        if not info.isreg() or litter.is_litter(info.name) or suffix not in kinds:
          continue
        if info.size > MAX_BYTES[suffix]:
          raise UserError(f'{archive}: {info.name}: too large ({info.size} bytes)')
        name = f'{len(members)}{suffix}'
        with open(target / name, 'wb') as file:
          shutil.copyfileobj(tar.extractfile(info), file)  # type: ignore[arg-type]
        members.append((name, info.name, int(info.mtime)))
      archives.check_end(tar.fileobj)
      watched.finish()
    listing.write_text(json.dumps(members))
  for name, member, stamp in json.loads(listing.read_text()):
    size = (target / name).stat().st_size
    title = f'{archive}: {member}'
    yield File(str(target), name, 'folder', size, stamp, title=title), f'{prefix}/{member}'
