import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from data_builders.mmact import clips, generate, names, report
from data_builders.mmact import mmact_dataset_builder as mmact
from har.data import dataset, loader
from har.errors import UserError
from tests import fakes

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')
CLIPS = 140
BAD = 4


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  path = tmp_path_factory.mktemp('raw') / 'mmact'
  generate.write_raw(path, MANIFEST, clips=CLIPS, seed=1)
  return path


@pytest.fixture(scope='module')
def planted(raw):
  return json.loads((raw / generate.PLANTED).read_text())


def make(data_dir, raw, **kwargs):
  kwargs = {'workers': 0, 'allow_corrupt': BAD, 'short_side': 24, **kwargs}
  return mmact.Builder(data_dir=str(data_dir), raw_dir=raw, **kwargs)


@pytest.fixture(scope='module')
def built(raw, tmp_path_factory):
  """A dataset of all that is planted."""
  builder = make(tmp_path_factory.mktemp('data'), raw)
  builder.download_and_prepare()
  return builder


def digests(builder):
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in pathlib.Path(builder.data_dir).iterdir()
  }


def test_counts_are_those_that_were_planted(built, planted):
  told = json.loads((pathlib.Path(built.data_dir) / report.FILE).read_text())
  for what in ('clips', 'defects', 'left_out', 'absent_streams'):
    assert told[what] == planted[what], what
  assert {name: s.num_examples for name, s in built.info.splits.items()} == planted['clips']
  assert told['defects']['video_unreadable'] == len(told['unreadable']) == BAD
  assert dict(built.info.metadata['absent']) == planted['absent_streams']
  assert built.info.metadata['missing'] == {'rgb': planted['left_out']}
  assert set(told['policy']) == set(told['defects'])


def test_records_are_the_clips_with_what_was_heard(built, raw, planted):
  data = dataset.Dataset(
    'mmact', names.ACTIONS, dict(built.info.metadata), dataset.read_index(built), built
  )
  index = data.index
  assert len(set(index.key)) == len(index) == CLIPS - BAD
  assert set(index.label) == set(range(35))
  subject, split = index.columns['subject'], index.columns['split']
  assert subject[split == 'test'].min() >= 17
  assert subject[split == 'train'].max() <= 16
  assert not set(index.key) & set(planted['left_out'])
  records = data.records(('imu', 'rgb'))
  silent = {s: 0 for s in names.STREAMS}
  for i in range(len(records)):
    record = records[i]
    numbers = {name: index.columns[name][i] for name in names.NUMBERS}
    expected = ''.join(f'{name}{number}_' for name, number in numbers.items())
    assert index.key[i].startswith(expected)
    assert index.key[i].endswith(names.ACTIONS[index.label[i]])
    assert len(record['rgb']) == 30
    assert len(record['imu']) == len(record['imu_mask'])
    assert record['imu'].shape[1] == 12
    for s, stream in enumerate(names.STREAMS):
      silent[stream] += not record['imu_mask'][:, s].any()
      assert not record['imu'][~record['imu_mask'][:, s], 3 * s : 3 * s + 3].any()
  assert {s: n for s, n in silent.items() if n} == planted['absent_streams']


def test_batches(built):
  data = dataset.Dataset(
    'mmact', names.ACTIONS, dict(built.info.metadata), dataset.read_index(built), built
  )
  sensors = {'length': 90, 'fit': 'pad', 'channels': 12, 'rates': (100, 100, 50, 50), 'rate': 50}
  inputs = fakes.inputs_of({'imu': sensors, 'rgb': {'frames': 4, 'resize': 24, 'size': 24}})
  positions = range(len(data.index))
  batches = list(loader.eval_batches(data.records(inputs), positions, inputs, 8))
  assert sum(batch['mask'].sum() for batch in batches) == CLIPS - BAD
  streams = np.concatenate([batch['imu_streams'] for batch in batches])
  masks = np.concatenate([batch['imu_mask'] for batch in batches])
  valid = np.concatenate([batch['mask'] for batch in batches])
  assert streams.shape[1:] == (90, 4)
  absent = (~streams[valid].any(1)).sum(0)
  told = {s: int(n) for s, n in zip(names.STREAMS, absent, strict=True) if n}
  assert told == dict(built.info.metadata['absent'])
  np.testing.assert_array_equal(masks.any(1), streams.any((1, 2)))


def test_too_many_unreadable_videos_are_named_and_the_work_is_kept(raw, planted, tmp_path, built):
  builder = make(tmp_path, raw, allow_corrupt=BAD - 1)
  with pytest.raises(UserError) as error:
    builder.download_and_prepare()
  assert planted['files']['video_unreadable'][0] in str(error.value)
  assert f'{BAD} files in all cannot be read, see ' in str(error.value)
  assert str(error.value).endswith(f'--allow_corrupt={BAD}')
  assert not builder.is_prepared()
  (told,) = tmp_path.rglob(report.FILE)
  assert len(json.loads(told.read_text())['unreadable']) == BAD
  assert len(list(tmp_path.rglob('*.npz'))) == CLIPS
  again = make(tmp_path, raw)
  again.download_and_prepare()
  assert digests(again) == digests(built)
  assert {path.name for path in tmp_path.rglob('*') if path.suffix == '.npz'} == set()


