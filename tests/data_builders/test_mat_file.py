import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from data_builders import mat_file
from tests import spoilers
from tests.data_builders import raw_trees


@pytest.mark.parametrize('shape', [(5, 6), (4, 3, 7), (1, 1)])
@pytest.mark.parametrize('dtype', [np.float64, np.uint16, np.int8])
def test_arrays_are_read_as_they_are(shape, dtype):
  array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
  for compress in (True, False):
    found = mat_file.read(spoilers.mat('x', array, do_compression=compress), 'x')
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('dtype', ['f8', 'f4', 'i4', 'i2', 'u2', 'u1'])
def test_version_4_is_read(order, dtype):
  code = 10 * ['f8', 'f4', 'i4', 'i2', 'u2', 'u1'].index(dtype) + 1000 * (order == '>')
  data = b''
  for name, array in (('other', np.ones((3, 1))), ('x', np.arange(12).reshape(4, 3))):
    data += struct.pack(f'{order}5i', code, *array.shape, 0, len(name) + 1)
    data += name.encode() + b'\0' + array.astype(order + dtype).tobytes('F')
  np.testing.assert_array_equal(mat_file.read(data, 'x'), np.arange(12).reshape(4, 3))
  with pytest.raises(ValueError, match=r'claims the shape \[4, 3\]'):
    mat_file.read(data[:-1], 'x')
  with pytest.raises(mat_file.NoVariable, match=r'no numeric variable y, but other .*, x '):
    mat_file.read(data, 'y')


def test_version_4_agrees_with_scipy():
  array = np.random.default_rng(0).normal(size=(5, 6))
  np.testing.assert_array_equal(mat_file.read(spoilers.mat('x', array, format='4'), 'x'), array)
  with pytest.raises(mat_file.NoVariable, match='x is of class complex'):
    mat_file.read(spoilers.mat('x', array + 1j, format='4'), 'x')
  with pytest.raises(mat_file.NoVariable, match='x is of class char'):
    mat_file.read(spoilers.mat('x', 'text', format='4'), 'x')


def big_endian(name: str, array: np.ndarray) -> bytes:
  def element(kind, content):
    return struct.pack('>II', kind, len(content)) + content + bytes(-len(content) % 8)

  body = element(6, struct.pack('>II', 6, 0)) + element(5, struct.pack('>ii', *array.shape))
  body += element(1, name.encode()) + element(9, array.astype('>f8').tobytes('F'))
  return b'MATLAB 5.0 MAT-file'.ljust(124) + b'\1\0MI' + struct.pack('>II', 14, len(body)) + body


def test_big_endian_files_are_read():
  array = np.random.default_rng(0).normal(size=(5, 6))
  np.testing.assert_array_equal(mat_file.read(big_endian('d_iner', array), 'd_iner'), array)


def test_one_of_several_variables_is_read():
  buffer = io.BytesIO()
  array = np.arange(6.0).reshape(2, 3)
  several = {'a_long_name': np.ones(3), 'x': array, 't': 'text', 's': {'x': array}}
  scipy.io.savemat(buffer, several, do_compression=True)
  np.testing.assert_array_equal(mat_file.read(buffer.getvalue(), 'x'), array)
  with pytest.raises(mat_file.NoVariable) as caught:
    mat_file.read(buffer.getvalue(), 'd_iner')
  assert str(caught.value) == (
    'has no numeric variable d_iner, but a_long_name (numbers), x (numbers), t (char), s (struct)'
  )


@pytest.mark.parametrize(
  ('value', 'kind'),
  [
    ('text', 'char'),
    ({'x': np.zeros(3)}, 'struct'),
    (np.array([1, 'a'], object), 'cell'),
    (np.zeros((3, 6)) + 1j, 'complex'),
    (scipy.sparse.csc_array(np.eye(3)), 'sparse'),
  ],
)
@pytest.mark.parametrize('compress', [True, False])
def test_a_variable_of_another_class_is_named(value, kind, compress):
  data = spoilers.mat('x', value, do_compression=compress)
  with pytest.raises(mat_file.NoVariable, match=f'x is of class {kind}, not an array of real'):
    mat_file.read(data, 'x')


def test_a_table_is_named():
  body = struct.pack('<4I', 6, 8, 17, 0) + struct.pack('<II', 1 << 16 | 1, ord('x'))
  body += struct.pack('<I4s', 4 << 16 | 1, b'MCOS') + struct.pack('<II5s3x', 1, 5, b'table')
  data = b'MATLAB 5.0 MAT-file'.ljust(124) + b'\0\1IM' + struct.pack('<II', 14, len(body)) + body
  with pytest.raises(mat_file.NoVariable, match='x is of class table, not an array of real'):
    mat_file.read(data, 'x')


def test_a_variable_twice_is_refused():
  data = spoilers.mat('x', np.ones((2, 2)))
  with pytest.raises(ValueError, match='it has x twice'):
    mat_file.read(data + data[128:], 'x')


def test_empty_and_scalar_variables_keep_their_shape():
  assert mat_file.read(spoilers.mat('x', np.zeros((0, 6))), 'x').shape == (0, 6)
  assert mat_file.read(spoilers.mat('x', 3.0), 'x').tolist() == [[3]]


def test_what_is_claimed_is_checked_before_it_is_allocated():
  mat_of = spoilers.mat_of
  np.testing.assert_array_equal(mat_file.read(mat_of('x', (2, 50), bytes(800)), 'x'), 0)
  with pytest.raises(ValueError, match=r'claims the shape \[1000000000, 6\]'):
    mat_file.read(mat_of('x', (10**9, 6), bytes(800)), 'x')
  with pytest.raises(ValueError, match=r'claims the shape \[-1, -1\]'):
    mat_file.read(mat_of('x', (-1, -1), bytes(800)), 'x')
  # As a cell array SciPy would allocate it.
  with pytest.raises(mat_file.NoVariable, match='class cell'):
    mat_file.read(mat_of('x', (2**31 - 1, 1), b'', kind=1), 'x')


def test_what_is_compressed_is_inflated_within_bounds(monkeypatch):
  data = raw_trees.matrix('x', np.zeros((1000, 10)))
  assert len(data) < 1000
  assert mat_file.read(data, 'x').shape == (1000, 10)
  monkeypatch.setattr(mat_file, 'MAX_BYTES', 79999)
  with pytest.raises(ValueError, match='holds more than 79999 bytes'):
    mat_file.read(data, 'x')


@pytest.mark.parametrize('length', [0, 50, 127, 130, -5])
def test_files_that_end_early(length):
  with pytest.raises((ValueError, struct.error, zlib.error)):
    mat_file.read(raw_trees.matrix('x', np.ones((50, 3)))[:length], 'x')
