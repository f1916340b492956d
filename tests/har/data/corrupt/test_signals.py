"""What each corruption does to small signals, to the number."""

import numpy as np
import pytest

from har.data.corrupt import signals
from har.data.corrupt.signals import Samples, Sensor

X = np.arange(48, dtype=np.float32).reshape(8, 6) - 20


def samples(x=X, mask=None, rates=(10.0,), spread=2.0, most=20.0):
  channels = x.shape[1]
  turns = np.arange(channels) < 3
  return Samples(x, mask, Sensor(rates, np.full(channels, spread), np.full(channels, most), turns))


def apply(change, severity, one=None, seed=0):
  return change(one or samples(), severity, np.random.default_rng(seed))


def test_noise_has_the_deviation_it_is_said_to_have():
  one = samples(np.zeros((20000, 6), np.float32))
  added = apply(signals.noise, 0.5, one).x
  np.testing.assert_allclose(added.std(0), 1.0, rtol=0.03)
  np.testing.assert_allclose(added.mean(0), 0.0, atol=0.03)
  # One draw for all severities.
  np.testing.assert_allclose(apply(signals.noise, 1.0, one).x, 2 * added, rtol=1e-6)


def test_bias_is_one_vector_of_that_length_for_each_sensor():
  offset = apply(signals.bias, 0.5).x - X
  np.testing.assert_allclose(offset, np.tile(offset[:1], (8, 1)), atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(offset[0].reshape(2, 3), axis=1), 1.0, rtol=1e-5)


def test_scale_clipping_and_death():
  np.testing.assert_array_equal(apply(signals.scale, 1.25).x, X * np.float32(1.25))
  np.testing.assert_array_equal(apply(signals.clipped, 0.25).x, np.clip(X, -5, 5))
  np.testing.assert_array_equal(apply(signals.dead, 1.0).x, 0 * X)


def test_rotation_keeps_lengths_and_leaves_angles():
  turned = apply(signals.rotation, 90.0).x
  lengths = [np.linalg.norm(x[:, :3], axis=1) for x in (X, turned)]
  np.testing.assert_allclose(*lengths, rtol=1e-5)
  np.testing.assert_array_equal(turned[:, 3:], X[:, 3:])
  assert np.abs(turned[:, :3] - X[:, :3]).max() > 5
  np.testing.assert_allclose(apply(signals.rotation, 360.0).x, X, atol=1e-4)


@pytest.mark.parametrize('axes', [1, 2, 3])
def test_silent_axes_are_of_the_first_sensor(axes):
  x = apply(signals.silent, float(axes)).x
  assert (~x.any(0)).tolist().count(True) == axes
  np.testing.assert_array_equal(x[:, 3:], X[:, 3:])


def test_dropped_samples_are_those_before_held():
  came = np.random.default_rng(0).random(8) >= 0.6
  expected, last = [], X[0]
  for row, there in zip(X, came, strict=True):
    last = row if there else last
    expected.append(last)
  np.testing.assert_array_equal(apply(signals.dropped, 0.6).x, expected)
  # What is lost at a low share is lost at a higher one.
  few, many = (signals.held(50, s, np.random.default_rng(3)) for s in (0.2, 0.7))
  assert set(many.tolist()) <= set(few.tolist())


def test_a_lower_rate_is_interpolated():
  x = np.array([0, 9, 2, 9, 8, 9, 9, 9], np.float32)[:, None] * np.ones((1, 3), np.float32)
  found = apply(signals.lower_rate, 2.0, samples(x)).x[:, 0]
  np.testing.assert_allclose(found, [0, 1, 2, 5, 8, 8.5, 9, 9])
  found = apply(signals.lower_rate, 4.0, samples(x)).x[:, 0]
  np.testing.assert_allclose(found, [0, 2, 4, 6, 8, 8.25, 8.5, 8.75])


def test_shifts_hold_what_is_not_known():
  late, early = (apply(signals.shift, s).x for s in (0.2, -0.2))
  np.testing.assert_array_equal(late, X[[0, 0, 0, 1, 2, 3, 4, 5]])
  np.testing.assert_array_equal(early, X[[2, 3, 4, 5, 6, 7, 7, 7]])


def test_sensors_with_rates_of_their_own_move_alike_and_fall_silent():
  mask = np.ones((8, 2), bool)
  mask[4:, 1] = False  # Half the rate: half the rows.
  x = np.where(np.repeat(mask, 3, 1), X, 0)
  one = samples(x, mask, rates=(10.0, 5.0))
  found = apply(signals.shift, 0.4, one)
  np.testing.assert_array_equal(found.mask[:, 0], np.arange(8) >= 4)
  np.testing.assert_array_equal(found.mask[:, 1], (np.arange(8) >= 2) & (np.arange(8) < 6))
  np.testing.assert_array_equal(found.x[4:, :3], x[:4, :3])
  np.testing.assert_array_equal(found.x[2:6, 3:], x[:4, 3:])
  for change in (signals.noise, signals.bias):
    assert not apply(change, 1.0, one).x[4:, 3:].any()
  held = apply(signals.lower_rate, 8.0, one)
  np.testing.assert_array_equal(held.x[:4, 3:], x[[0] * 4, 3:])


def test_spread_and_range_come_from_training_recordings():
  rng = np.random.default_rng(0)
  x = rng.normal(7, [1, 1, 1, 5, 5, 5], (500, 6)).astype(np.float32)
  x[3, 4] = -90
  records = [{'imu': x}, {'imu': 100 * x}, {'imu': np.zeros((0, 6))}]
  sensor = signals.sensor_of(records, [0, 2], 'imu', (50.0,), ['g'] * 3 + ['degrees'] * 3)
  np.testing.assert_allclose(sensor.spread[:3], 1, rtol=0.1)
  np.testing.assert_array_equal(sensor.most[3:], 90)
  assert sensor.turns.tolist() == [True] * 3 + [False] * 3
  joints = signals.sensor_of([{'skeleton': np.ones((4, 20, 3))}], [0], 'skeleton', (), [])
  assert joints.spread.tolist() == [1.0]
