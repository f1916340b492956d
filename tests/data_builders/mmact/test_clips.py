import dataclasses
import pathlib

import numpy as np
import pytest

from data_builders.mmact import clips, generate, names, sources
from har.errors import UserError

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')


@pytest.fixture
def job(tmp_path):
  """A clip whose files are all as they should be."""
  studio = generate.Studio(0, names.read_manifest(MANIFEST), 30)
  clip = names.Clip(17, 1, 4, 5, 'talking')
  raw = tmp_path / 'raw'
  for name in (clip.video_path, *map(clip.event.sensor_path, names.STREAMS)):
    (raw / name).parent.mkdir(parents=True)
  generate.write_video(raw / clip.video_path, generate.film(studio, clip))
  for stream in names.STREAMS:
    generate.write_sensor(raw / clip.event.sensor_path(stream), studio, clip.event, stream, ())
  found = sources.find(raw, tmp_path / 'scratch')
  return clips.Job(
    clip, found.videos[clip], {stream: f for (stream, _), f in found.sensors.items()}, 24
  )


@pytest.fixture
def work(tmp_path):
  path = tmp_path / 'work'
  path.mkdir()
  return path


def path_of(file):
  return pathlib.Path(file.where)


def again(job):
  """The job as a later run finds it: of the files that are there now."""

  def look(file):
    about = path_of(file).stat()
    return dataclasses.replace(file, size=about.st_size, stamp=about.st_mtime_ns)

  return dataclasses.replace(
    job, video=look(job.video), sensors={s: look(f) for s, f in job.sensors.items()}
  )


def test_a_record(job, work):
  record = clips.record(job, work)
  assert {name: record[name] for name in ('key', 'label', 'action', *names.NUMBERS)} == {
    'key': 'subject17_cam1_scene4_session5_talking',
    'label': 27,
    'action': 'talking',
    'subject': 17,
    'cam': 1,
    'scene': 4,
    'session': 5,
  }
  assert len(record['rgb']) == 30
  assert record['imu'].shape[1:] == (12,)
  assert record['imu'].dtype == np.float32
  assert record['imu_mask'].mean(0) == pytest.approx([1, 1, 0.5, 0.5], abs=0.03)


def test_what_is_finished_is_not_done_again(job, work, monkeypatch):
  first = clips.record(job, work)
  monkeypatch.setattr(clips, 'make', None)
  second = clips.record(job, work)
  assert first.keys() == second.keys()
  assert first['rgb'] == second['rgb']
  np.testing.assert_array_equal(first['imu'], second['imu'])
  np.testing.assert_array_equal(first['imu_mask'], second['imu_mask'])


def test_another_file_or_setting_is_done_anew(job, work):
  assert not clips.ensure(job, work).oddities
  path = path_of(job.sensors['gyro'])
  path.write_text(path.read_text() + path.read_text())
  assert set(clips.ensure(again(job), work).oddities) == {str(path)}
  assert clips.finished(job, work) is None
  assert clips.finished(dataclasses.replace(again(job), short_side=20), work) is None


@pytest.mark.parametrize('damage', [b'', b'nothing', None])
def test_a_damaged_work_file_is_done_anew(job, work, damage):
  whole = clips.record(job, work)
  (path,) = work.iterdir()
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 255
  path.write_bytes(bytes(data) if damage is None else damage)
  assert clips.record(job, work)['rgb'] == whole['rgb']


def test_absent_streams_are_masked_and_told_why(job, work):
  path_of(job.sensors['gyro']).write_bytes(b'')
  path_of(job.sensors['acc_watch']).write_bytes(b'1,2,3\n')
  job = again(job)
  del job.sensors['orientation']
  example, outcome = clips.make(job)
  assert outcome.absent == {'orientation': 'missing', 'gyro': 'empty', 'acc_watch': 'unreadable'}
  assert list(outcome.faults) == [job.sensors['acc_watch'].where]
  assert outcome.complete
  assert example['imu_mask'].any(0).tolist() == [True, False, False, False]
  assert example['imu'][:, :3].any()
  assert not example['imu'][:, 3:].any()


def test_without_its_video_a_clip_has_no_record(job, work):
  path_of(job.video).write_bytes(b'nothing')
  job = again(job)
  assert clips.record(job, work) is None
  outcome = clips.ensure(job, work)
  assert list(outcome.faults) == [job.video.where]
  assert not outcome.complete
  assert not outcome.absent


def test_a_work_folder_that_is_gone(job, work):
  work.rmdir()
  with pytest.raises(OSError, match='No such file'):
    clips.record(job, work)


def test_nothing_is_read_that_was_not_asked_for(job, work):
  example, _ = clips.make(dataclasses.replace(job, video=None))
  assert set(example) == {'imu', 'imu_mask'}
  example, outcome = clips.make(dataclasses.replace(job, sensors=None))
  assert set(example) == {'rgb'}
  assert not outcome.absent


def test_what_could_not_be_read_is_tried_again(job, work, monkeypatch):
  def fail(file):
    raise UserError(f'{file.where}: cannot be read (Input/output error)')

  with monkeypatch.context() as patch:
    patch.setattr(sources.File, 'read', fail)
    assert len(clips.ensure(job, work).faults) == 5
    assert clips.record(job, work) is None
  assert clips.ensure(job, work).complete
  assert clips.record(job, work)['imu_mask'].any(0).all()
