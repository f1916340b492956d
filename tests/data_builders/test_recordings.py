import dataclasses
import gzip
import io

import numpy as np
import pytest
from PIL import Image

from data_builders import recordings
from data_builders.layout import Trial
from har.errors import UserError
from tests import spoilers
from tests.data_builders import films, raw_trees
from tests.data_builders.raw_trees import LAYOUT, avi, matrix

TRIAL = Trial(1, 2, 1)
WHERE = 'Folder/file'


def read(modality: str, data: bytes):
  return recordings.READERS[modality](data, WHERE, LAYOUT)


def test_imu_is_read_as_it_is():
  array = read('imu', raw_trees.content('imu', TRIAL))
  assert array.dtype == np.float32
  np.testing.assert_allclose(array, raw_trees.imu(TRIAL), rtol=1e-6)


def test_skeletons_and_depth_get_time_first():
  skeleton = read('skeleton', raw_trees.content('skeleton', TRIAL))
  assert (skeleton.shape, skeleton.dtype) == ((8, 20, 3), np.float32)
  np.testing.assert_allclose(skeleton[5, 7], raw_trees.skeleton(TRIAL)[7, :, 5], rtol=1e-6)
  depth = read('depth', raw_trees.content('depth', TRIAL))
  assert (depth.shape, depth.dtype) == ((8, 24, 32), np.uint16)
  np.testing.assert_array_equal(depth, raw_trees.depth(TRIAL).transpose(2, 0, 1))


def test_rgb_frames_come_in_order():
  frames = read('rgb', raw_trees.content('rgb', TRIAL))
  means = [np.asarray(Image.open(io.BytesIO(frame))).mean() for frame in frames]
  np.testing.assert_allclose(means, [40, 50, 60, 70, 80, 90], atol=2)


def test_rgb_has_the_layouts_size_when_upright():
  data = films.film('matroska', times=range(3), size=(32, 24), rotation=90)
  assert Image.open(io.BytesIO(read('rgb', data)[0])).size == (32, 24)
  data = films.film('matroska', times=range(3), size=(24, 32), rotation=90)
  with pytest.raises(UserError, match=r'frames of 24x32 pixels, not 32x24'):
    read('rgb', data)


def bad(modality: str, change) -> bytes:
  array = {'imu': raw_trees.imu, 'skeleton': raw_trees.skeleton, 'depth': raw_trees.depth}[modality]
  variable = {'imu': 'd_iner', 'skeleton': 'd_skel', 'depth': 'd_depth'}[modality]
  return matrix(variable, change(array(TRIAL)))


def with_value(value):
  def change(array):
    array[4, 2] = value
    return array

  return change