def test_continued_after_interruptions_with_the_same_bytes(
  raw, planted, tmp_path, built, monkeypatch
):
  makes, original = [], clips.make

  def stop_at(count):
    def interrupted(job):
      if len(set(makes)) == count:
        raise KeyboardInterrupt
      makes.append(job.clip)
      return original(job)

    return interrupted

  for count in (3, 50, 51):
    monkeypatch.setattr(clips, 'make', stop_at(count))
    with pytest.raises(KeyboardInterrupt):
      make(tmp_path, raw).download_and_prepare()
  monkeypatch.setattr(clips, 'make', stop_at(-1))
  builder = make(tmp_path, raw)
  builder.download_and_prepare()
  again = {clip.key for clip in makes if makes.count(clip) > 1}
  assert again <= set(planted['left_out'])  # What could not be read is tried again.
  assert len(set(makes)) == CLIPS
  assert digests(builder) == digests(built)


def test_worker_processes_do_the_same(raw, tmp_path, built):
  builder = make(tmp_path, raw, workers=2)
  builder.download_and_prepare()
  assert digests(builder) == digests(built)


def test_what_is_prepared_needs_no_raw_files(built):
  data_dir = built.data_dir_root
  again = mmact.Builder(data_dir=str(data_dir), short_side=24)
  again.download_and_prepare()
  assert again.info.splits['train'].num_examples == built.info.splits['train'].num_examples


def test_other_raw_files_ask_for_a_new_build(built, raw, tmp_path):
  make(built.data_dir_root, raw).download_and_prepare()
  more = tmp_path / 'more'
  shutil.copytree(raw, more)
  again = make(built.data_dir_root, more)
  again.download_and_prepare()
  (more / 'subject1' / 'late.mp4').write_bytes(b'12345')
  (more / 'subject1' / 'Thumbs.db').write_bytes(b'12345')
  with pytest.raises(UserError, match=r'1 new \(subject1/late\.mp4\); delete this folder') as error:
    again.download_and_prepare()
  assert 'use it as it is without --raw_dir' in str(error.value)
  (more / 'subject1' / 'late.mp4').unlink()
  repaired = next(path for path in sorted(more.rglob('*.mp4')))
  repaired.write_bytes(b'x' * repaired.stat().st_size)
  name = re.escape(repaired.relative_to(more).as_posix())
  with pytest.raises(UserError, match=rf'1 with other content \({name}\); delete'):
    again.download_and_prepare()


def test_a_dataset_without_a_fingerprint_has_the_number_of_its_files(built, raw, tmp_path, capfd):
  folder = tmp_path / built.data_path.relative_to(built.data_dir_root)
  shutil.copytree(built.data_path, folder)
  (folder / 'fingerprint.json').unlink()
  path = folder / 'metadata.json'
  files = [p for p in raw.rglob('*.*') if p.suffix in ('.mp4', '.csv')]
  counts = {'files': len(files), 'bytes': sum(p.stat().st_size for p in files)}
  path.write_text(json.dumps({**json.loads(path.read_text()), 'raw_files': counts}))
  make(tmp_path, raw).download_and_prepare()
  assert 'has no fingerprint.json' in capfd.readouterr().err
  counts['bytes'] += 1
  path.write_text(json.dumps({**json.loads(path.read_text()), 'raw_files': counts}))
  with pytest.raises(UserError, match=f'was built from {len(files)} raw files of .* bytes'):
    make(tmp_path, raw).download_and_prepare()


def test_an_absent_stream_is_an_error_if_none_may_be(built, raw):
  with pytest.raises(UserError, match='clips lack acc_phone; MMAct is like that'):
    make(built.data_dir_root, raw, require_complete=True).download_and_prepare()


def test_sensors_alone_are_a_record_an_event(raw, planted, tmp_path):
  builder = make(tmp_path, raw, modalities=('imu',), allow_corrupt=0)
  builder.download_and_prepare()
  index = dataset.read_index(builder)
  events = {
    names.parse_sensor(p.relative_to(raw).as_posix(), '')[1] for p in raw.glob('*_clip/**/*.csv')
  }
  assert {*index.key} == {event.key for event in events}
  assert set(index.columns['cam']) == {0}
  assert builder.info.config_name == 'imu'


def test_video_alone(raw, tmp_path):
  builder = make(tmp_path, raw, modalities=('rgb',))
  builder.download_and_prepare()
  assert builder.info.config_name == 'rgb-24'
  assert 'imu' not in builder.info.features
  told = json.loads((pathlib.Path(builder.data_dir) / report.FILE).read_text())
  assert told['defects']['sensor_missing'] == 0


def test_a_part_without_test_subjects_has_no_test_split(raw, tmp_path):
  shutil.copytree(raw / 'subject5', tmp_path / 'raw' / 'subject5')
  builder = make(tmp_path / 'data', tmp_path / 'raw')
  builder.download_and_prepare()
  assert set(builder.info.splits) == {'train'}
  assert set(dataset.read_index(builder).columns['subject']) == {5}


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'modalities': ('imu', 'depth')}, "modalities: 'depth' given; mmact has imu, rgb"),
    ({'modalities': ()}, 'modalities: none given'),
    ({'short_side': 0}, 'short_side=0: must be a whole number'),
  ],
)
def test_wrong_arguments(tmp_path, kwargs, message):
  with pytest.raises(UserError, match=message):
    make(tmp_path, None, **kwargs)


def test_no_raw_files(tmp_path):
  with pytest.raises(UserError, match=r'mmact: needs a licence from https.*--raw_dir'):
    make(tmp_path / 'data', None).download_and_prepare()
  with pytest.raises(UserError, match='none: no such folder'):
    make(tmp_path / 'data', tmp_path / 'none').download_and_prepare()
  (tmp_path / 'raw').mkdir()
  with pytest.raises(UserError, match='raw: no file subjectN/camN/sceneN'):
    make(tmp_path / 'data', tmp_path / 'raw').download_and_prepare()
  assert not list((tmp_path / 'data').rglob('*unfinished*'))
