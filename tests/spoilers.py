"""What `corruption.py` does to raw files and archives."""

import gzip
import io
import os
import pathlib
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable

import av
import numpy as np
import scipy.io
from PIL import Image

from data_builders import mat_file
from tests.data_builders import raw_trees

_HUGE = (20000, 20000)


def pack(form: str, members: dict[str, bytes], extra: Callable | None = None) -> bytes:
  """An archive of these members; `extra(archive)` may add to it."""
  buffer = io.BytesIO()
  if form == 'zip':
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
      for name, data in members.items():
        archive.writestr(name, data)
      if extra:
        extra(archive)
  else:
    mode = {'tar': 'w', 'tar.gz': 'w:gz'}[form]
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
      for name, data in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
      if extra:
        extra(archive)
  return buffer.getvalue()


def flipped(rng: random.Random, data: bytes) -> bytes:
  content = bytearray(data)
  for _ in range(rng.choice((1, 1, 4, 32))):
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  return bytes(content)


def truncated(rng: random.Random, data: bytes) -> bytes:
  return data[: rng.randrange(1, len(data))]


def emptied(rng: random.Random, data: bytes) -> bytes:
  """Nothing, or a part with nothing but zeros in it, such as a crashed machine leaves."""
  if rng.random() < 0.4:
    return b''
  start = rng.randrange(len(data))
  length = rng.randrange(1, len(data) - start + 1)
  return data[:start] + bytes(length) + data[start + length :]


def picture(form: str) -> bytes:
  buffer = io.BytesIO()
  Image.new('RGB', (32, 24), 'red').save(buffer, form)
  return buffer.getvalue()


def video(size: tuple[int, int], frames: int, form: str, codec: str) -> bytes:
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format=form) as container:
    stream = container.add_stream(codec, rate=15)
    stream.height, stream.width = size
    stream.pix_fmt = {'mjpeg': 'yuvj420p', 'rawvideo': 'gray'}.get(codec, 'yuv420p')
    image = np.full((*size, 3), 99, np.uint8)
    for _ in range(frames):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode(None))
  return buffer.getvalue()


def mat(variable: str, value, **kwargs) -> bytes:
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, {variable: value}, **kwargs)
  return buffer.getvalue()


PLAYLIST = b'#EXTM3U\n#EXTINF:1,\n/etc/passwd\n'


def wrong_format(rng: random.Random, name: str) -> tuple[str, bytes]:
  """Another kind of file, and what it is."""
  variable = raw_variable(name)
  options: dict[str, Callable[[], bytes]] = {
    'text': lambda: b'<html>404 not found</html>' * 30,
    'a picture': lambda: picture('PNG'),
    'noise': lambda: rng.randbytes(5000),
    'a playlist': lambda: PLAYLIST,
    'a concatenation': lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    'a zip': lambda: pack('zip', {'a': b'b'}),
  }
  if name.endswith(('.avi', '.mp4')):
    options['uncompressed'] = lambda: video((24, 32), 6, 'avi', 'rawvideo')
    options['MPEG-4'] = lambda: video((24, 32), 6, 'mp4', 'mpeg4')
    options['Matroska'] = lambda: video((24, 32), 6, 'matroska', 'mjpeg')
  elif name.endswith('.mat'):
    options['text in MATLAB'] = lambda: mat(variable, 'walking')
    options['a struct in MATLAB'] = lambda: mat(variable, {'x': np.zeros(3)})
    options['cells in MATLAB'] = lambda: mat(variable, np.array([1, 'a'], object))
    options['MATLAB 4'] = lambda: mat(variable, np.zeros((20, 6)), format='4')
    options['complex numbers'] = lambda: mat(variable, np.zeros((20, 6)) + 1j)
    options['HDF5'] = lambda: b'MATLAB 7.3 MAT-file'.ljust(124) + b'\0\2IM\x89HDF' + bytes(900)
  what = rng.choice(sorted(options))
  return what, options[what]()


def raw_variable(name: str) -> str:
  return next(
    (v for k, v in {'inertial': 'd_iner', 'depth': 'd_depth'}.items() if k in name), 'd_skel'
  )


