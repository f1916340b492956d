import io
import struct
import tarfile
import zipfile

import pytest

from data_builders import archives


def zipped(data: bytes) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('a', data)
  return buffer.getvalue()


def claiming(data: bytes, size: int) -> zipfile.ZipFile:
  """An archive of these data that says it has so many bytes."""
  packed, claim = zipped(data), struct.pack('<I', size)
  central = packed.index(b'PK\1\2')
  return zipfile.ZipFile(
    io.BytesIO(packed[:22] + claim + packed[26 : central + 24] + claim + packed[central + 28 :])
  )


def test_members_are_read_whole():
  for data in (b'', b'x', b'abc' * 10**5):
    assert archives.read_member(zipfile.ZipFile(io.BytesIO(zipped(data))), 'a') == data


@pytest.mark.parametrize('size', [0, 10, 999, 1001])
def test_members_have_the_size_that_they_claim(size):
  with pytest.raises(zipfile.BadZipFile):
    archives.read_member(claiming(b'x' * 1000, size), 'a')


def tarred(*infos: tarfile.TarInfo) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for info in infos:
      archive.addfile(info, io.BytesIO(bytes(info.size)))
  return buffer.getvalue()


def listed(data: bytes) -> list[str]:
  with tarfile.open(fileobj=io.BytesIO(data), tarinfo=archives.TarInfo) as archive:
    return archive.getnames()


def test_a_damaged_header_is_not_the_end_of_a_tar():
  data = tarred(*map(tarfile.TarInfo, ('a', 'b', 'c')))
  assert listed(data) == ['a', 'b', 'c']
  damaged = data[:512] + b'!' + data[513:]
  with tarfile.open(fileobj=io.BytesIO(damaged)) as archive:
    assert archive.getnames() == ['a']  # What is amended here.
  with pytest.raises(tarfile.ReadError, match='damaged header'):
    listed(damaged)


def test_names_are_long_within_reason():
  name = 'x/' * 200
  assert listed(tarred(tarfile.TarInfo(name))) == [name.rstrip('/')]
  info = tarfile.TarInfo('a')
  info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**20
  with pytest.raises(tarfile.ReadError, match='a header of 1048576 bytes'):
    listed(tarred(info, tarfile.TarInfo('b')))


def test_a_block_of_zeros_does_not_hide_what_follows():
  data = tarred(*map(tarfile.TarInfo, ('a', 'b')))
  archives.check_end(io.BytesIO(data[1024:]))
  with pytest.raises(tarfile.ReadError, match='more data after its end'):
    archives.check_end(io.BytesIO(data[512:]))
