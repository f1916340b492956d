"""Reading archives whose headers may lie."""

import pathlib
import tarfile
import zipfile
from typing import Any

from data_builders import litter
from har.errors import UserError

# Of a name, in an extended header.
_MAX_NAME_BYTES = 2**16


def check_start(path: pathlib.Path, *kinds: str) -> None:
  """Looks whether something else stands in an archive's place.

  Args:
    path: the archive.
    *kinds: what it is packed by, in the words of `litter.mistaken`.

  Raises:
    UserError: something does; it names the archive, and what to do.
  """
  try:
    with path.open('rb') as file:
      start = file.read(2**10)
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror or error})') from error
  if not start:
    raise UserError(f'{path}: empty; fetch it again')
  litter.check(start, str(path), *kinds)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
  """A member, of not more bytes than its header says; `ZipFile.read` inflates all there are first.

  Raises:
    zipfile.BadZipFile: it has another size or checksum.
  """
  size = archive.getinfo(name).file_size
  with archive.open(name) as file:
    data = file.read(size)
    if len(data) < size or file.read(1):  # At the end the checksum is looked at.
      raise zipfile.BadZipFile(f'not {size} bytes, as its header says')
  return data


def check_end(stream: Any) -> None:
  """Raises `tarfile.ReadError` unless zeros are all that is left: a block of them ends a tar."""
  while data := stream.read(2**20):
    if data.count(0) < len(data):
      raise tarfile.ReadError('more data after its end')


class TarInfo(tarfile.TarInfo):
  """A member whose headers are sound, and not read into memory whatever their size.

  By itself, `tarfile` takes a damaged header for the end of the archive.
  """

  _EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
  )

  @classmethod
  def fromtarfile(cls, tarfile_):
    try:
      return super().fromtarfile(tarfile_)
    except tarfile.InvalidHeaderError as error:  # type: ignore[attr-defined]
      raise tarfile.ReadError(f'a damaged header: {error}') from error

  def _proc_member(self, tar):
    if self.type in self._EXTENDED and self.size > _MAX_NAME_BYTES:
      raise tarfile.ReadError(f'a header of {self.size} bytes')
    return super()._proc_member(tar)  # type: ignore[misc]
