import dataclasses
import errno
import io
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_builders import encodings, flow, trials
from data_builders.layout import MODALITIES, Trial
from har.data.depth import decode_depth
from har.errors import UserError
from tests.data_builders import raw_trees
from tests.data_builders.raw_trees import LAYOUT, write_folder, zip_folder


class Tiny(trials.TrialBuilder, skip_registration=True):
  """The tiny layout; without a raw_dir it writes its own files."""

  name = 'tiny'
  LAYOUT = LAYOUT

  def _obtain(self, dl_manager, scratch):
    for modality in self.modalities:
      write_folder(scratch, modality)
    return scratch


class Careless(Tiny, skip_registration=True):
  """Spoils what it has read of one trial."""

  spoil: dict | None = None

  def _example(self, trial):
    example = super()._example(trial)
    return example | self.spoil if trial.key == 'a2_s2_t1' else example


@pytest.fixture
def raw_dir(tmp_path):
  for modality in MODALITIES:
    write_folder(tmp_path / 'raw', modality)
  return tmp_path / 'raw'


@pytest.fixture
def data_dir(tmp_path):
  return tmp_path / 'data'


def build(raw_dir, data_dir, modalities, **options) -> Tiny:
  builder = Tiny(modalities=modalities, raw_dir=raw_dir, data_dir=data_dir, **options)
  builder.download_and_prepare()
  return builder


def read(builder: Tiny) -> list[dict]:
  return [record for split in trials.SPLITS for record in builder.as_data_source(split=split)]


def picture(data: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(data)))


def test_records_hold_what_the_raw_files_hold(raw_dir, data_dir):
  zip_folder(raw_dir / 'Depth')
  builder = build(raw_dir, data_dir, MODALITIES)
  assert builder.info.splits['train'].num_examples == 4
  assert builder.info.splits['test'].num_examples == 3
  records = read(builder)
  assert [r['key'] for r in records] == [
    b'a1_s1_t1', b'a1_s1_t2', b'a2_s1_t1', b'a2_s1_t2', b'a1_s2_t1', b'a1_s2_t2', b'a2_s2_t1'
  ]  # fmt: skip
  for record in records:
    trial = Trial.from_key(record['key'].decode())
    assert record['label'] == trial.action - 1
    assert record['action'].decode() == LAYOUT.actions[trial.action - 1]
    assert (record['subject'], record['trial']) == (trial.subject, trial.trial)
    np.testing.assert_allclose(record['imu'], raw_trees.imu(trial), rtol=1e-6)
    skeleton = raw_trees.skeleton(trial).transpose(2, 0, 1)
    np.testing.assert_allclose(record['skeleton'], skeleton, rtol=1e-6)
    assert record['depth_box'].tolist() == [3, 5, 7, 10]
    depth = np.stack([decode_depth(frame) for frame in record['depth']])
    np.testing.assert_array_equal(depth, raw_trees.depth(trial)[3:10, 5:15].transpose(2, 0, 1))
    rgb = np.stack([picture(frame) for frame in record['rgb']])
    np.testing.assert_allclose(rgb, np.stack(raw_trees.rgb(trial)), atol=3)


def test_metadata_describe_the_dataset(raw_dir, data_dir):
  build(raw_dir, data_dir, ('depth', 'imu'))
  metadata = Tiny(modalities=('imu', 'depth'), data_dir=data_dir).info.metadata
  assert metadata == {
    'modalities': ['imu', 'depth'],
    'rates': {'imu': 50.0, 'depth': 20.0},
    'train_subjects': [1],
    'flip_sensitive': ['wave'],
    'abnormal': ['clap'],
    'frames': {'depth': encodings.NOTES['depth']},
    'missing': {},
  }


def test_flow_is_made_of_the_frames(raw_dir, data_dir):
  builder = build(raw_dir, data_dir, ('flow', 'imu'))
  assert builder.info.metadata['modalities'] == ['imu', 'flow']
  assert builder.info.metadata['rates']['flow'] == LAYOUT.rates['rgb']
  assert builder.info.metadata['frames']['flow'] == f'{flow.NOTE}; 1 frame on'
  assert {path.parent.name for path in builder.raw_files()} == {'Inertial', 'RGB'}
  frames = read(build(raw_dir, data_dir, ('rgb',)))[0]['rgb']
  record = read(builder)[0]
  assert 'rgb' not in record
  assert list(record['flow']) == flow.encode(list(frames))


