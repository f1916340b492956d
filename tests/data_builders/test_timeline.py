import numpy as np
import pytest

from data_builders import timeline
from har.errors import UserError

COUNT, RATE = 1000, 50.0
TRUE = np.arange(COUNT) / RATE  # when samples were really taken


def signal(time):
  return np.stack([np.sin(2 * time), np.cos(3 * time)], 1)


def regular(recorded, rows=slice(None), **options):
  return timeline.regular(np.asarray(recorded), signal(TRUE)[rows], RATE, 'f.csv', **options)


def bursts(each=5, seed=0):
  """Times of arrival of packets of `each` samples, 2 ms apart within, late by 10 ms on average."""
  rng = np.random.default_rng(seed)
  packet = np.arange(COUNT) // each
  last = np.minimum((packet + 1) * each - 1, COUNT - 1)
  late = rng.exponential(0.01, packet.max() + 1)[packet]
  return np.maximum.accumulate(TRUE[last] + late - (last - np.arange(COUNT)) * 0.002)


def test_even_exact_stamps_give_the_samples_themselves():
  one = regular(TRUE + 7.0)
  np.testing.assert_allclose(one.values, signal(TRUE), atol=1e-6)
  assert one.values.dtype == np.float32
  assert one.mask.all()
  assert one.start == 7.0
  assert one.oddities == {}


def test_irregular_exact_stamps_are_interpolated():
  time = np.sort(TRUE + np.random.default_rng(0).uniform(-0.009, 0.009, COUNT))
  one = timeline.regular(time, signal(time), RATE, 'f.csv')
  at = one.start + np.arange(len(one.values)) / RATE
  np.testing.assert_allclose(one.values, signal(at), atol=2e-3)
  assert one.oddities == {}


def test_lost_exact_samples_are_no_bursts():
  kept = np.random.default_rng(0).random(COUNT) > 0.5
  one = timeline.regular(TRUE[kept], signal(TRUE)[kept], RATE, 'f.csv')
  assert one.oddities == {}


def test_a_pause_is_masked_and_counted():
  kept = (TRUE < 5) | (TRUE >= 8)
  one = timeline.regular(TRUE[kept], signal(TRUE)[kept], RATE, 'f.csv')
  assert one.oddities == {'gaps': 1}
  assert (~one.mask).sum() == 150  # 5.00 to 7.98
  assert not one.values[~one.mask].any()
  np.testing.assert_allclose(one.values[one.mask], signal(TRUE)[kept], atol=1e-6)


def test_unsorted_and_repeated_stamps():
  time = np.array([0.0, 0.02, 0.06, 0.04, 0.04, 0.08])
  one = timeline.regular(time, np.array([[0.0], [1], [3], [2], [4], [4]]), RATE, 'f.csv')
  assert one.values[:, 0].tolist() == [0, 1, 3, 3, 4]
  assert one.oddities == {'unsorted': 1, 'repeated': 1}


def test_rows_in_no_order_are_sorted():
  order = np.random.default_rng(0).permutation(COUNT)
  one = regular(TRUE[order], order)
  np.testing.assert_allclose(one.values, signal(TRUE), atol=1e-6)
  assert one.oddities == {'unsorted': int((np.diff(order) < 0).sum())}


@pytest.mark.parametrize('make', [lambda: TRUE, bursts], ids=['exact', 'bursts'])
@pytest.mark.parametrize('by', [3600.0, 90.0, -0.5, -5.0, -60.0, -3600.0])
def test_a_clock_that_was_set_is_aligned(make, by):
  stamps = make()
  one = regular(np.where(TRUE < 8, stamps, stamps + by))
  assert one.oddities.get('jumps_forward', 0) == (by > 0)
  assert one.oddities.get('jumps_back', 0) == (by < 0)
  assert not {'gaps', 'lost', 'late'} & set(one.oddities)
  assert len(one.values) == COUNT
  assert one.mask.all()
  np.testing.assert_allclose(one.values, signal(TRUE), atol=0.02)


