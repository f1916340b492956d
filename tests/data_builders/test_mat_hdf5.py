"""MATLAB 7.3: the same arrays as of version 5, and nothing that leads elsewhere."""

import io
import random
import struct
import zlib

import h5py
import numpy as np
import pytest

from data_builders import mat_file, recordings
from data_builders.layout import Trial
from tests.data_builders import raw_trees

TRIAL = Trial(1, 2, 1)
ARRAYS = {
  'imu': ('d_iner', raw_trees.imu),
  'skeleton': ('d_skel', raw_trees.skeleton),
  'depth': ('d_depth', raw_trees.depth),
}
PACKED = {'compression': 'gzip', 'chunks': True}


@pytest.mark.parametrize('modality', ARRAYS)
@pytest.mark.parametrize('user_block', [512, 0])
@pytest.mark.parametrize(
  'options', [{}, PACKED, {**PACKED, 'shuffle': True, 'fletcher32': True}, {'chunks': True}]
)
def test_records_equal_those_of_version_5(modality, user_block, options):
  variable, make = ARRAYS[modality]
  data = raw_trees.matrix_73(variable, make(TRIAL), user_block=user_block, **options)
  found = recordings.READERS[modality](data, 'file', raw_trees.LAYOUT)
  expected = recordings.READERS[modality](
    raw_trees.matrix(variable, make(TRIAL)), 'file', raw_trees.LAYOUT
  )
  assert found.dtype == expected.dtype
  assert found.tobytes() == expected.tobytes()
  assert found.shape == expected.shape


@pytest.mark.parametrize(
  ('kind', 'dtype'), [('single', '<f4'), ('uint16', '<u2'), ('int8', 'i1'), ('int64', '>i8')]
)
def test_every_class_of_numbers_is_read(kind, dtype):
  array = np.arange(24).reshape(2, 3, 4).astype(dtype)
  found = mat_file.read(raw_trees.matrix_73('x', array, kind), 'x')
  assert found.dtype == np.dtype(dtype)
  np.testing.assert_array_equal(found, array)


def file_of(fill) -> bytes:
  buffer = io.BytesIO()
  with h5py.File(buffer, 'w') as file:
    fill(file)
  return buffer.getvalue()


def described(item, kind: str, **attributes) -> None:
  item.attrs['MATLAB_class'] = np.bytes_(kind)
  for name, value in attributes.items():
    item.attrs[name] = value


def sparse(file):
  described(file.create_group('x'), 'double', MATLAB_sparse=np.uint64(3))


def filled(kind, value):
  def fill(file):
    described(file.create_dataset('x', data=value), kind)

  return fill


@pytest.mark.parametrize(
  ('fill', 'kind'),
  [
    (lambda file: described(file.create_group('x'), 'struct'), 'struct'),
    (sparse, 'sparse'),
    (filled('char', np.zeros((1, 4), np.uint16)), 'char'),
    (filled('table', np.zeros((1, 6), np.uint32)), 'table'),
    (filled('double', np.zeros(3, [('real', 'f8'), ('imag', 'f8')])), 'complex'),
    # Axes in which order?
    (lambda file: file.create_dataset('x', data=np.zeros((3, 6))), 'unknown to MATLAB'),
  ],
)
def test_a_variable_of_another_class_is_named(fill, kind):
  with pytest.raises(mat_file.NoVariable, match=f'x is of class {kind}, not an array of real'):
    mat_file.read(file_of(fill), 'x')


def test_the_variables_that_there_are_are_named():
  def fill(file):
    file.create_group('#refs#')
    described(file.create_dataset('y', data=np.ones((2, 2))), 'double')

  with pytest.raises(mat_file.NoVariable, match=r'^has no numeric variable x, but y \(double\)$'):
    mat_file.read(file_of(fill), 'x')


def test_an_empty_variable_keeps_its_shape():
  def fill(file):
    data = np.array([0, 6], np.uint64)
    described(file.create_dataset('x', data=data), 'double', MATLAB_empty=np.uint8(1))

  assert mat_file.read(file_of(fill), 'x').shape == (0, 6)


