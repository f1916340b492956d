import struct
import zlib

import numpy as np
import pytest

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


def test_another_variable_is_not_taken():
  assert mat_file.read(raw_trees.matrix('y', np.zeros((2, 2))), 'x') is None
  assert mat_file.read(spoilers.mat('x', 'text'), 'x') is None


def test_what_is_claimed_is_checked_before_it_is_allocated():
  mat_of = spoilers.mat_of
  np.testing.assert_array_equal(mat_file.read(mat_of('x', (2, 50), bytes(800)), 'x'), 0)
  with pytest.raises(ValueError, match=r'claims the shape \[1000000000, 6\]'):
    mat_file.read(mat_of('x', (10**9, 6), bytes(800)), 'x')
  with pytest.raises(ValueError, match=r'claims the shape \[-1, -1\]'):
    mat_file.read(mat_of('x', (-1, -1), bytes(800)), 'x')
  # As a cell array SciPy would allocate it.
  assert mat_file.read(mat_of('x', (2**31 - 1, 1), b'', kind=1), 'x') is None


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
