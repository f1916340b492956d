"""Every number of processes prepares all clips, and the report's figures are right."""

import pathlib

import av
import pytest

from data_builders.mmact import benchmark, generate
from har.errors import UserError

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('raw') / 'mmact'
  generate.write_raw(folder, MANIFEST, clips=6, defects=False)
  return folder


def test_starting_does_not_count():
  assert benchmark.rate([10.0, 11.0, 13.0, 15.0, 17.0], 2) == 0.5
  assert benchmark.rate([10.0, 11.0], 1) == 1.0
  with pytest.raises(UserError, match='2 clips are too few to time; give more than 2'):
    benchmark.rate([10.0, 11.0], 2)


def test_table():
  lines = benchmark.table({1: [2.0, 5.0, 3.0], 2: [4.0, 5.0, 4.5], 4: [6.0, 6.0, 6.0]}, cores=2)
  assert [line.split() for line in lines] == [
    ['processes', 'clips/s', 'min', 'max', 'a', 'core'],
    ['1', '3.00', '2.00', '5.00', '3.00'],
    ['2', '4.50', '4.00', '5.00', '2.25'],
    ['4', '6.00', '6.00', '6.00', '3.00'],
  ]


def test_clips_are_prepared_anew_each_time(raw, tmp_path, monkeypatch):
  calls = []
  run = benchmark.workers.run

  def count(jobs, work, processes, advance):
    assert not any(work.iterdir())
    outcomes = list(run(jobs, work, 0, advance))
    calls.append((len(jobs), processes, len(list(work.glob('*.npz')))))
    return iter(outcomes)

  monkeypatch.setattr(benchmark.workers, 'run', count)
  measured = benchmark.measure(raw, tmp_path, clips=5, counts=[1, 2], rounds=2)
  assert calls == [(5, 1, 5), (5, 2, 5)] * 2
  assert [len(values) for values in measured.values()] == [2, 2]
  assert min(min(values) for values in measured.values()) > 0


def test_a_clip_that_cannot_be_read_is_an_error(tmp_path):
  broken = tmp_path / 'mmact' / 'subject1' / 'cam1' / 'scene1' / 'session1'
  broken.mkdir(parents=True)
  (broken / 'fall.mp4').write_bytes(b'')
  with pytest.raises(UserError, match=r'fall\.mp4'):
    benchmark.measure(tmp_path / 'mmact', tmp_path, clips=5, counts=[1], rounds=1)


def test_generated_videos_can_be_large(tmp_path):
  generate.write_raw(tmp_path / 'raw', MANIFEST, clips=1, defects=False, size=(90, 160))
  (video,) = (tmp_path / 'raw').rglob('*.mp4')
  with av.open(str(video)) as container:
    frame = next(container.decode(video=0))
  assert (frame.height, frame.width) == (90, 160)
