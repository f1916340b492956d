import numpy as np
import pytest

from har.data import sensors
from har.errors import UserError


def test_resample_is_linear_between_the_ends():
  x = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 40.0]])
  y, mask = sensors.resample(x, 5)
  np.testing.assert_allclose(y, [[0, 10], [0.5, 15], [1, 20], [1.5, 30], [2, 40]], atol=1e-6)
  assert y.dtype == np.float32
  assert mask.dtype == bool
  assert mask.all()


def test_resample_to_the_same_length_changes_nothing():
  x = np.random.default_rng(0).normal(size=(37, 6)).astype(np.float32)
  np.testing.assert_allclose(sensors.resample(x, 37)[0], x, atol=1e-6)


def test_resample_agrees_with_numpy_on_every_joint():
  x = np.random.default_rng(0).normal(size=(50, 20, 3)).astype(np.float32)
  y, _ = sensors.resample(x, 31)
  at = np.linspace(0, 49, 31)
  for joint, axis in ((0, 0), (7, 2), (19, 1)):
    expected = np.interp(at, np.arange(50), x[:, joint, axis])
    np.testing.assert_allclose(y[:, joint, axis], expected, atol=1e-5)


@pytest.mark.parametrize('length', [1, 4])
def test_resample_holds_a_single_sample(length):
  y, mask = sensors.resample(np.array([[3.0]]), length)
  np.testing.assert_array_equal(y, np.full((length, 1), 3.0))
  assert mask.all()


def test_pad_puts_zeros_behind_a_short_trial():
  y, mask = sensors.pad(np.ones((3, 2)), 5)
  np.testing.assert_array_equal(y[:, 0], [1, 1, 1, 0, 0])
  np.testing.assert_array_equal(mask, [True, True, True, False, False])


def test_pad_keeps_the_middle_of_a_long_trial():
  y, mask = sensors.pad(np.arange(10.0)[:, None], 4)
  np.testing.assert_array_equal(y[:, 0], [3, 4, 5, 6])
  assert mask.all()


def test_fit_chooses_by_name():
  x = np.arange(4.0)[:, None]
  np.testing.assert_array_equal(sensors.fit(x, 6, 'pad')[0][:, 0], [0, 1, 2, 3, 0, 0])
  np.testing.assert_allclose(sensors.fit(x, 7, 'resample')[0][:, 0], np.arange(7) / 2)
  with pytest.raises(UserError, match=r"fit='stretch'.*resample, pad"):
    sensors.fit(x, 6, 'stretch')