def with_jpeg_size(data: bytes, height: int, width: int) -> bytes:
  """Motion JPEG whose pictures claim another size."""
  at = data.index(b'\xff\xc0')
  while at >= 0:
    data = data[: at + 5] + struct.pack('>HH', height, width) + data[at + 9 :]
    at = data.find(b'\xff\xc0', at + 9)
  return data


def with_avi_size(data: bytes, height: int, width: int) -> bytes:
  at = data.index(b'strf') + 8
  return data[: at + 4] + struct.pack('<ii', width, height) + data[at + 12 :]


def with_box_size(data: bytes, box: bytes, offset: int, value: bytes) -> bytes:
  at = data.index(box) + 4 + offset
  return data[:at] + value + data[at + len(value) :]


def mat_of(variable: str, shape: tuple[int, ...], content: bytes, kind: int = 6) -> bytes:
  """A MATLAB file whose array claims this shape and class, its element compressed."""
  name = variable.encode()
  head = struct.pack('<8I', 14, 0, 6, 8, kind, 0, 5, 4 * len(shape))
  dims = struct.pack(f'<{len(shape)}i', *shape)
  dims += bytes(-len(dims) % 8)
  label = struct.pack('<II', 1, len(name)) + name + bytes(-len(name) % 8)
  body = head[8:] + dims + label + struct.pack('<II', 9, len(content)) + content
  element = zlib.compress(struct.pack('<II', 14, len(body)) + body, 9)
  header = b'MATLAB 5.0 MAT-file'.ljust(124) + struct.pack('<H', 0x0100) + b'IM'
  return header + struct.pack('<II', 15, len(element)) + element


def oversized(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
  """A file that claims, or holds, far too much."""
  variable = raw_variable(name)
  ndim = 2 if variable == 'd_iner' else 3
  huge = (10**9, 6) if ndim == 2 else (240, 320, 10**5)
  options: dict[str, Callable[[], bytes]] = {}
  if name.endswith('.avi'):
    options = {
      'pictures that claim 65,000 squared': lambda: with_jpeg_size(data, 65000, 65000),
      'pictures that claim 20,000 squared': lambda: with_jpeg_size(data, *_HUGE),
      'a header that claims 20,000 squared': lambda: with_avi_size(data, *_HUGE),
      'large pictures': lambda: video((3000, 4000), 3, 'avi', 'mjpeg'),
      'many pictures': lambda: video((24, 32), 3000, 'avi', 'mjpeg'),
    }
  elif name.endswith('.mat'):
    options = {
      'an array that claims too much': lambda: mat_of(variable, huge, bytes(800)),
      'cells that claim 2 billion': lambda: mat_of(variable, (2**31 - 1, 1), b'', kind=1),
      'an array that claims -1': lambda: mat_of(variable, (-1,) * ndim, bytes(800)),
      'a gigabyte of zeros': lambda: mat_of(variable, (2**27, 1), bytes(2**30)),
    }
  elif name.endswith('.mp4'):
    wide = struct.pack('>HH', 60000, 60000)
    options = {
      'a header that claims 60,000 squared': lambda: with_box_size(data, b'avc1', 24, wide),
      'large pictures': lambda: video((3000, 4000), 3, 'mp4', 'mpeg4'),
      'billions of samples': lambda: with_box_size(data, b'stsz', 8, b'\xff' * 4),
      'samples of 4 GB': lambda: with_box_size(data, b'stsz', 4, b'\xff' * 4),
    }
  else:
    options = {
      'a long line': lambda: data + b'1' * 10**6 + b'\n',
      'a number of a million digits': lambda: b'20180601_08:00:00.' + b'1' * 10**6 + b',1,2,3\n',
      'numbers beyond all bounds': lambda: b'20180601_08:00:00.001,1e999,1e308,3\n' * 3,
      'samples of a whole day': lambda: (
        b'20180601_08:00:00.001,1,2,3\n20180602_08:00:00.001,1,2,3\n'
      ),
      'too many rows': lambda: b'20180601_08:00:00.001,1,2,3\n' * 2**21,
    }
  what = rng.choice(sorted(options))
  return what, options[what]()


def put_hostile_path(path: pathlib.Path, rng: random.Random) -> str:
  """Puts something else in a file's place; returns what."""
  what = rng.choice(('a link to nowhere', 'a link to a device', 'a folder', 'a pipe'))
  path.unlink()
  if what == 'a folder':
    path.mkdir()
  elif what == 'a pipe':
    os.mkfifo(path)
  else:
    path.symlink_to('/nowhere' if 'nowhere' in what else '/dev/zero')
  return what


HOSTILE = ('../escaped', '/tmp/escaped', 'a/../../escaped', '..\\escaped')


def hostile_member(rng: random.Random, form: str, victim: str):
  """Adds a member that reaches outside; returns what it is, and what adds it."""
  suffix = pathlib.PurePosixPath(victim).suffix
  if form == 'zip':
    what = rng.choice((*HOSTILE, 'a symbolic link', 'twice'))
    name = victim if what in ('a symbolic link', 'twice') else what + suffix

    def add(archive):
      info = zipfile.ZipInfo(name)
      if what == 'a symbolic link':
        info.external_attr = 0o120777 << 16
      with warnings.catch_warnings(action='ignore'):  # Of duplicates.
        archive.writestr(info, b'/etc/passwd')

    return what, add
  what = rng.choice((*HOSTILE, 'a symbolic link', 'a hard link', 'a pipe', 'a huge header'))

  def add(archive):
    kinds = {'a symbolic link': tarfile.SYMTYPE, 'a hard link': tarfile.LNKTYPE}
    kinds |= {'a pipe': tarfile.FIFOTYPE, 'a huge header': tarfile.GNUTYPE_LONGNAME}
    info = tarfile.TarInfo(victim if what in kinds else what + suffix)
    info.type = kinds.get(what, tarfile.REGTYPE)
    info.linkname = '/etc/passwd' if 'link' in what else ''
    data = bytes(2**28) if what == 'a huge header' else b'x' * (what in HOSTILE)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))

  return what, add