def test_a_clock_set_twice_and_where_instants_are():
  stamps = TRUE + np.where(TRUE < 4, 0, -3600) + np.where(TRUE < 10, 0, 7200)
  one = regular(stamps)
  assert one.oddities == {'unsorted': 1, 'jumps_back': 1, 'jumps_forward': 1}
  np.testing.assert_allclose(one.values, signal(TRUE), atol=1e-6)
  some = [0, 100, 199, 200, 450, 499, 500, 999]
  np.testing.assert_allclose(one.seconds(stamps[some]), TRUE[some], atol=1e-6)


def test_an_instant_that_the_clock_showed_twice_is_the_first():
  one = regular(TRUE - np.where(TRUE < 8, 0, 5))
  np.testing.assert_allclose(one.seconds([3.5, 7.5, 8.5, -1]), [3.5, 7.5, 13.5, -1], atol=1e-6)


def test_the_longest_piece_can_be_cut_out():
  stamps = TRUE + np.where(TRUE < 4, 0, -3600) + np.where(TRUE < 10, 0, 7200)
  one = regular(stamps, jumps='cut')
  assert one.oddities == {'unsorted': 1, 'jumps_back': 1, 'jumps_forward': 1, 'cut': 500}
  np.testing.assert_allclose(one.values, signal(TRUE[500:]), atol=1e-6)
  assert one.start == pytest.approx(3610)
  assert one.seconds(3611) == pytest.approx(1)


def test_a_step_forward_can_be_a_long_pause():
  one = regular(np.where(TRUE < 8, TRUE, TRUE + 100), max_pause=np.inf)
  assert one.oddities == {'gaps': 1}
  assert len(one.values) == COUNT + 5000
  assert one.mask.sum() == COUNT


def test_one_wrong_stamp_moves_nothing():
  stamps = TRUE.copy()
  stamps[500] += 86400
  one = regular(stamps)
  assert one.oddities == {'unsorted': 1, 'jumps_forward': 1, 'jumps_back': 1}
  np.testing.assert_allclose(one.values, signal(TRUE), atol=1e-6)


@pytest.mark.parametrize('each', [2, 4, 5, 25])
def test_bursts_are_spread_evenly(each):
  one = regular(bursts(each))
  assert one.oddities.keys() - {'repeated'} == {'arrival'}
  steps = np.diff(one.samples.time)
  np.testing.assert_allclose(steps, 1 / RATE, atol=0.002)
  # The earliest arrival is what is known of the delay.
  np.testing.assert_allclose(one.samples.time, TRUE, atol=0.006)
  np.testing.assert_allclose(one.values[:990], signal(TRUE)[:990], atol=0.02)


def test_stamps_of_arrival_as_they_are_would_distort():
  exact = regular(bursts(), stamps='exact')
  fitted = regular(bursts())
  jerk = [np.abs(np.diff(one.values[:990], axis=0)).max() * RATE for one in (exact, fitted)]
  assert jerk[0] > 5  # of a signal that changes by at most 3 a second
  assert jerk[1] < 3.2


def test_the_rate_of_a_device_is_its_own():
  slow = bursts() * 1.25  # 40 Hz
  one = regular(slow)
  np.testing.assert_allclose(np.diff(one.samples.time), 0.025, atol=0.002)
  assert len(one.values) == pytest.approx(COUNT * 1.25, abs=2)


def test_a_packet_that_came_late_goes_where_it_belongs():
  order = np.concatenate([np.arange(300), np.arange(320, 340), np.arange(300, 320)])
  order = np.concatenate([order, np.arange(340, COUNT)])
  one = regular(bursts()[order], order)
  assert one.oddities == {'unsorted': 1, 'late': 20, 'arrival': 1}
  np.testing.assert_allclose(one.samples.values, signal(TRUE))


def test_halves_that_changed_places():
  order = np.roll(np.arange(COUNT), 600)
  one = regular(TRUE[order], order)
  np.testing.assert_allclose(one.values, signal(TRUE), atol=1e-6)
  assert one.oddities == {'unsorted': 1, 'late': 400}


