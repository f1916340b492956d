"""MATLAB 7.3 files, which are HDF5, within bounds.

HDF5 can lead to other files, run other filters and inflate without end. What MATLAB writes for an
array of real numbers does none of that: one dataset of MATLAB's type, whose chunks are packed by
deflate at most. Nothing else is read.
"""

import math
import struct
import zlib

import h5py
import numpy as np

from data_builders import mat_file

_CLASSES = {
  'double': 'f8',
  'single': 'f4',
  **{f'{sign}int{8 * size}': f'{sign or "i"}{size}' for sign in ('', 'u') for size in (1, 2, 4, 8)},
}
_DEFLATE, _SHUFFLE, _FLETCHER = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, 3
_MAX_CHUNKS = 2**16
_MAX_TEXT = 64
_HEAP = b'HEAP\0'
_NODE = b'TREE\1'  # of the tree that finds parts; followed by its level
_MAX_DIMENSIONS = 32


def read(data: bytes, variable: str) -> np.ndarray:
  """As `mat_file.read`, of this version alone; h5py's exceptions are among those it may raise."""
  with _opened(data) as file:
    if file.get(variable, getlink=True) is None or not _is_numeric(file, variable):
      names = [name for name in file if not name.startswith('#')]
      raise mat_file.NoVariable(variable, {name: _class(file, name) for name in names})
    dataset = file[variable]
    if _flag(dataset, 'MATLAB_empty'):  # Its values are the shape.
      return np.zeros(_empty_shape(dataset))
    _check_tree(data, data.index(mat_file.SIGNATURE), dataset.ndim)
    _check(dataset, variable)
    # MATLAB's first axis varies fastest, HDF5's last.
    return dataset[()].transpose()


def shapes(data: bytes) -> dict[str, tuple[int, ...]]:
  """As `mat_file.shapes`, of this version alone."""
  with _opened(data) as file:
    arrays = {name: file[name] for name in file if _is_numeric(file, name)}
    return {
      name: _empty_shape(one) if _flag(one, 'MATLAB_empty') else one.shape[::-1]
      for name, one in arrays.items()
    }


def _opened(data: bytes) -> h5py.File:
  base = data.index(mat_file.SIGNATURE)
  # Version, sizes of addresses and lengths, and base address, which HDF5 would look for elsewhere.
  version, address, length, start = struct.unpack_from('<8xB4xBB9xQ', data, base)
  if (version, address, length, start) != (0, 8, 8, base):
    raise ValueError("its header is none of MATLAB's")
  _check_heaps(data, base)
  return h5py.File(h5py.h5f.open_file_image(data))


def _class(file: h5py.File, name: str) -> str:
  """MATLAB's name of a variable's class, 'complex' and 'sparse' among them."""
  if not isinstance(file.get(name, getlink=True), h5py.HardLink):
    return 'link'
  item = file[name]
  if 'MATLAB_sparse' in item.attrs:
    return 'sparse'
  if 'MATLAB_class' not in item.attrs:
    return 'unknown to MATLAB'
  attribute = item.attrs.get_id('MATLAB_class')
  if attribute.shape != () or attribute.dtype.kind != 'S' or attribute.dtype.itemsize > _MAX_TEXT:
    return 'unknown to MATLAB'
  if isinstance(item, h5py.Dataset) and item.dtype.kind == 'V':
    return 'complex'
  return item.attrs['MATLAB_class'].decode('latin1')


def _is_numeric(file: h5py.File, name: str) -> bool:
  code = _CLASSES.get(_class(file, name))
  if code is None or not isinstance(file[name], h5py.Dataset):
    return False
  if _flag(file[name], 'MATLAB_empty'):
    return True
  stored = file[name].id.get_type()
  return any(stored.equal(h5py.h5t.py_create(np.dtype(order + code))) for order in '<>')


