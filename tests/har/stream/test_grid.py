"""Rows are those of `data_builders`, whatever the stamps are like."""

import numpy as np

from data_builders import timeline
from data_builders.clips import clips_dataset_builder as clips
from har.stream.grid import FrameGrid, SignalGrid


def test_samples_become_the_rows_that_datasets_store():
  rng = np.random.default_rng(0)
  time = np.cumsum(rng.uniform(0.005, 0.04, 400))
  time[200:] += 1.3  # A silence.
  values = rng.standard_normal((400, 3))
  expected = timeline.regular(time - time[0], values, 50.0, 'here', stamps='exact')
  grid = SignalGrid(50.0, 3)
  for t, x in zip(time - time[0], values, strict=True):
    grid.push(t, x)
  found, heard = grid.rows.take(0, grid.rows.end)
  np.testing.assert_array_equal(heard, expected.mask)
  assert 50 < (~heard).sum() < 70
  np.testing.assert_allclose(np.stack(found), expected.values, atol=1e-6)


def test_samples_of_the_past_are_counted():
  grid = SignalGrid(10.0, 1)
  for t in (0.0, 0.1, 0.1, 0.05, 0.2):
    grid.push(t, np.array([t]))
  assert grid.unordered == 2
  assert np.allclose(grid.rows.take(0, 9)[0], [[0.0], [0.1], [0.2]])


def test_frames_become_those_that_the_clips_builder_takes():
  for source, wanted in ((30.0, 30.0), (30.0, 15.0), (25.0, 10.0), (10.0, 25.0), (29.97, 29.97)):
    names = [str(i) for i in range(60)]
    expected, _ = clips.at_rate(names, source, wanted)
    grid = FrameGrid(wanted, source, lambda name: name)
    for i, name in enumerate(names):
      grid.push(round(i / source, 3), name)  # As containers of milliseconds have it.
    grid.end()
    found = grid.rows.take(0, 200)[0]
    assert found == expected[: len(found)], (source, wanted)
    assert len(found) in (len(expected), len(expected) - 1)


def test_a_frame_at_the_nominal_rate_is_a_row_at_once():
  grid = FrameGrid(15.0, 15.0, lambda name: name)
  for i in range(20):
    grid.push(i / 15, i)
    assert grid.rows.end == i + 1


def test_without_frames_for_long_there_is_nothing():
  grid = FrameGrid(10.0, 10.0, lambda name: name)
  for i in [*range(10), *range(30, 40)]:
    grid.push(i / 10, i)
  rows, heard = grid.rows.take(0, 40)
  assert rows[:10] == list(range(10))
  assert rows[30:] == list(range(30, 40))
  assert rows[16:30] == [None] * 14
  assert not heard[16:30].any()


def test_old_rows_are_forgotten():
  grid = SignalGrid(10.0, 1)
  for i in range(50):
    grid.push(i / 10, np.array([float(i)]))
  grid.rows.forget(45)
  assert grid.rows.end == 50
  assert np.concatenate(grid.rows.take(44, 3)[0]).tolist() == [45.0, 46.0]