def test_a_delivery_that_paused_leaves_no_trace():
  stamps = bursts()
  held = (TRUE >= 6) & (TRUE < 7.5)
  stamps[held] = stamps[held].max() + np.arange(held.sum()) * 1e-5
  one = regular(stamps)
  assert one.oddities == {'arrival': 1}
  np.testing.assert_allclose(one.samples.time, TRUE, atol=0.02)
  assert one.mask.all()


def test_samples_lost_between_bursts_are_a_gap():
  kept = (TRUE < 6) | (TRUE >= 7)
  one = timeline.regular(bursts()[kept], signal(TRUE)[kept], RATE, 'f.csv')
  assert one.oddities == {'arrival': 1, 'lost': 1, 'gaps': 1}
  np.testing.assert_allclose(one.samples.time, TRUE[kept], atol=0.02)
  assert 48 <= (~one.mask).sum() <= 50


def test_whole_seconds():
  whole = np.floor(TRUE)
  spread = regular(whole, stamps='seconds')
  np.testing.assert_allclose(spread.samples.time, TRUE, atol=1e-9)
  assert spread.oddities == {'repeated': 980}
  fitted = regular(whole)
  np.testing.assert_allclose(np.diff(fitted.samples.time), 1 / RATE, atol=1e-6)
  assert fitted.oddities == {'repeated': 980, 'arrival': 1}


def test_a_slow_sensor_is_not_silent_between_samples():
  one = timeline.regular(np.arange(10.0), np.ones((10, 1)), 1.0, 'f.csv')
  assert one.mask.all()
  assert len(one.values) == 10


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e39, -3.5e38])
def test_values_that_do_not_fit_are_an_error(value):
  values = np.ones((3, 2))
  values[1, 1] = value
  with pytest.raises(UserError, match=r'f\.csv: has values that are not finite, or too large'):
    timeline.regular(np.arange(3), values, 1.0, 'f.csv')


def test_stamps_that_are_none_are_an_error():
  with pytest.raises(UserError, match=r'f\.csv: has time stamps that are not finite'):
    timeline.regular(np.array([0, np.nan, 1]), np.ones((3, 1)), 1.0, 'f.csv')
  with pytest.raises(UserError, match=r'f\.csv: 2 time stamps for 3 samples'):
    timeline.regular(np.arange(2), np.ones((3, 1)), 1.0, 'f.csv')
  with pytest.raises(UserError, match=r'f\.csv: 0 time stamps'):
    timeline.regular(np.zeros(0), np.ones((0, 1)), 1.0, 'f.csv')


def test_sensors_of_several_rates_are_merged_at_their_own():
  fast, slow = np.arange(2.0, 4.001, 0.01), np.arange(2.5, 4.001, 0.02)
  values, mask = timeline.merge(
    {
      'a': timeline.regular(fast, fast[:, None], 100, 'a.csv'),
      'none': timeline.absent(2, 25),
      'b': timeline.regular(slow, np.stack([slow, -slow], 1), 50, 'b.csv'),
    }
  )
  assert values.shape == (201, 5)
  assert mask.sum(0).tolist() == [201, 0, 76]
  np.testing.assert_allclose(values[:, 0], 2 + np.arange(201) / 100, atol=1e-6)
  # Row i is i / rate seconds after the earliest sample of any sensor, and half the rows are used.
  assert np.flatnonzero(mask[:, 2]).tolist() == list(range(25, 101))
  np.testing.assert_allclose(values[25:101, 3], 2 + np.arange(25, 101) / 50, atol=1e-6)
  assert not values[:, 1:3].any()
  assert not values[101:, 3:].any()


def test_nothing_but_absent_sensors():
  values, mask = timeline.merge({'a': timeline.absent(3, 50), 'b': timeline.absent(1, 20)})
  assert values.shape == (0, 4)
  assert mask.shape == (0, 2)