def test_without_opencv_nothing_is_begun(raw_dir, data_dir, monkeypatch):
  monkeypatch.setitem(sys.modules, 'cv2', None)
  with pytest.raises(UserError, match=r'pip install -r requirements-flow.txt'):
    build(raw_dir, data_dir, ('rgb', 'flow'))
  assert not data_dir.exists()


def test_only_the_chosen_modalities_need_be_there(tmp_path, data_dir):
  write_folder(tmp_path / 'raw', 'imu')
  builder = build(tmp_path / 'raw', data_dir, ('imu',))
  assert set(read(builder)[0]) == {'key', 'label', 'action', 'subject', 'trial', 'imu'}


def test_each_set_of_modalities_has_one_folder(data_dir):
  names = {
    Tiny(modalities=m, require_complete=c, data_dir=data_dir).data_dir
    for m, c in [
      (('imu', 'rgb'), True),
      (('rgb', 'imu'), True),
      (['rgb', 'imu', 'rgb'], True),
      (('imu', 'rgb'), False),
      (('rgb',), True),
    ]
  }
  assert names == {
    f'{data_dir}/tiny/imu-rgb/{Tiny.VERSION}',
    f'{data_dir}/tiny/imu-rgb-partial/{Tiny.VERSION}',
    f'{data_dir}/tiny/rgb/{Tiny.VERSION}',
  }


@pytest.mark.parametrize(('given', 'fault'), [((), 'none'), (('imu', 'sound'), "'sound'")])
def test_modalities_that_are_not_there(given, fault):
  with pytest.raises(UserError, match=f'{fault} given; tiny has imu, rgb, depth, skeleton'):
    Tiny(modalities=given)


def test_the_available_trials(raw_dir, data_dir):
  for key in ('a1_s1_t1', 'a2_s2_t1'):
    (raw_dir / 'RGB' / f'{key}_color.avi').unlink()
  builder = build(raw_dir, data_dir, ('imu', 'rgb'), require_complete=False)
  keys = [record['key'].decode() for record in read(builder)]
  assert keys == ['a1_s1_t2', 'a2_s1_t1', 'a2_s1_t2', 'a1_s2_t1', 'a1_s2_t2']
  again = Tiny(modalities=('imu', 'rgb'), require_complete=False, data_dir=data_dir)
  assert again.info.metadata['missing'] == {'rgb': ['a1_s1_t1', 'a2_s2_t1']}


def test_a_dataset_of_available_trials_does_not_go_stale_unnoticed(raw_dir, data_dir):
  absent = raw_dir / 'RGB' / 'a1_s1_t1_color.avi'
  content = absent.read_bytes()
  absent.unlink()
  build(raw_dir, data_dir, ('rgb',), require_complete=False)
  build(raw_dir, data_dir, ('rgb',), require_complete=False)
  absent.write_bytes(content)
  with pytest.raises(UserError, match=r'1 new \(RGB/a1_s1_t1_color\.avi\)'):
    build(raw_dir, data_dir, ('rgb',), require_complete=False)


