"""Reading archives whose headers may lie."""

import tarfile
import zipfile
from typing import Any

# Of a name, in an extended header.
_MAX_NAME_BYTES = 2**16


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
