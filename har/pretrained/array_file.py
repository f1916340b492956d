"""Reads NumPy arrays from a pickle without running what it names.

A pickle may name any function to be called. Here only the three names that plain arrays need (in
pickle's protocols 3 and 4) are known, each stands for an inert counterpart below, and any other
name is refused.
"""

import math
import pathlib
import pickle
import pickletools
from typing import IO, Any

import numpy as np

from data_builders import litter
from har.errors import UserError

MAX_BYTES = 2**30
"""Of a file."""
MAX_ENTRIES = 10_000
"""Of all dicts together, which a pickle can repeat without end."""
MAX_NUMBER = 2**20
"""By which a pickle refers to an earlier object."""

_DAMAGE = (
  pickle.UnpicklingError,
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  RecursionError,
  TypeError,
  ValueError,
)
_TYPES = {'f2', 'f4', 'f8', 'i4', 'i8'}


class _Refused(Exception):
  """A pickle names something that plain arrays have no need of."""


class _Type:
  """Takes the place of `numpy.dtype`."""

  def __init__(self, name: Any, *_: Any):
    if name not in _TYPES:
      raise pickle.UnpicklingError(f'arrays of {name!r}')
    self.dtype = np.dtype(name).newbyteorder('<')

  def __setstate__(self, state: Any) -> None:
    if state[1] not in ('<', '=', '|'):
      raise pickle.UnpicklingError('big-endian')


class _Kind:
  """Takes the place of `numpy.ndarray`."""


class _Array:
  """Takes the place of an array until its data is there."""

  value: np.ndarray | None = None

  def __setstate__(self, state: Any) -> None:
    _, shape, kind, columns_first, data = state
    if not isinstance(kind, _Type) or not isinstance(data, bytes):
      raise pickle.UnpicklingError('not a plain array')
    if not all(isinstance(n, int) and n >= 0 for n in shape):
      raise pickle.UnpicklingError('not a shape')
    if math.prod(shape) * kind.dtype.itemsize != len(data):
      raise pickle.UnpicklingError('an array of another size than its data')
    flat = np.frombuffer(data, kind.dtype)
    self.value = flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)


def _reconstruct(*_: Any) -> _Array:
  return _Array()


_KNOWN = {
  ('numpy', 'dtype'): _Type,
  ('numpy', 'ndarray'): _Kind,
  ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
  ('numpy._core.multiarray', '_reconstruct'): _reconstruct,
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    try:
      return _KNOWN[module, name]
    except KeyError:
      raise _Refused(f'{module}.{name}') from None


def check_numbers(file: IO[bytes]) -> None:
  """Refuses large numbers, up to which some Pythons set up a table (CPython issue 115952).

  Leaves the file, from where a pickle is read, as it was.
  """
  start = file.tell()
  for operation, number, _ in pickletools.genops(file):
    if operation.name in ('PUT', 'BINPUT', 'LONG_BINPUT') and int(number or 0) > MAX_NUMBER:
      raise pickle.UnpicklingError(f'an object of number {number}')
  file.seek(start)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the arrays of a pickle.

  Args:
    path: a file with nested dicts of arrays by name.

  Returns:
    Arrays that are not writeable, by their names with / between them.

  Raises:
    UserError: the file does not exist, is a web page or the like, is too large, truncated or
      damaged, holds anything else than nested dicts of arrays, or names a function to be called.
  """
  try:
    if path.stat().st_size > MAX_BYTES:
      raise UserError(f'{path} is larger than {MAX_BYTES >> 20} MiB: no file of weights known here')
    with path.open('rb') as file:
      litter.check(file.read(1024), str(path), 'pickle')
      file.seek(0)
      check_numbers(file)
      return _arrays(_Unpickler(file).load(), path)
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror}): give the path of a file') from None
  except _Refused as error:
    raise UserError(
      f'{path} is refused: it names {error}, which plain arrays have no need of'
    ) from None
  except _DAMAGE as error:
    reason = ' '.join(str(error).split())[:120]
    raise UserError(
      f'{path} is no pickle of arrays, or is truncated or damaged '
      f'({type(error).__name__}: {reason}): download or copy it again'
    ) from error


def _arrays(content: Any, path: pathlib.Path) -> dict[str, np.ndarray]:
  found: dict[str, np.ndarray] = {}
  waiting = [('', content)]
  for _ in range(MAX_ENTRIES):
    if not waiting:
      return found
    name, value = waiting.pop()
    if name and isinstance(value, _Array) and value.value is not None:
      found[name[1:]] = value.value
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
      waiting += [(f'{name}/{key}', value[key]) for key in value]
    else:
      raise UserError(f'{path} holds something else than nested dicts of arrays by name')
  raise UserError(f'{path} holds more than {MAX_ENTRIES} entries: no file of weights known here')
