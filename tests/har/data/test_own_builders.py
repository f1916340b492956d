"""Builders as TFDS's guide has them, which know nothing of this code, are built and read."""

import pathlib
import re
import sys
import textwrap

import numpy as np
import pytest

import data_builders
from data_builders import checks
from har.data import dataset, loader, protocols
from har.errors import UserError
from tests import fakes

# From https://www.tensorflow.org/datasets/add_dataset, with signals for images.
GUIDE = '''
"""Two signals of two movements."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath


class Builder(tfds.core.GeneratorBasedBuilder):
  """DatasetBuilder for a dataset."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Initial release.'}
  pkg_dir_path = epath.Path(__file__).parent  # Since here the package lies in two places.

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(FEATURES),
      metadata=METADATA,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    return {name: self._generate_examples(name) for name in SPLITS}

  def _generate_examples(self, split):
    for i in range(SPLITS[split]):
      example = {
        'imu': np.full((4 + i, 6), i, np.float32),
        'label': ('sit', 'stand')[i % 2],
        'person': f'p{i}',
        'room': i // 2,
      }
      yield CHANGE
'''
FEATURES = """{
  'imu': tfds.features.Tensor(shape=(None, 6), dtype=np.float32),
  'label': tfds.features.ClassLabel(names=['sit', 'stand']),
  'person': tfds.features.Text(),
  'room': tfds.features.Scalar(dtype=np.int64),
}"""
ALL = "tfds.core.MetadataDict({'train_subjects': [1], 'rates': {'imu': 50.0}})"


@pytest.fixture
def own(tmp_path, monkeypatch):
  """Writes a builder beside the real ones; returns the function that loads its dataset."""
  monkeypatch.setattr(data_builders, '__path__', [*data_builders.__path__, str(tmp_path / 'code')])
  count = 0

  def load(
    text=GUIDE,
    *,
    change='f"{split}{i}", example',
    features=FEATURES,
    metadata='None',
    splits="{'test': 3, 'train': 6, 'validation': 2}",
    name='',
    **arguments,
  ):
    nonlocal count
    count += 1
    name = name or f'own_{tmp_path.name}_{count}'.lower()
    folder = tmp_path / 'code' / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / '__init__.py').touch()
    text = text.replace('FEATURES', features).replace('METADATA', metadata)
    text = text.replace('SPLITS', splits).replace('CHANGE', change)
    (folder / f'{name}_dataset_builder.py').write_text(textwrap.dedent(text))
    return dataset.load(name, ('imu',), data_dir=str(tmp_path / 'data'), **arguments)

  return load


def test_a_builder_by_the_guide(own, capfd):
  data = own()
  out, err = capfd.readouterr()
  assert out == ''
  assert 'no field key, no field subject, no metadata train_subjects, no metadata rates' in err
  assert data.class_names == ('sit', 'stand')
  assert data.modalities == ('imu',)
  assert data.missing == {}
  assert data.flip_safe.tolist() == [True, True]
  index = data.index
  assert set(index.columns) == {'key', 'label', 'split', 'person', 'room'}
  assert index.columns['split'].tolist() == ['train'] * 6 + ['validation'] * 2 + ['test'] * 3
  assert index.key.tolist()[5:8] == ['train_5', 'validation_0', 'validation_1']
  person = index.columns['person']
  assert sorted(person[:6].tolist()) == [f'p{i}' for i in range(6)]
  assert sorted(person[8:].tolist()) == ['p0', 'p1', 'p2']
  records = data.records(('imu',))
  for i, record in enumerate(records):
    n = int(person[i][1:])
    np.testing.assert_array_equal(record['imu'], np.full((4 + n, 6), n, np.float32))
    assert record['label'] == n % 2 == index.label[i]
    assert index.columns['room'][i] == n // 2
  inputs = fakes.inputs_of({'imu': {'length': 8}})
  batches = list(loader.eval_batches(records, range(11), inputs, 4))
  assert sum(batch['mask'].sum() for batch in batches) == 11


def test_its_splits_are_the_official_ones(own):
  data = own()
  options = protocols.SplitOptions(protocol='official')
  splits = protocols.make_splits(data.index, data.metadata, options)
  assert splits.train.tolist() == list(range(6))
  assert splits.validation.tolist() == [6, 7]
  assert splits.test.tolist() == [8, 9, 10]
  options = protocols.SplitOptions(protocol='folds', fold=1, folds=3, group='room')
  splits = protocols.make_splits(data.index, data.metadata, options)
  assert set(data.index.columns['room'][splits.test].tolist()) == {0}
  with pytest.raises(UserError, match='metadata has no train_subjects'):
    protocols.make_splits(data.index, data.metadata)


