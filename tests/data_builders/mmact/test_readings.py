import numpy as np
import pytest

from data_builders import timeline
from data_builders.mmact import readings
from har.errors import UserError


def lines(*rows):
  return ''.join(f'{row}\n' for row in rows).encode()


def test_samples_in_order():
  one = readings.read(
    lines('20180612_10:00:00.000,1,2,3', '20180612_10:00:00.010,4,5,-6e-1'), 'f.csv'
  )
  np.testing.assert_allclose(np.diff(one.samples.time), [0.01], atol=1e-9)
  np.testing.assert_array_equal(one.samples.values, [[1, 2, 3], [4, 5, -0.6]])
  assert one.oddities == ()


@pytest.mark.parametrize(
  ('text', 'seconds', 'fraction'),
  [
    ('20180101_00:00:01.5', 1.5, True),
    ('20180101_00:00:01', 1.0, False),
    ('20180102_00:00:00.000001', 86400.000001, True),
    ('20171231_23:59:59.999', -0.001, True),
  ],
)
def test_timestamps(text, seconds, fraction):
  value, has_fraction = readings.parse_timestamp(text)
  assert value == pytest.approx(seconds, abs=1e-9)
  assert has_fraction is fraction


def test_unsorted_rows_are_sorted():
  one = readings.read(
    lines(
      '20180612_10:00:00.020,3,0,0', '20180612_10:00:00.000,1,0,0', '20180612_10:00:00.010,2,0,0'
    ),
    'f.csv',
  )
  assert one.samples.values[:, 0].tolist() == [1, 2, 3]
  assert one.oddities == ('unsorted',)


def test_samples_of_one_timestamp_are_averaged():
  one = readings.read(
    lines(
      '20180612_10:00:00.000,1,0,0', '20180612_10:00:00.010,2,0,6', '20180612_10:00:00.010,4,0,0'
    ),
    'f.csv',
  )
  np.testing.assert_array_equal(one.samples.values, [[1, 0, 0], [3, 0, 3]])
  assert len(one.samples.time) == 2
  assert one.oddities == ('repeated',)


def test_a_timestamp_without_fraction_is_the_whole_second():
  one = readings.read(
    lines('20180612_10:00:00.990,1,0,0', '20180612_10:00:01,2,0,0', '20180612_10:00:01.010,3,0,0'),
    'f.csv',
  )
  np.testing.assert_allclose(np.diff(one.samples.time), [0.01, 0.01], atol=1e-9)
  assert one.oddities == ('no_fraction',)


def test_without_any_fraction_samples_are_spread_over_their_second():
  rows = [f'20180612_10:00:00,{i},0,0' for i in range(4)]
  rows += [f'20180612_10:00:01,{i},0,0' for i in range(2)]
  one = readings.read(lines(*rows), 'f.csv')
  np.testing.assert_allclose(one.samples.time - one.samples.time[0], [0, 0.25, 0.5, 0.75, 1, 1.5])
  assert one.samples.values[:, 0].tolist() == [0, 1, 2, 3, 0, 1]
  assert one.oddities == ('repeated', 'no_fraction')


def test_a_byte_order_mark_is_no_part_of_a_sample():
  one = readings.read(b'\xef\xbb\xbf20180612_10:00:00.5,1,2,3\r\n', 'f.csv')
  assert readings.align({'acc_phone': one})[0][:, :3].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize('data', [b'', b'\n\n  \n'])
def test_a_file_without_rows_is_nothing(data):
  assert readings.read(data, 'f.csv') is None


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'20180612_10:00:00.0,1,2\n', 'f.csv, line 1: not a sensor sample .3 fields'),
    (b'20180612_10:00:00.0,1,2,3\n20180612_10:00:0', 'f.csv, line 2'),
    (b'20180612_10:00:00.0,1,2,x\n', 'line 1: not a sensor sample .*convert'),
    (b'20180632_10:00:00.0,1,2,3\n', 'line 1: not a sensor sample'),
    (b'2018061a_10:00:00.0,1,2,3\n', 'no date'),
    (b'20180612_25:00:00.0,1,2,3\n', 'no time'),
    (b'20180612_10:00:60.0,1,2,3\n', 'no time'),
    (b'20180612 10:00:00.0,1,2,3\n', 'line 1: not a sensor sample'),
    (b'20180612_10:00:00.0,1,2,nan\n', 'f.csv, line 1: .*nan is not finite'),
    (b'20180612_10:00:00.0,1,-inf,2\n', 'f.csv, line 1: .*-inf is not finite'),
    (b'20180612_10:00:00.0,1,2,1e300\n', 'f.csv, line 1: .*1e300 is more than float32 holds'),
    (b'20180612_10:00:00.0,1,2,-1e999\n', 'f.csv, line 1: .*-1e999 is more than float32 holds'),
    (b'<html><body>Log in', 'f.csv: a web page'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'f.csv: a pointer of Git LFS'),
    (bytes(2000), 'f.csv: nothing but zeros'),
    (b'PK\x03\x04' + bytes(200), 'f.csv: packed by zip'),
    (b'20180612_10:00:00.0,1,2,3\n20180612_11:00:00.0,1,2,3\n', '3600 s apart'),
    (b'\xff\xfe\x00', 'not a text file'),
  ],
)
def test_what_is_not_a_sample_is_an_error(data, message):
  with pytest.raises(UserError, match=message):
    readings.read(data, 'f.csv')


