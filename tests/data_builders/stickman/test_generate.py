import hashlib
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest
import scipy.io

from data_builders.layout import Trial
from data_builders.stickman import actions, generate, scene, stickman_dataset_builder
from har.errors import UserError


def digests(folder):
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob('*.avi'))
  }


def matrices(folder):
  return {
    path.name: next(v for k, v in scipy.io.loadmat(path).items() if k.startswith('d_'))
    for path in sorted(folder.rglob('*.mat'))
  }


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('raw')
  generate.write_raw(folder, subjects=(1, 2), trials=(1,))
  return folder


def test_names_and_counts_are_utd_mhads(raw):
  names = sorted(str(p.relative_to(raw)) for p in raw.rglob('*') if p.is_file())
  keys = [f'a{a}_s{s}_t1' for a in range(1, 7) for s in (1, 2)]
  assert names == sorted(
    [f'RGB/{k}_color.avi' for k in keys]
    + [f'Inertial/{k}_inertial.mat' for k in keys]
    + [f'Skeleton/{k}_skeleton.mat' for k in keys]
  )


def test_the_complete_dataset_is_balanced():
  layout = stickman_dataset_builder.LAYOUT
  assert layout.counts() == {'train': 96, 'test': 96}
  labels = [t.action for t in layout.expected() if layout.split(t) == 'train']
  assert [labels.count(action) for action in range(1, 7)] == [16] * 6
  assert Trial(6, 8, 4) in layout.expected()


def test_video_is_motion_jpeg_at_15_frames_a_second(raw):
  with av.open(str(raw / 'RGB' / 'a4_s1_t1_color.avi')) as container:
    stream = container.streams.video[0]
    assert stream.codec_context.name == 'mjpeg'
    assert stream.average_rate == 15
    assert (stream.width, stream.height) == (scene.WIDTH, scene.HEIGHT)
    frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
  recording = generate.record(generate.make_studio(1), 'punch', 1)
  assert len(frames) == len(recording.rgb)
  error = np.abs(np.stack(frames).astype(float) - recording.rgb)
  assert error.mean() < 4


def test_matrices_have_the_owners_variables_shapes_and_units(raw):
  for key in ('a1_s1_t1', 'a3_s2_t1'):
    inertial = scipy.io.loadmat(raw / 'Inertial' / f'{key}_inertial.mat')['d_iner']
    skeleton = scipy.io.loadmat(raw / 'Skeleton' / f'{key}_skeleton.mat')['d_skel']
    assert inertial.dtype == skeleton.dtype == np.float64
    assert inertial.shape[1:] == (6,)
    assert skeleton.shape[:2] == (20, 3)
    assert 2.0 <= skeleton.shape[2] / 15 <= 3.0
    assert abs(len(inertial) / 50 - skeleton.shape[2] / 15) < 0.03
    # Gravity dominates the mean; people stand a few metres away.
    assert 0.6 < np.linalg.norm(inertial[:, :3], axis=1).mean() < 2.0
    assert 2.0 < skeleton[:, 2].mean() < 4.5


def test_sensor_and_skeleton_show_one_motion():
  # A right-hander's fast blows: the wrist accelerates when it leaves the shoulder.
  recording = generate.record(generate.make_studio(1), 'punch', 2, film=False)
  arm = np.linalg.norm(recording.skeleton[:, 10] - recording.skeleton[:, 8], axis=-1)
  gyro = np.linalg.norm(recording.imu[:, 3:], axis=1)
  moving = np.abs(np.gradient(arm)) * 15
  at_frames = np.interp(np.arange(len(arm)) / 15, np.arange(len(gyro)) / 50, gyro)
  assert np.corrcoef(moving, at_frames)[0, 1] > 0.6


def test_same_seed_same_files(raw, tmp_path):
  generate.write_raw(tmp_path, subjects=(1, 2), trials=(1,))
  assert digests(tmp_path) == digests(raw)
  ours, theirs = matrices(tmp_path), matrices(raw)
  for name, array in theirs.items():
    np.testing.assert_array_equal(ours[name], array)


def test_a_trial_does_not_depend_on_the_others_or_on_the_modalities(raw, tmp_path):
  generate.write_raw(tmp_path, subjects=(2,), trials=(2, 1), modalities=('imu', 'skeleton'))
  assert not (tmp_path / 'RGB').exists()
  ours, theirs = matrices(tmp_path), matrices(raw)
  for name in ('a3_s2_t1_inertial.mat', 'a3_s2_t1_skeleton.mat'):
    np.testing.assert_array_equal(ours[name], theirs[name])
  assert (
    ours['a3_s2_t2_skeleton.mat'].shape != ours['a3_s2_t1_skeleton.mat'].shape
    or (ours['a3_s2_t2_skeleton.mat'] != ours['a3_s2_t1_skeleton.mat']).any()
  )


def test_another_seed_gives_other_recordings():
  one, two = (
    generate.record(generate.make_studio(1, seed=seed), 'walk', 1, film=False) for seed in (0, 1)
  )
  assert one.imu.shape != two.imu.shape or (one.imu != two.imu).any()


def test_all_actions_give_finite_signals_within_the_sensors_range():
  for subject in generate.SUBJECTS:
    place = generate.make_studio(subject)
    for action in actions.ACTIONS:
      recording = generate.record(place, action, 1, film=False)
      assert np.isfinite(recording.imu).all()
      assert np.isfinite(recording.skeleton).all()
      assert np.abs(recording.imu[:, :3]).max() <= 8
      assert np.abs(recording.imu[:, 3:]).max() <= 1000


def test_a_folder_in_use_is_refused_and_kept(tmp_path):
  (tmp_path / 'mine.txt').write_text('keep')
  with pytest.raises(UserError, match='is not empty'):
    generate.write_raw(tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']
  with pytest.raises(UserError, match='is a file'):
    generate.write_raw(tmp_path / 'mine.txt')


def run(*args):
  command = [sys.executable, '-m', 'data_builders.stickman.generate', *args]
  root = pathlib.Path(generate.__file__).parents[2]
  return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def test_the_command_line_reports_a_folder_in_use_in_one_line(tmp_path):
  (tmp_path / 'mine.txt').write_text('keep')
  done = run(f'--out={tmp_path}')
  assert done.returncode == 2
  assert done.stderr == f'{tmp_path} is not empty; give a new or empty folder\n'
