"""MATLAB's files of every version, within bounds.

SciPy trusts what a file says of itself: a few bytes can claim a cell array of billions of entries,
and a small compressed element can hold gigabytes of zeros. Here sizes are checked first.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.io

# Real depth recordings, the largest, have below 80 MB.
MAX_BYTES = 2**28
LARGEST_VALUE = 8  # bytes
SIGNATURE = b'\x89HDF\r\n\x1a\n'  # of version 7.3, which is HDF5
_HEADER = 128
_HEAD = 1024  # bytes of an element that tell its variable
_VERSION = 0x0100
_MATRIX, _COMPRESSED, _INT32 = 14, 15, 5
_NUMERIC = range(6, 16)  # classes double to uint64
_KINDS = {1: 'cell', 2: 'struct', 3: 'object', 4: 'char', 5: 'sparse', 16: 'function_handle'}
_OPAQUE = 17
_COMPLEX = 0x0800
_MAX_DIMENSIONS = 32
# Types of MATLAB 4, by the tens of its first number; the ones are 0 for full matrices of numbers.
_TYPES_4 = ('f8', 'f4', 'i4', 'i2', 'u2', 'u1')
_KINDS_4 = {1: 'char', 2: 'sparse'}


class NoVariable(ValueError):
  """The file is sound, and holds something else than the array that is looked for."""

  def __init__(self, variable: str, kinds: dict[str, str]):
    if variable in kinds:
      kind = kinds[variable]
      text = f'{variable} is of class {kind}, not an array of real numbers; save it as one'
    else:
      others = ', '.join(f'{name} ({kind})' for name, kind in list(kinds.items())[:8])
      text = f'has no numeric variable {variable}, but {others or "nothing"}'
    super().__init__(text)


def read(data: bytes, variable: str) -> np.ndarray:
  """An array of real numbers from a file of version 4, 5 (6, 7) or 7.3.

  Args:
    data: the file.
    variable: its name.

  Returns:
    The array as MATLAB shows it, in the type that it is stored in.

  Raises:
    NoVariable: the file has no array of real numbers of that name.
    ValueError: it is no such file, claims more than it holds, or more than `MAX_BYTES`. SciPy and
      h5py raise other exceptions where something else is wrong.
  """
  if _is_hdf5(data):
    from data_builders import mat_hdf5  # Takes 0.1 s, for files that few have.

    return mat_hdf5.read(data, variable)
  if 0 in data[:4] and len(data) > 20:
    return _read_4(data, variable)
  return scipy.io.loadmat(io.BytesIO(_alone(data, variable)), variable_names=[variable])[variable]


def shapes(data: bytes) -> dict[str, tuple[int, ...]]:
  """Shapes, as MATLAB shows them, of a file's variables by name; of version 7.3 those of arrays of
  real numbers alone. Raises what `read` raises, but for `NoVariable`."""
  if _is_hdf5(data):
    from data_builders import mat_hdf5

    return mat_hdf5.shapes(data)
  return {name: shape for name, shape, _ in scipy.io.whosmat(io.BytesIO(data))}


def _is_hdf5(data: bytes) -> bool:
  return SIGNATURE in (data[:8], data[512:520])


class _Variable(NamedTuple):
  name: str
  kind: str  # class, empty for real numbers
  shape: tuple[int, ...]


def _alone(data: bytes, variable: str) -> bytes:
  """The file with one array alone, not compressed."""
  order = {b'IM': '<', b'MI': '>'}.get(data[126:_HEADER], '')
  if not order or struct.unpack_from(f'{order}H', data, 124)[0] != _VERSION:
    raise ValueError("its header is none of MATLAB's")
  kinds: dict[str, str] = {}
  found = b''
  for kind, element in _elements(data, order):
    packed = kind == _COMPRESSED
    head = zlib.decompressobj().decompress(element[8:], _HEAD) if packed else element[:_HEAD]
    one = _describe(head, order)
    if one.name == variable and not one.kind:
      if found:
        raise ValueError(f'it has {variable} twice')
      found = _inflate(element[8:]) if packed else element
      _check_size(found, order, one.shape)
    kinds[one.name] = one.kind or 'numbers'
  if not found:
    raise NoVariable(variable, {name: kind for name, kind in kinds.items() if name})
  return data[:_HEADER] + found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
  at = _HEADER
  while at < len(data):
    kind, size = struct.unpack_from(f'{order}II', data, at)
    end = at + 8 + size
    if end > len(data):
      raise ValueError('it ends early')
    yield kind, data[at:end]
    at = end


def _inflate(data: bytes) -> bytes:
  stream = zlib.decompressobj()
  inflated = stream.decompress(data, MAX_BYTES + 1)
  if len(inflated) > MAX_BYTES:
    raise ValueError(f'it holds more than {MAX_BYTES} bytes')
  if not stream.eof:
    raise ValueError('it ends early')
  return inflated


def _describe(head: bytes, order: str) -> _Variable:
  kind, _, _, _, flags, _ = struct.unpack_from(f'{order}6I', head)
  if kind != _MATRIX:
    raise ValueError('it has something else than arrays')
  at, shape = 24, ()
  if flags & 0xFF == _OPAQUE:  # An object, such as a table: its name, 'MCOS' and its class.
    name, at = _text(head, at, order)
    _, at = _text(head, at, order)
    return _Variable(name, _text(head, at, order)[0] or 'object', ())
  dimensions, length = struct.unpack_from(f'{order}II', head, at)
  if dimensions != _INT32 or length > 4 * _MAX_DIMENSIONS:
    raise ValueError('an array has no shape')
  shape = struct.unpack_from(f'{order}{length // 4}i', head, at + 8)
  name, _ = _text(head, at + 8 + length + -length % 8, order)
  if flags & 0xFF not in _NUMERIC:
    return _Variable(name, _KINDS.get(flags & 0xFF, 'object'), shape)
  return _Variable(name, 'complex' if flags & _COMPLEX else '', shape)


def _text(head: bytes, at: int, order: str) -> tuple[str, int]:
  """A text and where it ends; up to 4 letters share 8 bytes with their type and number."""
  kind, size = struct.unpack_from(f'{order}II', head, at)
  if kind >> 16:
    return head[at + 4 : at + 4 + min(kind >> 16, 4)].decode('latin1'), at + 8
  return head[at + 8 : at + 8 + size].decode('latin1'), at + 8 + size + -size % 8


def _check_size(element: bytes, order: str, shape: tuple[int, ...]) -> None:
  """Checks that an array has no more values than there is room for."""
  if struct.unpack_from(f'{order}I', element, 4)[0] > len(element) - 8:
    raise ValueError('it ends early')
  count = math.prod(shape)
  if min(shape, default=-1) < 0 or count > min(len(element), MAX_BYTES // LARGEST_VALUE):
    raise ValueError(f'an array claims the shape {list(shape)}')


def _read_4(data: bytes, variable: str) -> np.ndarray:
  kinds: dict[str, str] = {}
  found, at = None, 0
  order = '<' if struct.unpack_from('<I', data)[0] < 1000 else '>'
  while at < len(data):
    code, rows, columns, imaginary, length = struct.unpack_from(f'{order}5i', data, at)
    kind, form = divmod(code - (1000 if order == '>' else 0), 10)
    if not (0 <= kind < len(_TYPES_4) and 0 <= form <= 2 and 0 < length < _HEAD):
      raise ValueError("its header is none of MATLAB's")
    dtype = np.dtype(order + _TYPES_4[kind])
    name = data[at + 20 : at + 20 + length].rstrip(b'\0').decode('latin1')
    at += 20 + length
    count = rows * columns * (2 if imaginary else 1)
    if min(rows, columns) < 0 or count * dtype.itemsize > len(data) - at:
      raise ValueError(f'an array claims the shape {[rows, columns]}')
    if name in kinds:
      raise ValueError(f'it has {name} twice')
    kinds[name] = _KINDS_4.get(form) or ('complex' if imaginary else 'numbers')
    if name == variable and kinds[name] == 'numbers':
      found = np.frombuffer(data, dtype, count, at).reshape((rows, columns), order='F')
    at += count * dtype.itemsize
  if found is None:
    raise NoVariable(variable, kinds)
  return found