def sensor(start, stop, rate, value=1.0):
  time = np.arange(start, stop, 1 / rate)
  values = np.stack([np.full(len(time), value), time, -time], -1)
  return readings.Readings(timeline.Samples(time, values, {}))


def test_streams_keep_their_rates_and_begin_together():
  signal, mask = readings.align(
    {'acc_phone': sensor(10.0, 12.001, 100), 'gyro': sensor(10.0, 12.001, 50, 7.0)}
  )
  assert signal.shape == (201, 12)
  assert signal.dtype == np.float32
  assert mask.sum(0).tolist() == [201, 0, 101, 0]
  # Row i is i / rate seconds after the start.
  np.testing.assert_allclose(signal[:, 1], 10 + np.arange(201) / 100, atol=1e-5)
  np.testing.assert_allclose(signal[:101, 7], 10 + np.arange(101) / 50, atol=1e-5)
  assert (signal[:101, 6] == 7).all()
  # Zeros where a dimension mismatches, and where a sensor is absent.
  assert not signal[101:, 6:9].any()
  assert not signal[:, 3:6].any()
  assert not signal[:, 9:].any()


def test_a_stream_that_begins_later_and_ends_sooner_is_masked_there():
  signal, mask = readings.align(
    {'acc_phone': sensor(0, 2.001, 100), 'acc_watch': sensor(0.5, 1.501, 100, 3.0)}
  )
  assert np.flatnonzero(mask[:, 1]).tolist() == list(range(50, 151))
  assert (signal[mask[:, 1], 3] == 3).all()
  assert not signal[~mask[:, 1], 3:6].any()


def test_a_pause_is_masked_and_jitter_is_not():
  time = np.concatenate([np.arange(0, 1, 0.01), np.arange(2, 3, 0.01)])
  time += np.random.default_rng(0).uniform(-0.003, 0.003, len(time))
  one = readings.Readings(timeline.Samples(time, np.ones((len(time), 3)), {}))
  _, mask = readings.align({'acc_phone': one})
  heard = mask[:, 0]
  assert heard[:99].all()
  assert not heard[102:199].any()
  assert heard[202:].all()


def test_without_sensors_nothing():
  signal, mask = readings.align({})
  assert signal.shape == (0, 12)
  assert mask.shape == (0, 4)


def test_sensors_that_were_not_recorded_together_are_an_error():
  both = {'acc_phone': sensor(0, 2, 100), 'gyro': sensor(9, 11, 50)}
  places = {'acc_phone': 'a.csv', 'gyro': 'g.csv'}
  with pytest.raises(UserError, match=r'g.csv: recorded 7.0 s apart from a.csv'):
    readings.check_together(both, places)
  readings.check_together({'acc_phone': both['acc_phone'], 'gyro': sensor(1.9, 4, 50)}, places)


@pytest.mark.parametrize('fraction', [True, False])
@pytest.mark.parametrize('by', [-3600, -20, 3600])
def test_a_clock_that_was_set_in_mid_recording(by, fraction):
  rows = []
  for i in range(600):
    second, milli = divmod(i * 10, 1000)
    second += by if i >= 400 else 0
    hour, rest = divmod(36000 + second, 3600)
    text = f'20180612_{hour:02d}:{rest // 60:02d}:{rest % 60:02d}' + f'.{milli:03d}' * fraction
    rows.append(f'{text},{i},0,0')
  one = readings.read(lines(*rows), 'f.csv')
  assert 'clock_set' in one.oddities
  assert one.samples.values[:, 0].tolist() == list(range(600))
  np.testing.assert_allclose(np.diff(one.samples.time), 0.01, atol=0.02 if not fraction else 1e-6)