CHANGES = {
  'name': ({'actions': ('wave', 'slap'), 'abnormal': ()}, r"with classes \['wave', 'clap'\]"),
  'order': ({'actions': ('clap', 'wave')}, r"and the builder has \['clap', 'wave'\] now; delete"),
  'more': ({'subjects': (1, 2, 3)}, r'with subjects \[1, 2\], and the builder has \[1, 2, 3\] now'),
  'halves': ({'train_subjects': (2,), 'absent': ()}, r'with train_subjects \[1\]'),
  'rate': ({'rates': LAYOUT.rates | {'imu': 25.0}}, r"with rates \{'imu': 50.0\}"),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_layout_that_was_edited_asks_for_a_new_build(raw_dir, data_dir, change, monkeypatch):
  build(raw_dir, data_dir, ('imu',))
  changes, message = CHANGES[change]
  monkeypatch.setattr(Tiny, 'LAYOUT', dataclasses.replace(LAYOUT, **changes))
  with pytest.raises(UserError, match=message):
    build(None, data_dir, ('imu',))


def test_a_prepared_dataset_is_used_as_it_is(raw_dir, data_dir):
  first = build(raw_dir, data_dir, ('imu',))
  folder = pathlib.Path(first.data_dir)
  times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  build(raw_dir, data_dir, ('imu',))
  second = build(None, data_dir, ('imu',))
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
  assert len(read(second)) == 7
  with pytest.raises(UserError, match='no such folder'):
    build(raw_dir / 'wrong', data_dir, ('imu',))


def test_actions_that_are_there_twice_are_named(data_dir, monkeypatch):
  monkeypatch.setattr(Tiny, 'LAYOUT', dataclasses.replace(LAYOUT, actions=('wave', 'wave')))
  with pytest.raises(UserError, match=r"tiny: the class 'wave' is there twice \(as 'wave'\)"):
    build(None, data_dir, ('imu',))


LAYOUT_CHANGES = {
  'rgb_size': ({'rgb_size': (25, 33)}, ('rgb',), 'with rgb_size'),
  'size of what is not there': ({'rgb_size': (25, 33)}, ('imu',), ''),
  'rate of what is not there': ({'rates': LAYOUT.rates | {'rgb': 9.0}}, ('imu',), ''),
  'duration': ({'duration_ratio': (0.1, 9.0)}, ('imu', 'skeleton'), 'with duration_ratio'),
  'absent': ({'absent': (*LAYOUT.absent, 'a1_s1_t1')}, ('imu',), r'with absent .*a1_s1_t1'),
  'trials': ({'trials': (1, 2, 3)}, ('imu',), r'with trials \[1, 2\], .*\[1, 2, 3\] now'),
}


@pytest.mark.parametrize('change', LAYOUT_CHANGES)
def test_all_of_a_layout_that_alters_records_is_compared(change, raw_dir, data_dir, monkeypatch):
  changes, modalities, message = LAYOUT_CHANGES[change]
  build(raw_dir, data_dir, modalities)
  monkeypatch.setattr(Tiny, 'LAYOUT', dataclasses.replace(LAYOUT, **changes))
  if not message:
    build(raw_dir, data_dir, modalities)
    return
  with pytest.raises(UserError, match=message):
    build(raw_dir, data_dir, modalities)


def test_only_the_chosen_modalities_raw_files_matter(raw_dir, data_dir):
  build(raw_dir, data_dir, ('imu',))
  (raw_dir / 'RGB' / 'a1_s1_t1_color.avi').unlink()
  build(raw_dir, data_dir, ('imu',))
  zip_folder(raw_dir / 'Inertial')
  with pytest.raises(UserError, match=r'1 new \(Inertial\.zip\), 7 gone'):
    build(raw_dir, data_dir, ('imu',))


def test_a_layout_without_a_fingerprint_is_compared_by_its_trials(raw_dir, data_dir, monkeypatch):
  built = build(raw_dir, data_dir, ('imu',))
  (built.data_path / 'fingerprint.json').unlink()
  build(raw_dir, data_dir, ('imu',))
  monkeypatch.setattr(Tiny, 'LAYOUT', dataclasses.replace(LAYOUT, subjects=(1, 2, 3)))
  with pytest.raises(UserError, match='built from other trials than those of today'):
    build(None, data_dir, ('imu',))


class Plain(trials.TrialBuilder, skip_registration=True):
  """The tiny layout, as the README has a dataset."""

  name = 'plain'
  LAYOUT = LAYOUT


def test_a_dataset_of_one_s_own_needs_its_raw_files_once(raw_dir, data_dir):
  with pytest.raises(
    UserError, match=r'plain: has not been built in .*data; .* --raw_dir'
  ) as caught:
    Plain(modalities=('imu',), data_dir=data_dir).download_and_prepare()
  assert '\n' not in str(caught.value)
  Plain(modalities=('imu',), raw_dir=raw_dir, data_dir=data_dir).download_and_prepare()
  again = Plain(modalities=('imu',), data_dir=data_dir)
  again.download_and_prepare()
  assert again.info.splits['train'].num_examples == 4


def test_raw_files_may_be_made_on_the_way(data_dir):
  builder = build(None, data_dir, ('imu', 'skeleton'))
  assert len(read(builder)) == 7
  assert [path.name for path in data_dir.iterdir()] == ['tiny']
  assert not list(builder.data_path.glob('raw*'))


FAULTS = {
  'a1_s2_t1_inertial.mat': raw_trees.matrix('d_iner', np.full((20, 6), np.nan)),
  'a2_s1_t1_inertial.mat': raw_trees.content('imu', Trial(2, 1, 1))[:150],
  'a2_s2_t1_color.avi': b'RIFF no longer',
  'a1_s1_t1_depth.mat': raw_trees.matrix('d_depth', np.zeros((24, 32, 8))),
  'a1_s1_t2_skeleton.mat': raw_trees.matrix('d_skel', np.zeros((20, 3, 7))),
}


@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_names_the_file_and_leaves_nothing(raw_dir, data_dir, name):
  next(raw_dir.glob(f'*/{name}')).write_bytes(FAULTS[name])
  with pytest.raises(UserError, match=name) as caught:
    build(raw_dir, data_dir, MODALITIES)
  assert '\n' not in str(caught.value)
  assert list(data_dir.iterdir()) == []


def test_names_are_checked_before_anything_is_written(raw_dir, data_dir):
  (raw_dir / 'Inertial' / 'a1_s1_t1.mat').write_bytes(b'x')
  with pytest.raises(UserError, match=r'a1_s1_t1\.mat'):
    build(raw_dir, data_dir, ('imu',))
  assert not data_dir.exists()


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (
      {'imu': np.full((9, 6), np.inf, np.float32)},
      r'imu has a value that is not finite, at \[0, 0',
    ),
    ({'imu': np.zeros((0, 6), np.float32)}, 'imu is empty'),
    ({'key': 'a1_s1_t1'}, 'another record has the same key'),
    ({'label': 2}, 'label does not fit _info'),
    ({'subject': None}, 'subject is None'),
  ],
)
def test_records_are_checked_before_they_are_written(raw_dir, data_dir, spoil, message):
  builder = Careless(modalities=('imu',), raw_dir=raw_dir, data_dir=data_dir)
  builder.spoil = spoil
  key = spoil.get('key', 'a2_s2_t1')
  with pytest.raises(UserError, match=f"tiny|careless: record '{key}'.*{message}"):
    builder.download_and_prepare()
  assert list(data_dir.iterdir()) == []