def test_splits_of_other_names_come_last(own):
  data = own(splits="{'extra': 1, 'test': 1, 'dev': 2, 'train': 2}")
  order = ['train', 'train', 'test', 'dev', 'dev', 'extra']
  assert data.index.columns['split'].tolist() == order


def test_a_field_split_is_the_list_that_counts(own):
  data = own(
    features=FEATURES[:-1] + "'split': tfds.features.Text()}",
    change='i, {**example, "split": ("train", "test", "unused")[i % 3]}',
    splits="{'train': 6}",
  )
  options = protocols.SplitOptions(protocol='official')
  splits = protocols.make_splits(data.index, data.metadata, options)
  found = [len(getattr(splits, part)) for part in protocols.PARTS]
  assert found == [2, 0, 2, 2]


def test_a_complete_builder_is_built_without_a_note(own, capfd):
  features = FEATURES[:-1] + "'key': tfds.features.Text(), 'subject': np.int32}"
  data = own(
    features=features,
    change='i, {**example, "key": f"{split}_{i}_", "subject": int(split == "train")}',
    metadata=ALL,
  )
  assert capfd.readouterr() == ('', '')
  assert sorted(data.index.key.tolist())[0] == 'test_0_'
  assert data.metadata['rates'] == {'imu': 50.0}
  splits = protocols.make_splits(data.index, data.metadata)
  assert (len(splits.train), len(splits.test)) == (6, 5)


KEY = FEATURES[:-1] + "'key': tfds.features.Text()}"
WRONG = {
  'nothing': ({'change': '"k", {}'}, "record 'k' has no 'imu', which _info names"),
  'subject': (
    {'features': FEATURES[:-1] + "'subject': np.int32}"},
    "record 'train0' has no 'subject', which _info names",
  ),
  'more': ({'change': 'i, {**example, "cam": 1}'}, "record 0 has 'cam', which _info does not name"),
  'nan': (
    {'change': 'i, {**example, "imu": example["imu"] * np.float32(np.nan if i == 2 else 1)}'},
    r'record 2: imu has a value that is not finite, at \[0, 0\]',
  ),
  'empty': ({'change': 'i, {**example, "imu": example["imu"][: 4 - i]}'}, 'record 4: imu is empty'),
  'shape': (
    {'change': 'i, {**example, "imu": example["imu"][:, :5]}'},
    'record 0: imu does not fit _info ',
  ),
  'class': ({'change': 'i, {**example, "label": "sitt"}'}, 'record 0: label does not fit _info'),
  'no class': ({'change': 'i, {**example, "label": -1}'}, 'record 0: label is -1, no class'),
  'none': ({'change': 'i, {**example, "person": None}'}, 'record 0: person is None'),
  'twice': ({'change': '"k", example'}, "the split train has the key 'k' twice"),
  'same key': (
    {'features': KEY, 'change': 'i, {**example, "key": f"k{i}"}'},
    "record 'k0': another record has the same key",
  ),
  'no key': ({'features': KEY, 'change': 'i, {**example, "key": ""}'}, "record '': key is empty"),
  'no records': ({'splits': "{'train': 1, 'test': 0}"}, 'the split test has no record'),
  'no splits': (
    {'splits': '{}', 'text': GUIDE.replace('return {name:', 'return [1] or {name:')},
    '_split_generators does not give a dict',
  ),
  'no label': (
    {'features': FEATURES.replace("tfds.features.ClassLabel(names=['sit', 'stand'])", 'np.int32')},
    '_info gives no feature `label` that is a ClassLabel',
  ),
  'abnormal': (
    {'metadata': "tfds.core.MetadataDict({'abnormal': ['sat']})"},
    "metadata abnormal: 'sat' is no class; known: sit, stand",
  ),
  'modalities': (
    {'metadata': "tfds.core.MetadataDict({'modalities': ['imu', 'rgb']})"},
    "metadata modalities: 'rgb' is no field; known: imu, label, person, room",
  ),
  'nan in a list': (
    {
      'features': FEATURES[:-1] + "'pulse': tfds.features.Sequence(np.float32)}",
      'change': 'i, {**example, "pulse": [1.0, float("inf")]}',
    },
    r'record 0: pulse has a value that is not finite, at \[1\]',
  ),
  'too large in a list': (
    {
      'features': FEATURES[:-1] + "'pulse': tfds.features.Sequence(np.float32)}",
      'change': 'i, {**example, "pulse": [1.0, -1e39]}',
    },
    r'record 0: pulse has a value of -1e\+39, which float32 does not hold, at \[1\]',
  ),
  'too large': (
    {'change': 'i, {**example, "imu": (np.float64(1e308) * example["imu"]).tolist()}'},
    r'record 1: imu has a value of 1e\+308, which float32 does not hold, at \[0, 0\]',
  ),
  'too large and packed': (
    {
      'features': FEATURES[:-1]
      + "'pulse': tfds.features.Tensor(shape=(2,), dtype=np.float32, encoding='zlib')}",
      'change': 'i, {**example, "pulse": [1, 1e39]}',
    },
    r'record 0: pulse has a value of 1e\+39, which float32 does not hold, at \[1\]',
  ),
  'no signal': ({'change': 'i, {**example, "imu": 5.0}'}, 'record 0: imu does not fit _info'),
  'frames': (
    {
      'features': FEATURES[:-1] + "'rgb': tfds.features.Sequence(tfds.features.Text())}",
      'change': 'i, {**example, "rgb": [b"x", b""]}',
    },
    'record 0: rgb has an empty frame',
  ),
}


