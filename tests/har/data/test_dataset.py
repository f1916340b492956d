import pickle
import shutil
import textwrap

import numpy as np
import pytest

import data_builders
from har.data import dataset, loader, protocols
from har.errors import UserError
from tests import fakes

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds
from tests import fakes


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, *, modalities, require_complete, raw_dir, data_dir):
    self.modalities = modalities
    self.missing = {} if require_complete else {'rgb': ['a1_s1_t2'], 'imu': []}
    super().__init__(data_dir=data_dir)

  def _info(self):
    text = tfds.features.Sequence(tfds.features.Text())
    signals = {
      'imu': tfds.features.Tensor(shape=(None, 6), dtype=np.float32),
      'rgb': text,
      'depth': text,
      'skeleton': tfds.features.Tensor(shape=(None, 20, 3), dtype=np.float32),
    }
    features = {
      'key': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=list(fakes.CLASSES)),
      'subject': tfds.features.Scalar(dtype=np.int32),
      'trial': tfds.features.Scalar(dtype=np.int32),
      **{m: signals[m] for m in self.modalities},
    }
    metadata = fakes.METADATA | {
      'modalities': list(self.modalities), 'missing': self.missing, 'train_subjects': [1, 3],
      'flip_sensitive': list(fakes.METADATA['flip_sensitive']), 'abnormal': [],
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features),
      metadata=tfds.core.MetadataDict(metadata), disable_shuffling=True,
    )

  def _split_generators(self, manager):
    return {'train': self._generate_examples((1, 3)), 'test': self._generate_examples((2, 4))}

  def _generate_examples(self, subjects):
    for subject in subjects:
      for label in range(3):
        for trial in (1, 2):
          record = fakes.record(label, subject, trial, self.modalities)
          yield record['key'], record | {'subject': subject, 'trial': trial}
