"""Reads tensors from PyTorch's checkpoint files without PyTorch, and without running their code.

A checkpoint is a pickle, and a pickle may name any function to be called. Here only the few names
that a dict of tensors needs are known, each stands for an inert counterpart below, and any other
name is refused. Both file formats are read: the zip archive of PyTorch 1.6 and later, and the
sequence of pickles before it.
"""

import collections
import math
import pathlib
import pickle
import struct
import zipfile
import zlib
from typing import IO, Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from data_builders import litter
from har.errors import UserError
from har.pretrained.array_file import check_numbers

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

# What reading a damaged file can raise, in `pickle`, `zipfile` and in the code below.
_DAMAGE = (
  pickle.UnpicklingError,
  zipfile.BadZipFile,
  zlib.error,
  struct.error,
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  OSError,
  RecursionError,
  RuntimeError,
  TypeError,
  ValueError,
)

_DTYPES = {
  'DoubleStorage': np.dtype('<f8'),
  'FloatStorage': np.dtype('<f4'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}


class _StorageType(NamedTuple):
  dtype: np.dtype


class _Storage(NamedTuple):
  key: str
  dtype: np.dtype
  offset: int
  size: int


class _Tensor(NamedTuple):
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Dict(collections.OrderedDict):
  """Takes the place of OrderedDict: a state dict carries its modules' versions as an attribute."""

  def __setstate__(self, state: Any) -> None:
    """Drops the attributes."""


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
  if not isinstance(storage, _Storage) or len(shape) != len(strides):
    raise pickle.UnpicklingError('not a tensor')
  return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(tensor, *_) -> _Tensor:
  if not isinstance(tensor, _Tensor):
    raise pickle.UnpicklingError('not a parameter')
  return tensor


_KNOWN: dict[tuple[str, str], Any] = {
  ('collections', 'OrderedDict'): _Dict,
  ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
} | {('torch', name): _StorageType(dtype) for name, dtype in _DTYPES.items()}


class _Refused(Exception):
  """A pickle names something that a dict of tensors has no need of."""


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    try:
      return _KNOWN[module, name]
    except KeyError:
      raise _Refused(f'{module}.{name}') from None

  def persistent_load(self, pid: Any) -> _Storage:
    tag, kind, key, _, size, *view = pid
    if tag != 'storage' or not isinstance(kind, _StorageType):
      raise pickle.UnpicklingError('not a storage')
    # A view into a storage (PyTorch before 0.4): its own key, offset and size.
    _, offset, size = view[0] if view and view[0] else (None, 0, size)
    return _Storage(str(key), kind.dtype, int(offset), int(size))


def read_state_dict(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the tensors of a `.pth` or `.pt` file.

  Args:
    path: a file that `torch.save` wrote, with a dict of tensors, or with a dict that has such a
      dict as `state_dict`.

  Returns:
    Arrays by name, in the file's order.

  Raises:
    UserError: the file does not exist, is a web page or the like, is truncated or damaged, holds
      anything else than a dict of tensors, or names a function to be called.
  """
  path = pathlib.Path(path)
  try:
    with path.open('rb') as file:
      litter.check(file.read(1024), str(path), 'zip')
      file.seek(0)
      zipped = zipfile.is_zipfile(file)
      file.seek(0)
      content, storages = _read_zip(file) if zipped else _read_legacy(file)
      if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
        content = content['state_dict']
      return _tensors(content, storages, path)
  except FileNotFoundError:
    raise UserError(f'{path} does not exist: give the path of a PyTorch checkpoint') from None
  except _Refused as error:
    raise UserError(
      f'{path} is refused: it names {error}, which a plain dict of tensors has no need of; save '
      "the model's state_dict() instead"
    ) from None
  except _DAMAGE as error:
    raise UserError(
      f'{path} is no PyTorch checkpoint, or is truncated or damaged '
      f'({type(error).__name__}: {_line(error)}): download or copy it again'
    ) from error


def _load(file: IO[bytes]) -> Any:
  """The next pickle."""
  check_numbers(file)
  return _Unpickler(file, encoding='utf-8').load()


def _read_zip(file: BinaryIO) -> tuple[Any, dict[str, bytes]]:
  with zipfile.ZipFile(file) as archive:
    names = archive.namelist()
    pickles = [n for n in names if n.endswith('data.pkl')]
    root = pickles[0].removesuffix('data.pkl')
    if f'{root}byteorder' in names and archive.read(f'{root}byteorder').strip() != b'little':
      raise ValueError('big-endian')
    with archive.open(f'{root}data.pkl') as pickled:
      content = _load(pickled)
    prefix = f'{root}data/'
    storages = {n.removeprefix(prefix): archive.read(n) for n in names if n.startswith(prefix)}
  return content, storages


def _read_legacy(file: BinaryIO) -> tuple[Any, dict[str, bytes]]:
  magic, protocol, system, content, keys = (_load(file) for _ in range(5))
  if magic != _MAGIC or protocol != _PROTOCOL or not system['little_endian']:
    raise ValueError('unknown format')
  widths = {s.key: s.dtype.itemsize for s in _storages(content)}
  storages = {}
  for key in keys:
    (count,) = struct.unpack('<q', file.read(8))
    storages[key] = _read_exactly(file, count * widths[key])
  return content, storages


def _read_exactly(file: BinaryIO, count: int) -> bytes:
  data = file.read(count) if count >= 0 else b''
  if len(data) != count:
    raise EOFError('a tensor ends early')
  return data


def _storages(content: Any) -> list[_Storage]:
  if isinstance(content, _Tensor):
    return [content.storage]
  if isinstance(content, dict):
    return [s for value in content.values() for s in _storages(value)]
  return []


def _tensors(content: Any, storages: dict[str, bytes], path: pathlib.Path) -> dict[str, np.ndarray]:
  if not isinstance(content, dict):
    raise UserError(f"{path} holds no dict of tensors: save the model's state_dict()")
  for name, value in content.items():
    if not isinstance(name, str) or not isinstance(value, _Tensor):
      raise UserError(f"{path}: entry {name!r} is no tensor: save the model's state_dict()")
  return {name: _array(value, storages) for name, value in content.items()}


def _array(tensor: _Tensor, storages: dict[str, bytes]) -> np.ndarray:
  storage = tensor.storage
  flat = np.frombuffer(storages[storage.key], storage.dtype)
  flat = flat[storage.offset : storage.offset + storage.size]
  if min((tensor.offset, storage.offset, *tensor.shape, *tensor.strides)) < 0:
    raise ValueError('a negative size')
  reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
  if math.prod(tensor.shape) and tensor.offset + reach >= flat.size:
    raise ValueError('a tensor reaches beyond its data')
  if math.prod(tensor.shape) > flat.size:
    raise ValueError('a tensor is larger than its data')
  steps = [s * storage.dtype.itemsize for s in tensor.strides]
  view = np.lib.stride_tricks.as_strided(
    flat[tensor.offset :], tensor.shape, steps, writeable=False
  )
  return view.copy()


def _line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:120]