@pytest.mark.parametrize('case', WRONG)
def test_what_is_wrong_is_told_while_building(case, own, tmp_path):
  arguments, message = WRONG[case]
  splits = {'splits': "{'train': 6, 'test': 3}"}
  with pytest.raises(UserError, match=message) as caught:
    own(**{**splits, **arguments})
  assert '\n' not in str(caught.value)
  assert not list((tmp_path / 'data').rglob('*.array_record*'))
  assert not list((tmp_path / 'data').rglob('incomplete*'))


@pytest.mark.parametrize(
  'allowed', ["'imu_mask': tfds.features.Tensor(shape=(None, 2), dtype=np.bool_)", '']
)
def test_a_signal_may_be_empty_where_the_builder_says_so(allowed, own):
  mask = '"imu_mask": np.zeros((0, 2), bool)' if allowed else ''
  data = own(
    features=FEATURES[:-1] + allowed + '}',
    metadata='None' if allowed else "tfds.core.MetadataDict({'optional': ['imu']})",
    change='i, {**example, "imu": example["imu"][:0], ' + mask + '}',
  )
  assert [len(record['imu']) for record in data.records(('imu',))] == [0] * 11


def test_keys_may_be_numbers(own):
  data = own(
    features=FEATURES[:-1] + "'key': np.int64}",
    change='i, {**example, "key": i + 10 * (split == "test")}',
    splits="{'train': 2, 'test': 1}",
  )
  assert sorted(data.index.key.tolist()) == ['0', '1', '10']


def test_arguments_that_the_builder_does_not_take(own):
  with pytest.raises(UserError, match=r'--raw_dir: the builder of own.* neither takes raw_dir nor'):
    own(raw_dir='/files')
  with pytest.raises(UserError, match=r'require_complete=false: the dataset own.* no such option'):
    own(require_complete=False)
  with pytest.raises(UserError, match=r'size: the dataset own.* has no such option'):
    own(builder_options={'size': 3})
  with pytest.raises(UserError, match=r'_dataset_builder\.py: has no class Builder'):
    own(GUIDE.replace('class Builder', 'class Kitchen'))


MANUAL = GUIDE.replace(
  'VERSION =', 'MANUAL_DOWNLOAD_INSTRUCTIONS = "Ask\\nthe owner."\n  VERSION ='
).replace('for i in range', 'self.folder.joinpath("imu.csv").read_text()\n    for i in range')
MANUAL = MANUAL.replace('return {name', 'self.folder = dl_manager.manual_dir\n    return {name')


def test_raw_dir_is_the_guide_s_manual_dir(own, tmp_path):
  with pytest.raises(UserError, match='pass --raw_dir; Ask the owner'):
    own(MANUAL)
  (tmp_path / 'raw').mkdir()
  (tmp_path / 'raw' / 'other.csv').touch()
  with pytest.raises(UserError, match=r'raw/imu\.csv: no such file or folder'):
    own(MANUAL, raw_dir=str(tmp_path / 'raw'))
  (tmp_path / 'raw' / 'imu.csv').touch()
  assert len(own(MANUAL, raw_dir=str(tmp_path / 'raw')).index) == 11


def test_abnormal_classes_are_the_config_s_or_the_builder_s(own):
  metadata = "tfds.core.MetadataDict({'abnormal': ['sit']})"
  assert own(metadata=metadata).metadata['abnormal'] == ['sit']
  assert own(metadata=metadata, abnormal=('stand',)).metadata['abnormal'] == ['stand']
  with pytest.raises(UserError, match=r"abnormal: 'stnd' is no class of own.*: sit, stand"):
    own(abnormal=('stnd',))


def test_a_modality_that_is_no_field(own, tmp_path):
  own(name='bare')
  with pytest.raises(UserError, match='bare: prepared without rgb; it has imu'):
    dataset.load('bare', ('imu', 'rgb'), data_dir=str(tmp_path / 'data'))