def test_other_files_are_not_opened(tmp_path):
  array = np.ones((3, 6))
  (tmp_path / 'raw').write_bytes(array.tobytes())
  with h5py.File(tmp_path / 'other.h5', 'w') as file:
    described(file.create_dataset('x', data=array), 'double')

  def external_link(file):
    file['x'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), 'x')

  def soft_link(file):
    described(file.create_dataset('y', data=array), 'double')
    file['x'] = h5py.SoftLink('/y')

  def external_storage(file):
    external = [(str(tmp_path / 'raw'), 0, h5py.h5f.UNLIMITED)]
    described(file.create_dataset('x', (3, 6), 'f8', external=external), 'double')

  def virtual(file):
    layout = h5py.VirtualLayout((3, 6), 'f8')
    layout[:] = h5py.VirtualSource(str(tmp_path / 'other.h5'), 'x', (3, 6))
    described(file.create_virtual_dataset('x', layout), 'double')

  for fill, fault in (
    (external_link, 'class link'),
    (soft_link, 'class link'),
    (external_storage, 'stands in another file'),
    (virtual, 'stands in another file'),
  ):
    with pytest.raises(ValueError, match=fault):
      mat_file.read(file_of(fill), 'x')


def test_unknown_filters_are_refused():
  with pytest.raises(ValueError, match='packed in an unknown way'):
    mat_file.read(raw_trees.matrix_73('x', np.ones((9, 6)), compression='lzf'), 'x')


def test_values_that_were_never_written_are_not_zeros():
  for options in ({'chunks': (2, 3)}, {}):

    def fill(file, options=options):
      dataset = file.create_dataset('x', (4, 6), 'f8', **options)
      if options:
        dataset[:2] = 1
      described(dataset, 'double')

    with pytest.raises(ValueError, match='x is not whole'):
      mat_file.read(file_of(fill), 'x')


def test_what_is_claimed_and_inflated_is_bounded(monkeypatch):
  def fill(file):
    described(file.create_dataset('x', (2**20, 2**12), 'f8', chunks=(2**10, 2**6)), 'double')

  with pytest.raises(ValueError, match=r'claims the shape \[4096, 1048576\]'):
    mat_file.read(file_of(fill), 'x')
  data = raw_trees.matrix_73('x', np.zeros((1000, 60)), **{**PACKED, 'chunks': (60, 1000)})
  assert len(data) < 10000
  assert mat_file.read(data, 'x').shape == (1000, 60)
  monkeypatch.setattr(mat_file, 'MAX_BYTES', 479999)
  with pytest.raises(ValueError, match='claims the shape'):
    mat_file.read(data, 'x')


def test_a_part_that_holds_more_than_it_claims_is_refused():
  def fill(file):
    dataset = file.create_dataset('x', (3, 6), 'f8', chunks=(3, 6), compression='gzip')
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**6)))
    described(dataset, 'double')

  with pytest.raises(ValueError, match='holds more than it claims'):
    mat_file.read(file_of(fill), 'x')


def test_an_index_of_many_levels_is_read_and_a_circle_in_it_refused():
  array = np.random.default_rng(0).normal(size=(600, 6))
  data = bytearray(raw_trees.matrix_73('x', array, chunks=(2, 4)))
  np.testing.assert_array_equal(mat_file.read(bytes(data), 'x'), array)
  root = data.index(b'TREE\1\1')
  struct.pack_into('<Q', data, root + 24 + 32, root - 512)
  with pytest.raises(ValueError, match='index of its parts is damaged'):
    mat_file.read(bytes(data), 'x')


def test_a_circle_in_the_table_of_names_is_refused():
  data = bytearray(raw_trees.matrix_73('x', np.ones((3, 6))))
  at = data.index(b'HEAP\0')
  free, segment = struct.unpack_from('<QQ', data, at + 16)
  struct.pack_into('<Q', data, 512 + segment + free, free)
  with pytest.raises(ValueError, match='table of names is damaged'):
    mat_file.read(bytes(data), 'x')


@pytest.mark.parametrize('at', [8, 13, 14, 24])
def test_another_header_of_hdf5_is_refused(at):
  data = bytearray(raw_trees.matrix_73('x', np.ones((3, 6))))
  data[512 + at] += 4
  with pytest.raises(ValueError, match="its header is none of MATLAB's"):
    mat_file.read(bytes(data), 'x')


@pytest.mark.parametrize('options', [{}, PACKED])
def test_damaged_files_end_in_an_error_or_in_numbers(options):
  whole = raw_trees.matrix_73('d_iner', raw_trees.imu(TRIAL), **options)
  for seed in range(40):
    rng = random.Random(seed)
    data = bytearray(whole)
    if seed % 2:
      del data[rng.randrange(1, len(data)) :]
    for _ in range(8):
      data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    try:
      array = mat_file.read(bytes(data), 'd_iner')
    except recordings._MAT_ERRORS:
      continue
    assert array.dtype.kind in 'fiu'