def bomb(form: str, name: str, members: dict[str, bytes]) -> tuple[str, bytes]:
  """An archive with a member of half a gigabyte of zeros, whose header, in a zip, denies it."""
  data = members[name]
  others = {other: content for other, content in members.items() if other != name}
  packed = pack(form, {name: bytes(2**29), **others})
  if form != 'zip':
    return f'a bomb in {name}', packed
  lie = struct.pack('<I', len(data))
  at, central = packed.index(b'PK\3\4'), packed.index(b'PK\1\2')
  packed = packed[: central + 24] + lie + packed[central + 28 :]
  return f'a bomb that denies it in {name}', packed[: at + 22] + lie + packed[at + 26 :]


def in_its_place(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
  """What downloads and copies leave under a file's name, and what it is."""
  options = {
    'a web page': b'<!DOCTYPE html>\n<html><head><title>Sign in</title>' + bytes(99),
    'a pointer of Git LFS': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n',
    'a pointer of git-annex': b'/annex/objects/SHA256E-s9--00\n',
    'an error of a bucket': b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    'an error of a server': b'{"error": {"code": 404}}',
    'zeros': bytes(len(data)),
    'its gzip': gzip.compress(data),
    'a zip of it': pack('zip', {pathlib.PurePath(name).name: data}),
    'a RAR': b'Rar!\x1a\x07\1\0' + data,
  }
  what = rng.choice(sorted(options))
  return what, options[what]


HALF = ('{}.part', '{}.crdownload', '.{}.Ab3dE7', '.syncthing.{}.tmp', '{}.aria2')


def beyond_float32(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
  """One of a file's numbers replaced by one that float32 does not hold, and which."""
  value = rng.choice((1e39, -1e39, 1.7e308))
  if name.endswith('.mat'):
    variable = raw_variable(name)
    array = mat_file.read(data, variable).astype(np.float64)
    array[tuple(rng.randrange(n) for n in array.shape)] = value
    packed = mat(variable, array, do_compression=rng.random() < 0.5)
    return str(value), raw_trees.as_73(packed) if b'HDF\r\n' in data[:520] else packed
  lines = data.decode().splitlines()
  number = rng.choice([i for i, line in enumerate(lines) if line[-1:].isdigit()])
  lines[number] = f'{lines[number].rpartition(",")[0]},{value}'
  return str(value), '\n'.join(lines).encode()


SPOILERS: dict[str, Callable[[random.Random, bytes], bytes]] = {
  'flipped': flipped,
  'truncated': truncated,
  'emptied': emptied,
}