def test_metadata_are_those_that_were_stored(own, tmp_path):
  own(name='stored', metadata="tfds.core.MetadataDict({'missing': {}, 'rates': {'imu': 50.0}})")
  (path,) = (tmp_path / 'data').rglob('metadata.json')
  path.write_text('{"missing": {"imu": ["k"]}, "rates": {"imu": 50.0}}')
  data = dataset.load('stored', ('imu',), data_dir=str(tmp_path / 'data'))
  assert data.missing == {'imu': ['k']}
  path.write_text('{"missing": {}, "rates": {"imu": 20.0}}')
  with pytest.raises(
    UserError, match=r"with rates \{'imu': 20.0\}, and the builder has \{'imu': 50.0\}"
  ):
    dataset.load('stored', ('imu',), data_dir=str(tmp_path / 'data'))


def test_a_builder_that_was_edited_asks_for_a_new_build(own):
  # TFDS registers a name once a process.
  text = GUIDE.replace('GeneratorBasedBuilder)', 'GeneratorBasedBuilder, skip_registration=True)')
  own(text, name='edited')
  sys.modules.pop('data_builders.edited.edited_dataset_builder')
  changed = FEATURES.replace("'room': tfds.features.Scalar(dtype=np.int64),", '')
  with pytest.raises(
    UserError, match=r'with field room Scalar.*int64.* and the builder has absent now'
  ):
    own(text, name='edited', features=changed)


def test_a_description_that_is_damaged(own, tmp_path):
  own(name='damaged')
  (path,) = (tmp_path / 'data').rglob('features.json')
  path.write_text('{')
  with pytest.raises(UserError, match=r'features\.json cannot be read; delete this folder'):
    dataset.load('damaged', ('imu',), data_dir=str(tmp_path / 'data'))


CLASSES = {
  'twice': ("names=['sit', 'sit']", r'_dataset_builder\.py: .*label names are duplicated'),
  'spaces': ("names=['sit', ' sit']", r"the class ' sit' is there twice \(as 'sit'\)"),
  'empty': ("names=['sit', '']", "the class '' has no name"),
  'none': ('names=[]', 'there is no class; name them'),
  'not given': ('', 'there is no class; name them'),
}


@pytest.mark.parametrize('case', CLASSES)
def test_classes_that_cannot_be_told_apart(case, own):
  names, message = CLASSES[case]
  with pytest.raises(UserError, match=message) as caught:
    own(features=FEATURES.replace("names=['sit', 'stand']", names))
  assert '\n' not in str(caught.value)


def test_classes_in_any_script(own):
  names = ['sit', 'stürzen 跌倒', 'Sit']
  data = own(
    features=FEATURES.replace("['sit', 'stand']", repr(names)),
    change='i, {**example, "label": i % 3}',
  )
  assert data.class_names == tuple(names)
  assert set(data.index.label.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('Image(shape=(4, 4, 3))', 'np.zeros((4, 4, 3), np.uint8)'),
    ('Video(shape=(None, 4, 4, 3))', 'np.zeros((2, 4, 4, 3), np.uint8)'),
    ('Audio()', 'np.zeros(9, np.int64)'),
  ],
)
def test_fields_that_need_tensorflow(field, value, own, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorflow', None)
  with pytest.raises(UserError, match=r'needs TensorFlow .* store encoded pictures') as caught:
    own(
      features=FEATURES[:-1] + f"'more': tfds.features.{field}}}",
      change=f'i, {{**example, "more": {value}}}',
    )
  assert '\n' not in str(caught.value)


def test_checks_are_taken_off_again(own):
  data = own()
  assert '_split_generators' not in vars(data.source)
  with checks.checking(data.source):
    assert '_split_generators' in vars(data.source)


def test_the_readme_s_builder(own, tmp_path, capfd):
  readme = pathlib.Path(checks.__file__).with_name('README.md').read_text()
  code = re.search(r'```python\n(.*?)```', readme, re.S)[1]
  where = '  pkg_dir_path = tfds.core.Path(__file__).parent\n  VERSION'
  code = code.replace('  VERSION', where, 1)
  raw = tmp_path / 'raw'
  raw.mkdir()
  for subject in ('ada', 'bob', 'cy'):
    for n, action in enumerate(('stir', 'pour')):
      np.savetxt(raw / f'{subject}_0{n}_{action}.csv', np.full((5, 6), n), delimiter=',')
  data = own(code, raw_dir=str(raw))
  assert capfd.readouterr() == ('', '')
  splits = protocols.make_splits(data.index, data.metadata)
  assert sorted(data.index.key[splits.test].tolist()) == ['cy_00_stir', 'cy_01_pour']
  assert len(splits.train) == 4
  for record, label in zip(data.records(('imu',)), data.index.label, strict=True):
    np.testing.assert_array_equal(record['imu'], np.full((5, 6), label, np.float32))