def test_durations_are_compared(raw_dir, data_dir):
  short = raw_trees.avi(raw_trees.rgb(Trial(2, 1, 2))[:2])
  (raw_dir / 'RGB' / 'a2_s1_t2_color.avi').write_bytes(short)
  with pytest.raises(UserError, match=r'a2_s1_t2_color.avi: lasts 0.13 s but .*inertial.mat 0.40'):
    build(raw_dir, data_dir, ('imu', 'rgb'))


def test_a_full_disk_while_records_are_written(raw_dir, data_dir, monkeypatch):
  def fail(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(tfds.core.writer.ExampleWriter, 'write', fail)
  with pytest.raises(UserError, match='No space left on device') as caught:
    build(raw_dir, data_dir, ('imu',))
  assert '\n' not in str(caught.value)
  assert list(data_dir.iterdir()) == []
  monkeypatch.undo()
  assert len(read(build(raw_dir, data_dir, ('imu',)))) == 7


def test_many_trials_are_written_in_shards(raw_dir, data_dir, monkeypatch):
  whole = build(raw_dir, data_dir / 'whole', ('imu',))
  monkeypatch.setattr(trials, '_TRIALS_PER_SHARD', 3)
  parts = build(raw_dir, data_dir / 'parts', ('imu',))
  for split in trials.SPLITS:
    count = whole.info.splits[split].num_examples
    assert parts.info.splits[split].num_shards == -(-count // 3)
    assert whole.info.splits[split].num_shards == 1
  assert [r['key'] for r in read(parts)] == [r['key'] for r in read(whole)]


def test_a_run_after_a_killed_one(raw_dir, data_dir):
  stale = data_dir / 'tiny' / 'imu' / f'incomplete.QWERTY_{Tiny.VERSION}'
  (stale / 'rawabc').mkdir(parents=True)
  builder = build(raw_dir, data_dir, ('imu',))
  assert [path.name for path in builder.data_path.parent.iterdir()] == [str(Tiny.VERSION)]


def test_a_dataset_folder_that_lost_its_description(raw_dir, data_dir):
  builder = build(raw_dir, data_dir, ('imu',))
  (builder.data_path / 'dataset_info.json').unlink()
  with pytest.raises(UserError, match='not a complete dataset; delete it'):
    build(raw_dir, data_dir, ('imu',))


def test_building_is_silent(raw_dir, data_dir, capfd):
  build(raw_dir, data_dir, ('imu',))
  assert capfd.readouterr() == ('', '')


def test_a_pickled_builder_reads_the_same(raw_dir, data_dir):
  builder = build(raw_dir, data_dir, ('imu',), require_complete=False)
  copy = pickle.loads(pickle.dumps(builder))
  assert (copy.data_dir, copy.raw_dir, copy.modalities) == (builder.data_dir, raw_dir, ('imu',))
  assert len(read(copy)) == 7


def test_archives_are_closed(raw_dir, data_dir, monkeypatch):
  zip_folder(raw_dir / 'Inertial')
  opened = []
  original = zipfile.ZipFile.__init__

  def note(self, *args, **kwargs):
    original(self, *args, **kwargs)
    opened.append(self)

  monkeypatch.setattr(zipfile.ZipFile, '__init__', note)
  build(raw_dir, data_dir, ('imu',))
  assert opened
  assert all(archive.fp is None for archive in opened)
