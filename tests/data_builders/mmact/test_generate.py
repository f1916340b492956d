import json
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from data_builders.mmact import generate, names, pictures, planting, readings, sources
from har.errors import UserError

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  """A raw tree of 60 clips and what is planted in it."""
  raw = tmp_path_factory.mktemp('raw') / 'mmact'
  return raw, generate.write_raw(raw, MANIFEST, clips=60, seed=3)


def files(raw):
  return {
    path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob('*') if path.is_file()
  }


def test_the_summary_is_written(tree):
  raw, summary = tree
  assert json.loads((raw / generate.PLANTED).read_text()) == summary
  assert summary['videos'] == 60
  assert sum(summary['clips'].values()) == 60 - summary['defects']['video_unreadable']
  assert {d: len(f) for d, f in summary['files'].items()} == {
    d: n for d, n in summary['defects'].items() if n
  }


def test_every_defect_but_one_is_planted_and_every_action_drawn(tree):
  _, summary = tree
  assert summary['defects'].pop('sensor_unreadable') == 0
  assert min(summary['defects'].values()) > 0
  plan = planting.draw(names.read_manifest(MANIFEST), 60, 3)
  assert {clip.action for clip in plan.clips} == set(names.ACTIONS)
  assert len(set(plan.clips)) == 60


def test_files_are_where_the_owner_has_them(tree, tmp_path):
  raw, summary = tree
  found = sources.find(raw, tmp_path)
  assert len(found.videos) == 60
  assert len(found.sensors) + summary['defects']['sensor_missing'] == 4 * len(
    {clip.event for clip in found.videos}
  )
  assert not found.ignored
  missing = set(summary['files'].get('sensor_missing', ()))
  assert not any((raw / path).exists() for path in missing)


def test_sensors_are_as_planted(tree):
  raw, summary = tree
  for path in raw.glob('*_clip/**/*.csv'):
    name = path.relative_to(raw).as_posix()
    one = readings.read(path.read_bytes(), name)
    planted = {
      kind
      for kind in ('empty', 'unsorted', 'repeated', 'no_fraction')
      if name in summary['files'].get(f'sensor_{kind}', ())
    }
    assert planted == ({'empty'} if one is None else set(one.oddities))
    if one is not None:
      rate = names.RATES[name.split('_clip')[0]]
      assert len(one.samples.time) / np.ptp(one.samples.time) == pytest.approx(rate, rel=0.05)


def test_videos_are_readable_unless_planted_otherwise(tree):
  raw, summary = tree
  bad = set(summary['files']['video_unreadable'])
  faults = set()
  for path in raw.glob('subject*/cam*/**/*.*4'):
    name = path.relative_to(raw).as_posix()
    try:
      frames = pictures.read(path.read_bytes(), name, 24)
    except UserError:
      faults.add(name)
      continue
    assert len(frames) == 30
  assert faults == bad
  assert len(bad) == 4
  with av.open(str(raw / next(p for p in files(raw) if p.endswith('.mp4') and p not in bad))) as v:
    stream = v.streams.video[0]
    assert (stream.codec_context.name, stream.average_rate, stream.height) == ('h264', 30, 36)


def test_the_same_seed_writes_the_same_files_and_another_does_not(tmp_path):
  trees = []
  for i, seed in enumerate((5, 5, 6)):
    generate.write_raw(tmp_path / str(i), MANIFEST, clips=9, seed=seed)
    trees.append(files(tmp_path / str(i)))
  assert trees[0] == trees[1]
  assert trees[0] != trees[2]


def test_clips_of_full_length(tmp_path):
  studio = generate.Studio(0, names.read_manifest(MANIFEST), 0)
  clip = names.Clip(17, 1, 4, 5, 'talking')
  assert len(generate.film(studio, clip)) == 240
  assert (
    studio.seconds(clip.event)
    == max(frames for other, frames in studio.frames.items() if other.event == clip.event) / 30
  )


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'clips': 280}, '--clips=280: the manifest has 1 to 279'),
    ({'clips': 1, 'max_frames': 29}, '--max_frames=29'),
  ],
)
def test_wrong_numbers(tmp_path, kwargs, message):
  with pytest.raises(UserError, match=message):
    generate.write_raw(tmp_path / 'new', MANIFEST, **kwargs)


def test_a_folder_with_something_in_it_is_refused(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='is not empty'):
    generate.write_raw(tmp_path, MANIFEST, clips=1)


def test_the_command_line_says_what_it_planted(tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'data_builders.mmact.generate'),
      *(f'--manifest={MANIFEST}', f'--out={tmp_path / "new"}', '--clips=9', '--seed=1'),
    ],
    cwd=pathlib.Path(__file__).parents[3],
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
  told, written = json.loads(done.stdout), json.loads((tmp_path / 'new/planted.json').read_text())
  assert told == {name: written[name] for name in told}
  assert told['videos'] == 9


def test_without_defects_none_is_planted(tmp_path):
  summary = generate.write_raw(tmp_path, MANIFEST, clips=9, defects=False)
  assert not any(summary['defects'].values())
  assert sum(summary['clips'].values()) == 9
  assert summary['absent_streams'] == {}
