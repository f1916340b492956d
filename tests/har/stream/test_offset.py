"""The offset of IMU and video is found, with a confidence that says when it is none."""

import types

import numpy as np
import pytest

from har.stream import offset

RATE = 50


def motion(seconds=6.0, seed=0, rate=RATE):
  """Bursts of motion at irregular instants, by time."""
  rng = np.random.default_rng(seed)
  instants = rng.uniform(0, seconds, 6)
  heights = rng.uniform(0.5, 2, 6)

  def at(t):
    return sum(
      h * np.exp(-(((np.asarray(t) - i) / 0.15) ** 2))
      for h, i in zip(heights, instants, strict=True)
    )

  return at


def estimated(shift, seed=0, noise=0.0):
  at, rng = motion(seed=seed), np.random.default_rng(seed)
  t, frames = np.arange(0, 6, 1 / RATE), np.arange(0, 6, 1 / 15)
  imu = at(t - shift) + noise * rng.random(len(t))
  return offset.estimate(offset.curve(t, imu), offset.curve(frames, at(frames)))


@pytest.mark.parametrize('shift', [-1.0, -0.5, -0.1, 0.0, 0.2, 1.0])
def test_a_known_shift_is_found(shift):
  found = estimated(shift)
  assert found.seconds == pytest.approx(shift, abs=0.03)
  assert found.correlation > 0.9
  assert found.known
  plain = found.plain(0.25)
  assert plain['exceeds'] == (abs(shift) >= 0.5)
  assert ('bring the recordings together' in found.text(0.25)) == plain['exceeds']


def test_periodic_motion_has_no_confidence():
  t, frames = np.arange(0, 6, 1 / RATE), np.arange(0, 6, 1 / 15)
  curves = [offset.curve(x, 1 + np.sin(2 * np.pi * 1.25 * x)) for x in (t, frames)]
  found = offset.estimate(*curves)
  assert found.correlation > 0.99
  assert not found.known
  assert 'cannot be told' in found.text(0.25)
  assert not found.plain(0.0)['exceeds']


def test_unlike_curves_have_no_confidence():
  t, frames = np.arange(0, 6, 1 / RATE), np.arange(0, 6, 1 / 15)
  confidences = [
    offset.estimate(
      offset.curve(t, motion(seed=i)(t)), offset.curve(frames, motion(seed=i + 50)(frames))
    ).confidence
    for i in range(20)
  ]
  alike = [estimated(0.3, seed=i, noise=0.3).confidence for i in range(20)]
  assert np.median(confidences) < 0.5 < np.median(alike)


def test_too_little_or_no_motion_gives_none():
  t = np.arange(0, 0.8, 1 / RATE)
  assert offset.estimate(offset.curve(t, t), offset.curve(t, t)) is None
  t = np.arange(0, 3, 1 / RATE)
  assert offset.estimate(offset.curve(t, 0 * t), offset.curve(t, t)) is None


def test_samples_move_as_they_turn_or_else_jump():
  x = np.zeros((4, 6))
  x[2] = [0, 3, 4, 6, 8, 0]
  both = np.array([False] * 3 + [True] * 3)
  np.testing.assert_array_equal(offset.motion_of_samples(x, both), [0, 0, 10, 0])
  np.testing.assert_array_equal(offset.motion_of_samples(x, np.zeros(6, bool)), [0, 0, 5, 5])


def test_items_of_a_pair():
  class Frame:
    def __init__(self, picture):
      self._picture = picture

    def reformat(self, **_):
      return self

    def to_ndarray(self):
      return self._picture

  def item(source, time, value, sensor=None):
    return types.SimpleNamespace(source=source, time=time, value=value, sensor=sensor)

  at = motion()
  taker = offset.Motion(('g', 'g', 'g', 'rad/s', 'rad/s', 'rad/s'), sensors=2)
  for t in np.arange(0, 6, 1 / RATE):
    taker.push(item('imu', t, np.ones(3), 0))  # An accelerometer that tells nothing.
    taker.push(item('imu', t, np.array([at(t - 0.5), 0, 0]), 1))
  grey = 0.0
  for i, t in enumerate(np.arange(0, 6, 1 / 15)):
    grey += (-1) ** i * at(t) * 50
    taker.push(item('video', t, Frame(np.full((48, 64), 128 + grey))))
  assert taker.estimate().seconds == pytest.approx(0.5, abs=0.05)