"""


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
  """Puts a dataset of the fake recordings beside the real builders; gives a data_dir."""
  package = tmp_path_factory.mktemp('builders')
  (package / 'toy').mkdir()
  (package / 'toy' / '__init__.py').touch()
  (package / 'toy' / 'toy_dataset_builder.py').write_text(textwrap.dedent(BUILDER))
  data_builders.__path__.append(str(package))
  yield str(tmp_path_factory.mktemp('data'))
  data_builders.__path__.remove(str(package))


@pytest.fixture(scope='module')
def loaded(toy):
  return dataset.load('toy', ('skeleton', 'depth', 'imu', 'rgb'), data_dir=toy)


DAMAGE = {
  'gone': lambda path: path.unlink(),
  'empty': lambda path: path.write_bytes(b''),
  'cut': lambda path: path.write_bytes(path.read_bytes()[:70000]),
}


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    *(
      ('dataset_info.json', content)
      for content in (b'', b'{"name": "to', b'\xff\xfe', b'[1]', None)
    ),
    *(('metadata.json', content) for content in (b'', b'{"name": "to', b'\xff\xfe', None)),
  ],
)
def test_descriptions_that_cannot_be_read_are_named(name, content, loaded, toy, tmp_path):
  shutil.copytree(toy, tmp_path / 'data')
  (path,) = (tmp_path / 'data').rglob('dataset_info.json')
  path = path.with_name(name)
  if content is None:
    path.unlink(missing_ok=True)
    path.mkdir()
  else:
    path.write_bytes(content)
  with pytest.raises(UserError, match=rf'data/toy: .*{name}.* cannot be read \(.*\): delete this'):
    dataset.load('toy', loaded.modalities, data_dir=str(tmp_path / 'data'))


@pytest.mark.parametrize('damage', DAMAGE)
def test_shards_that_cannot_be_read_are_named(damage, loaded, toy, tmp_path):
  shutil.copytree(toy, tmp_path / 'data')
  (shard,) = (tmp_path / 'data').rglob('*train.array_record*')
  DAMAGE[damage](shard)
  with pytest.raises(UserError, match=r'toy/1\.0\.0: .* cannot be read \(.*\): delete this folder'):
    dataset.load('toy', loaded.modalities, data_dir=str(tmp_path / 'data'))


def test_index_lists_the_train_split_first(loaded):
  expected = fakes.FakeDataset().index
  for name in ('key', 'label', 'subject', 'trial', 'split'):
    np.testing.assert_array_equal(loaded.index.columns[name], expected.columns[name])
  assert loaded.index.label.dtype == np.int32
  assert len(loaded.index) == 24


def test_what_the_builder_says_is_passed_on(loaded):
  assert loaded.name == 'toy'
  assert loaded.class_names == fakes.CLASSES
  assert loaded.modalities == ('depth', 'imu', 'rgb', 'skeleton')
  assert loaded.missing == {}
  np.testing.assert_array_equal(loaded.flip_safe, [True, False, False])
  splits = protocols.make_splits(loaded.index, loaded.metadata)
  assert splits.train.tolist() == list(range(12))
  assert splits.test.tolist() == list(range(12, 24))


@pytest.mark.parametrize('modalities', [('imu',), ('skeleton', 'imu'), ('depth',), ('rgb', 'imu')])
def test_records_hold_just_the_modalities_asked_for(loaded, modalities):
  records = loaded.records(modalities)
  assert len(records) == 24
  for i in (0, 11, 12, 23):
    read, wanted = records[i], fakes.FakeDataset().records(modalities)[i]
    assert set(read) == {'key', 'label', *modalities}
    assert read['label'] == wanted['label']
    for modality in modalities:
      if modality in ('rgb', 'depth'):
        assert list(read[modality]) == wanted[modality]
      else:
        np.testing.assert_array_equal(read[modality], wanted[modality])
        assert read[modality].dtype == np.float32


def test_records_end_where_the_dataset_does(loaded):
  records = loaded.records(('depth',))
  for i in (-1, 24):
    with pytest.raises(IndexError, match=f'record {i} of 24'):
      records[i]


def test_records_travel_to_worker_processes(loaded):
  records = loaded.records(('depth', 'imu'))
  again = pickle.loads(pickle.dumps(records))
  assert list(again[13]['depth']) == list(records[13]['depth'])
  assert len(pickle.dumps(records)) < 50_000


def test_batches_come_from_disk_as_from_memory(loaded):
  sizes = {'frames': 4, 'resize': 8, 'size': 8}
  inputs = fakes.inputs_of({'depth': sizes, 'imu': {'length': 16}})
  fake = fakes.FakeDataset().records(('depth', 'imu'))
  stored = loader.train_batches(loaded.records(('depth', 'imu')), range(12), inputs, 5, seed=2)
  made = loader.train_batches(fake, range(12), inputs, 5, seed=2)
  for _ in range(3):
    a, b = next(stored), next(made)
    for name in b:
      np.testing.assert_array_equal(a[name], b[name])


def test_a_modality_that_was_not_prepared(toy, tmp_path):
  imu = dataset.load('toy', ('imu',), data_dir=str(tmp_path))
  assert imu.modalities == ('imu',)
  with pytest.raises(UserError, match='toy: prepared without rgb; it has imu'):
    imu.records(('imu', 'rgb'))


def test_missing_trials_are_listed(toy, tmp_path):
  partial = dataset.load('toy', ('imu',), data_dir=str(tmp_path), require_complete=False)
  assert partial.missing == {'rgb': ['a1_s1_t2']}


def test_wrong_names():
  with pytest.raises(UserError, match=r"dataset 'utd': no such builder; known: .*utd_mhad"):
    dataset.load('utd', ('imu',))
  with pytest.raises(UserError, match="modalities: 'sonar' given; utd_mhad has imu, rgb"):
    dataset.load('utd_mhad', ('sonar',))
  with pytest.raises(UserError, match='allow_corrupt: the dataset utd_mhad has no such option'):
    dataset.load('utd_mhad', ('imu',), builder_options={'allow_corrupt': 3})
