import numpy as np
import pytest

from data_builders import stamps


@pytest.mark.parametrize(
  ('text', 'seconds'),
  [
    ('00:00:00', 0.0),
    ('7:05:09', 25509.0),
    ('23:59:59.999999', 86399.999999),
    ('14:03:00:250', 50580.25),
    ('1970-01-01T00:00:00', 0.0),
    ('1970-01-01 00:00:01:020', 1.02),
    ('2024-02-29 12:00:00.25Z', 1709208000.25),
    ('2024-02-29T12:00:00,25+0130', 1709202600.25),
    ('2024-02-29_12:00:00-01:00', 1709211600.0),
  ],
)
def test_stamps_in_seconds(text, seconds):
  assert stamps.is_stamp(text)
  assert stamps.parse(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize('text', ['24:00:00', '00:60:00', '2023-02-29 00:00:00'])
def test_no_such_time(text):
  with pytest.raises(ValueError, match=r'no such time|out of range'):
    stamps.parse(text)


@pytest.mark.parametrize(
  'text', ['', '1.5', '12:30', '01/02/2024 00:00:00', '20240102', '1:2:3', '1:02:03:04']
)
def test_what_has_no_certain_meaning_is_no_stamp(text):
  assert not stamps.is_stamp(text)
  with pytest.raises(ValueError, match='no time stamp'):
    stamps.parse(text)


def test_midnights_add_days():
  seconds, count = stamps.over_midnight(np.array([86399.0, 1, 0.5, 86399, 2]), ['23:59:59'])
  assert seconds.tolist() == [86399, 86401, 86400.5, 172799, 172802]
  assert count == 2
  same = np.array([5.0, 1])
  assert stamps.over_midnight(same, ['1970-01-01 00:00:05'])[0] is same


@pytest.mark.parametrize(
  ('name', 'given', 'unit'),
  [
    ('time', '', ''),
    ('time', 'ms', 'ms'),
    ('Time', 'Seconds', 's'),
    ('timestamp_ns', '', 'ns'),
    ('seconds_elapsed', '', 's'),
    ('s_or_ms', '', ''),
    ('items', '', ''),
  ],
)
def test_units_of_headers(name, given, unit):
  assert stamps.unit(name, given) == unit
