import numpy as np
import pytest

from data_builders import windows
from data_builders.windows import Interval, Window
from har.errors import UserError


@pytest.mark.parametrize(
  ('duration', 'seconds', 'step', 'starts'),
  [
    (10, 4, 4, [0, 4]),
    (12, 4, 4, [0, 4, 8]),
    (10, 4, 2, [0, 2, 4, 6]),
    (9.99, 4, 2, [0, 2, 4]),
    (0.3, 0.1, 0.1, [0, 0.1, 0.2]),  # although 0.1 + 0.2 is more than 0.3
    (3.9, 4, 2, [0]),
    (0, 4, 2, [0]),
  ],
)
def test_windows_side_by_side(duration, seconds, step, starts):
  assert windows.side_by_side(duration, seconds, step) == pytest.approx(starts)


@pytest.mark.parametrize(('seconds', 'step'), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_windows_of_no_length_are_an_error(seconds, step):
  with pytest.raises(UserError, match='both must be above 0'):
    windows.side_by_side(10, seconds, step)


def test_windows_around_events():
  events = [5.0, (6.0, 7.0), 0.5, 9.5]
  assert windows.around(events, 10, 4) == [3.0, 4.5, 0.0, 6.0]
  assert windows.around(events, 10, 4, before=0.25) == [4.0, 5.5, 0.0, 6.0]
  assert windows.around([1.0], 2, 4) == [0.0]
  with pytest.raises(UserError, match='an event at 12 s of a recording of 10 s'):
    windows.around([12.0], 10, 4)
  with pytest.raises(UserError, match=r'with 1\.5 of them before'):
    windows.around([1.0], 10, 4, before=1.5)


INTERVALS = [Interval(2, 5, 'walk'), Interval(5, 6, 'fall'), Interval(8, 20, 'lie')]


@pytest.mark.parametrize(
  ('start', 'expected'),
  [
    (2, 'walk'),
    (3, 'walk'),  # 2 of 4 s
    (4, None),  # 1 s each of two
    (0, 'walk'),
    (-1, None),  # 1 of 4 s
    (6, 'lie'),  # 2 of 4 s
    (5.5, None),
    (30, None),
  ],
)
def test_the_label_that_covers_most(start, expected):
  assert windows.label(start, 4, INTERVALS) == expected
  assert windows.label(start, 4, INTERVALS, background='none') == (expected or 'none')


def test_rules_of_labels():
  assert windows.label(4, 4, INTERVALS, least=0.25) == 'walk'  # of equal ones the first
  split = [Interval(0, 1, 'a'), Interval(1, 2.5, 'b'), Interval(2.5, 3.5, 'a')]
  assert windows.label(0, 4, split) == 'a'
  assert windows.label(0, 4, split[::-1]) == 'a'
  assert windows.label(0, 4, []) is None


def test_windows_without_a_label_are_dropped():
  starts = windows.side_by_side(14, 4, 2)
  assert windows.labelled(starts, 4, INTERVALS) == [
    Window(0, 'walk'),
    Window(2, 'walk'),
    Window(6, 'lie'),
    Window(8, 'lie'),
    Window(10, 'lie'),
  ]
  found = windows.labelled(starts, 4, INTERVALS, background='other')
  assert [one.label for one in found] == ['walk', 'walk', 'other', 'lie', 'lie', 'lie']


def test_keys():
  assert windows.key('U01_R02', 12.8) == 'U01_R02@12.80'
  assert windows.key('a', 0.0) == 'a@0.00'
  assert windows.key('a', 1 / 3) == 'a@0.333333'


def test_every_window_of_a_length_has_as_many_rows():
  counts = {windows.rows(50, k * 0.33, 2.55)[1] for k in range(100)}
  assert counts == {128}
  assert windows.rows(50, 1.28, 2.56) == (64, 128)
  assert windows.rows(25, 0.02, 0.02) == (1, 1)  # halves are rounded up
  assert windows.rows(25, 0.0, 0.001) == (0, 1)


def test_a_window_is_its_rows():
  signal = np.arange(40.0).reshape(20, 2)
  values, mask = windows.cut(signal, None, 10, 0.5, 1.0)
  np.testing.assert_array_equal(values, signal[5:15])
  assert mask.tolist() == [True] * 10


def test_beyond_the_end_the_last_row_is_held_or_masked():
  signal = np.arange(1.0, 6.0)[:, None]
  values, mask = windows.cut(signal, None, 10, 0.3, 0.4)
  assert values[:, 0].tolist() == [4, 5, 5, 5]
  assert mask.tolist() == [True, True, False, False]
  values, mask = windows.cut(signal, np.array([1, 1, 1, 0, 1], bool), 10, 0.3, 0.4)
  assert values[:, 0].tolist() == [4, 5, 0, 0]
  assert mask.tolist() == [False, True, False, False]


def test_sensors_of_several_rates():
  signal, mask = np.zeros((40, 3)), np.zeros((40, 3), bool)
  signal[:, 0], signal[:20, 1], mask[:, 0], mask[:20, 1] = np.arange(40), np.arange(20), True, True
  values, recorded = windows.cut(signal, mask, (20.0, 10.0, 10.0), 0.5, 1.0)
  assert values.shape == (20, 3)
  assert values[:, 0].tolist() == list(range(10, 30))
  assert values[:, 1].tolist() == [*range(5, 15), *[0] * 10]
  assert recorded.sum(0).tolist() == [20, 10, 0]
  values, recorded = windows.cut(signal, mask, (20.0, 10.0, 10.0), 1.5, 1.0)
  assert values[:, 0].tolist() == [*range(30, 40), *[0] * 10]
  assert recorded.sum(0).tolist() == [10, 5, 0]
