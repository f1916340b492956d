"""What each corruption does to small pictures and to which frames are shown."""

import numpy as np
import pytest

from data_builders import flow as coding
from har.data.corrupt import pictures

PICTURE = (np.arange(20 * 30 * 3) % 251).astype(np.uint8).reshape(20, 30, 3)
DEPTH = np.where(np.arange(24).reshape(4, 6) % 3, 2000, 0).astype(np.uint16)


def apply(change, severity, x=PICTURE, frame=0):
  return change(x, severity, np.random.default_rng(0), np.random.default_rng((0, frame)))


def test_light_and_noise():
  np.testing.assert_array_equal(apply(pictures.dark, 0.25), np.rint(PICTURE * 0.25))
  grey = np.full((100, 100, 3), 128, np.uint8)
  noisy = apply(pictures.noise, 25.0, grey)
  assert noisy.astype(float).std() == pytest.approx(25, rel=0.02)
  assert (noisy != apply(pictures.noise, 25.0, grey, frame=1)).mean() > 0.9
  assert not apply(pictures.black, 1.0).any()
  assert (apply(pictures.still, 1.0) == coding.STILL).all()


def test_blur_spreads_and_keeps_the_sum():
  x = np.zeros((50, 50, 3), np.uint8)
  x[25, 25] = 255
  blurred = apply(pictures.blur, 0.04, x)
  assert 0 < blurred.max() < 40
  np.testing.assert_array_equal(apply(pictures.blur, 0.04, np.full_like(x, 90)), 90)


def test_occlusion_hides_that_share_in_one_place():
  x = np.zeros((40, 80, 3), np.uint8)
  hidden = apply(pictures.occlusion, 0.25, x)
  assert (hidden == 128).mean() == pytest.approx(0.25)
  np.testing.assert_array_equal(hidden, apply(pictures.occlusion, 0.25, x, frame=1))
  assert apply(pictures.occlusion, 0.25, np.full((40, 80), 900, np.uint16)).min() == 0


def test_lower_resolution():
  x = np.zeros((8, 8, 3), np.uint8)
  x[:, 4:] = 200
  np.testing.assert_array_equal(apply(pictures.resolution, 8.0, x), x)
  assert len(np.unique(apply(pictures.resolution, 1.0, x))) == 1
  depth = np.arange(16, dtype=np.uint16).reshape(4, 4)
  np.testing.assert_array_equal(
    apply(pictures.resolution, 2.0, depth), depth[[1, 1, 3, 3]][:, [1, 1, 3, 3]]
  )


def test_depth_changes_only_where_something_is_seen():
  noisy = apply(pictures.depth_noise, 50.0, DEPTH)
  np.testing.assert_array_equal(noisy == 0, DEPTH == 0)
  assert noisy.dtype == np.uint16
  assert len(np.unique(noisy)) > 8
  large = np.full((100, 100), 2000, np.uint16)
  assert (apply(pictures.holes, 0.3, large) == 0).mean() == pytest.approx(0.3, abs=0.02)


def test_timing():
  rng = np.random.default_rng
  np.testing.assert_array_equal(pictures.frozen(8, 0.5, 0, rng(0)), [0, 1, 2, 3, 3, 3, 3, 3])
  np.testing.assert_array_equal(pictures.shift(6, 0.2, 10.0, rng(0)), [0, 0, 0, 1, 2, 3])
  np.testing.assert_array_equal(pictures.shift(6, -0.2, 10.0, rng(0)), [2, 3, 4, 5, 5, 5])
  delay = rng(0).random(12) * 0.3 * 10
  late = pictures.late(12, 0.3, 10.0, rng(0))
  for i in range(1, 12):
    assert late[i] == max((j for j in range(i + 1) if j + delay[j] <= i), default=0)
  assert (np.diff(late) >= 0).all()
  assert (np.arange(12) - late).max() <= 3
  lost = pictures.dropped(12, 0.5, 0, rng(0))
  assert set(lost.tolist()) <= {0, *np.flatnonzero(rng(0).random(12) >= 0.5).tolist()}


@pytest.mark.parametrize('kind', ['frames', 'flow', 'depth'])
def test_what_is_stored_again_is_what_was_changed(kind):
  codec = pictures.CODECS[kind]
  x = {'frames': PICTURE, 'flow': PICTURE[..., 0], 'depth': DEPTH}[kind]
  np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)
  film = pictures.Film(
    [codec.encode(x), codec.encode(x // 2)], codec, np.array([1, 0]), pictures.dark, 0.5, (0,)
  )
  assert len(film) == 2
  np.testing.assert_array_equal(codec.decode(film[0]), np.rint(x // 2 * 0.5))
  untouched = pictures.Film([b'a', b'b'], codec, np.array([1, 1]), None, 0.0, (0,))
  assert [untouched[0], untouched[1]] == [b'b', b'b']
