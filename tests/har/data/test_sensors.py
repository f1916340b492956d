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


def test_steps_are_those_between_the_samples_of_fit():
  for count, length, how in ((21, 11, 'resample'), (5, 9, 'resample'), (7, 4, 'pad')):
    y, _ = sensors.fit(np.arange(float(count))[:, None], length, how)
    np.testing.assert_allclose(np.diff(y[:, 0]), sensors.stride(count, length, how))
  assert sensors.stride(1, 1, 'resample') == 1


RATES = (100, 50)


def two_sensors(rows):
  """Seconds as values of one sensor at 100 Hz, and of one at 50 Hz, of three channels each."""
  x = np.zeros((rows, 6), np.float32)
  mask = np.zeros((rows, 2), bool)
  for s, rate in enumerate(RATES):
    count = (rows - 1) * rate // 100 + 1
    x[:count, 3 * s : 3 * s + 3] = (np.arange(count) / rate)[:, None]
    mask[:count, s] = True
  return x, mask


def test_streams_at_their_own_rates_are_padded_each_by_itself():
  x, mask = two_sensors(21)
  y, heard = sensors.fit_streams(x, mask, 30, 'pad', RATES)
  np.testing.assert_array_equal(y[:21], x)
  assert heard.sum(0).tolist() == [21, 11]
  assert not y[21:].any()
  # The middle of each.
  y, heard = sensors.fit_streams(x, mask, 7, 'pad', RATES)
  np.testing.assert_allclose(y[:, 0], np.arange(7, 14) / 100, atol=1e-6)
  np.testing.assert_allclose(y[:, 3], np.arange(2, 9) / 50, atol=1e-6)
  assert heard.all()


@pytest.mark.parametrize(('rate', 'count'), [(50, 11), (100, 21), (25, 6), (200, 41)])
def test_streams_are_brought_to_one_rate(rate, count):
  x, mask = two_sensors(21)
  y, heard = sensors.fit_streams(x, mask, 50, 'pad', RATES, rate)
  assert heard.sum(0).tolist() == [count, count]
  for s in range(2):
    np.testing.assert_allclose(y[:count, 3 * s], np.arange(count) / rate, atol=1e-6)
  assert not y[count:].any()


def test_streams_are_resampled_at_the_same_instants():
  x, mask = two_sensors(22)  # The slower one ends 10 ms sooner.
  y, heard = sensors.fit_streams(x, mask, 5, 'resample', RATES)
  np.testing.assert_allclose(y[:, 0], np.linspace(0, 0.21, 5), atol=1e-6)
  np.testing.assert_allclose(y[:4, 3], np.linspace(0, 0.21, 5)[:4], atol=1e-6)
  assert heard[:, 0].all()


@pytest.mark.parametrize('how', ['pad', 'resample'])
@pytest.mark.parametrize('rate', [0, 50])
def test_silence_stays_silence(how, rate):
  x, mask = two_sensors(41)
  x += 1
  mask[:, 1] = False
  mask[10:20, 0] = False
  x[~np.repeat(mask, 3, 1)] = 0
  y, heard = sensors.fit_streams(x, mask, 41, how, RATES, rate)
  assert not heard[:, 1].any()
  assert heard[:, 0].any()
  assert not y[~np.repeat(heard, 3, 1)].any()
  assert (y[heard[:, 0], 0] >= 1).all()


@pytest.mark.parametrize('how', ['pad', 'resample'])
def test_no_stream_at_all(how):
  y, heard = sensors.fit_streams(np.zeros((0, 6)), np.zeros((0, 2), bool), 5, how, RATES)
  assert y.shape == (5, 6)
  assert heard.shape == (5, 2)
  assert not y.any()
  assert not heard.any()


def test_an_unknown_way_to_fit_streams():
  with pytest.raises(UserError, match="fit='cut': not one of"):
    sensors.fit_streams(*two_sensors(3), 5, 'cut', RATES)


def test_smoothing_is_a_weighted_mean_of_what_was_heard():
  x = np.array([[0.0, 5], [6, 5], [0, 5], [0, 9]], np.float32)
  heard = np.array([[True, True], [True, True], [True, True], [True, False]])
  # At 10 Hz a window of 0.4 s reaches 2 samples, whose weights are 1, 1/2 and 0.
  found = sensors.smooth(x, heard, (10.0, 10.0), 0.4)
  np.testing.assert_allclose(found[:, 0], [6 * 0.5 / 1.5, 3, 1.5, 0], atol=1e-6)
  # The sensor that fell silent has no part in its own past.
  np.testing.assert_allclose(found[:, 1], [5, 5, 5, 0], atol=1e-6)


def test_smoothing_takes_fast_and_leaves_slow_movement():
  t = np.arange(200) / 50
  heard = np.ones((200, 1), bool)
  for hertz, most, least in ((1.0, 1.0, 0.95), (20.0, 0.05, 0.0)):
    wave = np.sin(2 * np.pi * hertz * t)[:, None].astype(np.float32)
    left = np.abs(sensors.smooth(wave, heard, (50.0,), 0.2)[20:-20]).max()
    assert least <= left <= most
