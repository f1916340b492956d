"""MATLAB 5.0 files, within bounds.

SciPy trusts what a file says of itself: a few bytes can claim a cell array of billions of entries,
and a small compressed element can hold gigabytes of zeros. Here sizes are checked first.
"""

import io
import math
import struct
import zlib

import numpy as np
import scipy.io

# Real depth recordings, the largest, have below 80 MB.
MAX_BYTES = 2**28
_HEADER = 128
_VERSION = 0x0100
_MATRIX, _COMPRESSED, _INT32 = 14, 15, 5
_NUMERIC = range(6, 16)  # classes double to uint64
_LARGEST_VALUE = 8  # bytes
_MAX_DIMENSIONS = 32


def read(data: bytes, variable: str) -> np.ndarray | None:
  """A numeric variable; None if the file has none of that name.

  Raises:
    ValueError: it is no such file, claims more than it holds, or more than `MAX_BYTES`. SciPy
      raises other exceptions where something else is wrong.
  """
  return scipy.io.loadmat(io.BytesIO(_plain(data)), variable_names=[variable]).get(variable)


def _plain(data: bytes) -> bytes:
  """The file with its numeric arrays alone, not compressed."""
  order = {b'IM': '<', b'MI': '>'}.get(data[126:_HEADER], '')
  if not order or struct.unpack_from(f'{order}H', data, 124)[0] != _VERSION:
    raise ValueError('its header is not that of MATLAB 5.0')
  parts, at, room = [data[:_HEADER]], _HEADER, MAX_BYTES
  while at < len(data):
    kind, size = struct.unpack_from(f'{order}II', data, at)
    end = at + 8 + size
    if end > len(data):
      raise ValueError('it ends early')
    element = data[at:end]
    if kind == _COMPRESSED:
      element = _inflate(element[8:], room)
    if _is_numeric(element, order):
      parts.append(element)
      room -= len(element)
    at = end
  return b''.join(parts)


def _inflate(data: bytes, room: int) -> bytes:
  stream = zlib.decompressobj()
  inflated = stream.decompress(data, room + 1)
  if len(inflated) > room:
    raise ValueError(f'it holds more than {MAX_BYTES} bytes')
  if not stream.eof:
    raise ValueError('it ends early')
  return inflated


def _is_numeric(element: bytes, order: str) -> bool:
  """Whether it is an array of numbers, which then has as many as it claims at most."""
  kind, size, _, _, flags, _, dimensions, length = struct.unpack_from(f'{order}8I', element)
  if kind != _MATRIX or size > len(element) - 8:
    raise ValueError('it has something else than arrays')
  if flags & 0xFF not in _NUMERIC:
    return False
  if dimensions != _INT32 or length > 4 * _MAX_DIMENSIONS:
    raise ValueError('an array has no shape')
  shape = struct.unpack_from(f'{order}{length // 4}i', element, 32)
  count = math.prod(shape)
  if min(shape, default=-1) < 0 or count > min(len(element), MAX_BYTES // _LARGEST_VALUE):
    raise ValueError(f'an array claims the shape {list(shape)}')
  return True