def _empty_shape(dataset: h5py.Dataset) -> tuple[int, ...]:
  if dataset.ndim != 1 or dataset.size > _MAX_DIMENSIONS or dataset.dtype.kind not in 'iu':
    raise ValueError('an empty array has no shape')
  shape = tuple(int(size) for size in dataset[:])
  if math.prod(shape):
    raise ValueError(f'an empty array claims the shape {list(shape)}')
  return shape


def _flag(dataset: h5py.Dataset, name: str) -> bool:
  if name not in dataset.attrs:
    return False
  attribute = dataset.attrs.get_id(name)
  return attribute.shape == () and attribute.dtype.kind in 'iu' and bool(dataset.attrs[name])


def _check_heaps(data: bytes, base: int) -> None:
  """Checks that the free parts of the tables of names end: HDF5 would go round without an end.

  Raises:
    ValueError: they lead in a circle, or out of their table.
  """
  at = data.find(_HEAP)
  while at >= 0:
    size, free, segment = struct.unpack_from('<QQQ', data, at + 8)
    seen = set()
    while free != 1:
      seen.add(free)
      place = base + segment + free
      if free + 16 > size or place + 16 > len(data):
        raise ValueError('its table of names is damaged')
      (free,) = struct.unpack_from('<Q', data, place)
      if free in seen:
        raise ValueError('its table of names is damaged')
    at = data.find(_HEAP, at + 1)


def _check_tree(data: bytes, base: int, ndim: int) -> None:
  """Checks that the index of parts has no circle: HDF5 would follow it until its stack is full.

  Raises:
    ValueError: a node of the index does not lead to nodes of the level below.
  """
  key = 8 + 8 * (ndim + 1)
  at = data.find(_NODE)
  while at >= 0:
    level, used = struct.unpack_from('<BH', data, at + len(_NODE))
    for i in range(used if level else 0):
      (child,) = struct.unpack_from('<Q', data, at + 24 + key + i * (key + 8))
      if data[base + child : base + child + 6] != _NODE + bytes([level - 1]):
        raise ValueError('the index of its parts is damaged')
    at = data.find(_NODE, at + 1)


def _check(dataset: h5py.Dataset, variable: str) -> None:
  """Checks that all values stand in this file, and take no more room than they claim.

  Raises:
    ValueError: they do not.
  """
  layout = dataset.id.get_create_plist()
  size = math.prod(dataset.shape) * dataset.dtype.itemsize
  if size > mat_file.MAX_BYTES:
    raise ValueError(f'an array claims the shape {list(dataset.shape[::-1])}')
  if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
    raise ValueError(f'{variable} stands in another file')
  if layout.get_layout() != h5py.h5d.CHUNKED:
    if dataset.id.get_storage_size() != size:
      raise ValueError(f'{variable} is not whole')
    return
  filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
  if filters not in (
    [*shuffle, *deflate, *fletcher]
    for shuffle in ([], [_SHUFFLE])
    for deflate in ([], [_DEFLATE])
    for fletcher in ([], [_FLETCHER])
  ):
    raise ValueError(f'{variable} is packed in an unknown way')
  _check_chunks(dataset, variable, filters)


def _check_chunks(dataset: h5py.Dataset, variable: str, filters: list[int]) -> None:
  room = math.prod(dataset.chunks) * dataset.dtype.itemsize
  count = math.prod(-(-a // b) for a, b in zip(dataset.shape, dataset.chunks, strict=True))
  if room > mat_file.MAX_BYTES or count > _MAX_CHUNKS:
    raise ValueError(f'{variable} has parts of the shape {list(dataset.chunks[::-1])}')
  offsets: list[tuple[int, ...]] = []
  dataset.id.chunk_iter(lambda part: offsets.append(part.chunk_offset))
  if len(set(offsets)) != count:  # HDF5 fills in zeros.
    raise ValueError(f'{variable} is not whole')
  for offset in offsets:
    skipped, part = dataset.id.read_direct_chunk(offset)
    if skipped:
      raise ValueError(f'{variable} is packed in an unknown way')
    if _DEFLATE in filters and len(zlib.decompressobj().decompress(part, room + 1)) > room:
      raise ValueError(f'{variable} holds more than it claims')