@pytest.mark.parametrize(
  ('modality', 'data', 'fault'),
  [
    ('imu', b'', 'empty'),
    ('imu', b'<html>gone</html>' * 20, 'a web page'),
    ('imu', b'version https://git-lfs.github.com/spec/v1', 'a pointer of Git LFS'),
    ('imu', gzip.compress(raw_trees.content('imu', TRIAL)), 'packed by gzip'),
    ('skeleton', bytes(9999), 'nothing but zeros'),
    ('depth', b'anything else at all' * 50, 'not a readable MATLAB file'),
    ('imu', raw_trees.content('imu', TRIAL)[:-40], 'not a readable MATLAB file'),
    ('imu', raw_trees.content('skeleton', TRIAL), 'no numeric variable d_iner'),
    ('imu', matrix('d_iner', np.zeros((30, 5))), r'shape \[30, 5\], not \[T, 6\]'),
    ('imu', matrix('d_iner', np.zeros((6, 30))), r'shape \[6, 30\], not \[T, 6\]; transpose it'),
    ('imu', bad('imu', with_value(1e39)), r'a value of 1e\+39, which float32 does not hold'),
    ('imu', bad('imu', with_value(-1.7e308)), r'1.7e\+308, which float32 does not hold'),
    ('skeleton', bad('skeleton', with_value(1e39)), r'1e\+39, which float32 does not hold'),
    ('depth', bad('depth', with_value(1e39)), 'whole millimetres'),
    ('imu', matrix('d_iner', np.zeros((1, 6))), '1 samples, fewer than 2'),
    ('imu', bad('imu', with_value(np.nan)), 'not finite'),
    ('imu', bad('imu', with_value(np.inf)), 'not finite'),
    ('skeleton', bad('skeleton', with_value(np.nan)), 'not finite'),
    ('skeleton', bad('skeleton', lambda a: a.transpose(1, 0, 2)), r'not \[20, 3, T\]'),
    ('skeleton', bad('skeleton', lambda a: a[..., 0]), r'shape \[20, 3\]'),
    ('depth', bad('depth', lambda a: a[:, :20]), r'shape \[24, 20, 8\], not \[24, 32, T\]'),
    ('depth', bad('depth', lambda a: a[..., :1]), 'fewer than 2'),
    ('depth', bad('depth', with_value(1.5)), 'whole millimetres'),
    ('depth', bad('depth', with_value(-1)), 'whole millimetres'),
    ('depth', bad('depth', with_value(65536)), 'whole millimetres'),
    ('depth', bad('depth', with_value(np.nan)), 'not finite'),
    ('depth', bad('depth', np.zeros_like), 'nothing but background'),
    ('rgb', b'', 'not a readable video'),
    ('rgb', b'no video at all' * 50, 'not a readable video'),
    ('rgb', b'<!DOCTYPE html><html>Log in</html>', 'a web page'),
    ('rgb', b'version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS'),
    ('rgb', avi(raw_trees.rgb(TRIAL)[:1]), '1 frames, fewer than 2'),
    ('rgb', avi(raw_trees.rgb(TRIAL, (48, 64))), 'frames of 64x48 pixels, not 32x24'),
  ],
)
def test_faults_name_the_file(modality, data, fault):
  with pytest.raises(UserError, match=fault) as caught:
    read(modality, data)
  assert str(caught.value).startswith(f'{WHERE}: ')
  assert '\n' not in str(caught.value)


def test_what_float32_holds_is_read():
  values = [np.finfo(np.float32).max, 3.4028235e38, -0.0, 1e-45, 1e-320, -3.0]
  array = read('imu', matrix('d_iner', np.array([values] * 3)))
  np.testing.assert_array_equal(array[0], np.array(values, np.float32))
  assert np.signbit(array[0, 2])


@pytest.mark.parametrize('value', [2**63 - 1, 2**64 - 1])
def test_the_largest_integers_are_read(value):
  dtype = np.int64 if value < 2**63 else np.uint64
  data = spoilers.mat('d_iner', np.full((3, 6), value, dtype))
  np.testing.assert_array_equal(read('imu', data), np.float32(value))


def noisy_video() -> bytes:
  rng = np.random.default_rng(0)
  return avi([rng.integers(0, 255, (24, 32, 3), np.uint8) for _ in range(12)])


def test_a_truncated_video_is_refused():
  data = noisy_video()
  with pytest.raises(UserError, match=f'{WHERE}: '):
    read('rgb', data[: len(data) // 2])


def test_a_damaged_video_is_refused():
  data = bytearray(noisy_video())
  middle = len(data) // 2
  data[middle : middle + 600] = bytes(600)
  with pytest.raises(UserError, match=f'{WHERE}: '):
    read('rgb', bytes(data))


def test_numbers_stored_as_integers_are_read():
  buffer = matrix('d_depth', raw_trees.depth(TRIAL))
  assert read('depth', buffer).max() == 65535


def check(lengths: dict[str, int], ratio: tuple[float, float] = (0.55, 1.25)) -> None:
  layout = dataclasses.replace(LAYOUT, duration_ratio=ratio)
  recordings.check_durations(lengths, {m: f'{m}.file' for m in lengths}, layout)


def test_durations_that_agree_are_accepted():
  check({'imu': 100})
  check({'imu': 100, 'rgb': 30, 'depth': 40, 'skeleton': 40})
  check({'imu': 100, 'rgb': 17})
  check({'imu': 100, 'rgb': 37})
  check({'rgb': 17, 'depth': 400})


@pytest.mark.parametrize('frames', [16, 38])
def test_durations_that_differ_name_both_files(frames):
  with pytest.raises(UserError, match=rf'^rgb.file: lasts {frames / 15:.2f} s but imu.file 2.00 s'):
    check({'imu': 100, 'rgb': frames})


def test_one_camera_gives_as_many_skeletons_as_depth_frames():
  with pytest.raises(UserError, match=r'^skeleton.file: has 41 frames but depth.file 40'):
    check({'depth': 40, 'skeleton': 41})
