"""What time stamps say of when samples were taken: clocks that jump, rows out of order, bursts."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

MIN_JUMP = 0.1
"""Seconds; stamps that step back by less, or by one unit of theirs, are only out of order."""
_UNORDERED = 0.05  # If more of the steps than this go back far, rows are in no order at all.
_CROWDED = 1.5  # Times a sensor's rate; two passes over the same seconds have twice the rate.
_BURSTY = 0.1  # Of the time, what passes in the shorter half of the intervals of a burst's stamps.
_LAG = 50  # Rows; over so many, bursts do not matter.
_LOST = 0.15  # Seconds by which stamps are late for good where samples were lost.
_BLOCK = 2.0  # Seconds in which an earliest arrival is looked for.


@dataclasses.dataclass(frozen=True)
class Piece:
  """Rows between two jumps of the clock.

  Attributes:
    first: its first row.
    stamps: its least and greatest stamp, as recorded.
    shift: seconds that were added to its stamps.
  """

  first: int
  stamps: tuple[float, float]
  shift: float


def _slope(time: np.ndarray, lag: int) -> float:
  """Median seconds from row to row, of pairs `lag` rows apart (cf. Theil and Sen's estimate)."""
  lag = max(min(lag, len(time) // 4), 1)
  return float(np.median(time[lag:] - time[:-lag])) / lag


def untangle(
  time: np.ndarray, max_gap: float, max_pause: float
) -> tuple[np.ndarray, list[Piece], dict[str, int]]:
  """Finds where the clock was set, and moves the stamps after it so that recording goes on.

  A step forward is a pause of the sensor up to `max_pause`, and a jump beyond. A step back is a
  packet that came late if its stamps fall where there are no others yet, or lead up to the first of
  them, and a jump if they pass again over seconds that have all their samples, or lie elsewhere
  before the recording. After a jump samples go on one usual period after the last one before it. Where more than 1 in 20 steps goes back far,
  the order of the rows says nothing, and stamps alone count.

  Args:
    time: seconds, float64 `[T]`, in the order of the rows.
    max_gap: the longest step within a recording that goes on.
    max_pause: the longest step forward that is no jump.

  Returns:
    The stamps, not sorted; the pieces between jumps, one if there are none; and the number of
    `jumps_forward`, `jumps_back` and, in rows, `late`, without those that are 0.
  """
  steps = np.diff(time)
  grain = _grain(time)
  back = steps < -max(MIN_JUMP, 1.5 * grain)
  far = back | (steps > max_pause)
  period = _slope(time, max(_LAG, len(time) // 8)) if far.any() else 0.0
  if period <= 0 or back.sum() > max(_UNORDERED * len(steps), 1):
    far[:] = False
  moved, starts, shifts = time.copy(), [0], [0.0]
  found = {'jumps_forward': 0, 'jumps_back': 0, 'late': 0}
  resume = 0
  for k in (np.flatnonzero(far) + 1).tolist():
    top = moved[:k].max()
    if k < resume or top <= moved[k] <= top + max_pause:
      continue
    if moved[k] < top:
      later = np.flatnonzero(moved[k:] > top)
      end = k + int(later[0]) if len(later) else len(moved)
      if _came_late(moved[:k], moved[k:end], period, grain, max_gap):
        found['late'] += end - k
        resume = end
        continue
    found['jumps_forward' if moved[k] > top else 'jumps_back'] += 1
    shift = float(top + max(period, grain) - moved[k])
    moved[k:] += shift
    starts.append(k)
    shifts.append(shifts[-1] + shift)
  ends = [*starts[1:], len(time)]
  pieces = [
    Piece(a, (float(time[a:b].min()), float(time[a:b].max())), shift)
    for a, b, shift in zip(starts, ends, shifts, strict=True)
  ]
  return moved, pieces, {name: count for name, count in found.items() if count}


def _grain(time: np.ndarray) -> float:
  """Seconds between different stamps, where most rows have the stamp of the one before; else 0."""
  different = np.unique(time)
  if len(different) < 2 or 2 * len(different) > len(time):
    return 0.0
  return float(np.diff(different).min())


def _came_late(
  before: np.ndarray, block: np.ndarray, period: float, grain: float, max_gap: float
) -> bool:
  """Whether rows whose stamps step back fill a hole in what is before them, or lead up to it."""
  if block.max() < before.min():
    return bool(before.min() - block.max() <= max_gap)
  low, high = max(block.min(), before.min()), min(block.max(), before.max())
  if block.min() < before.min() - max_gap:
    return False
  earlier = np.count_nonzero((before >= low) & (before <= high))
  rows = np.count_nonzero((block >= low) & (block <= high))
  return bool(earlier <= rows / 2 or earlier + rows <= _CROWDED * (high - low + grain) / period + 2)


def are_bursts(time: np.ndarray, max_gap: float) -> bool:
  """Whether stamps are times of arrival: packets of samples with almost or quite the same one.

  Args:
    time: seconds `[T]`, ascending.
    max_gap: longer steps are left out.
  """
  steps = np.sort(np.diff(time))
  if len(steps) < 8 or not steps.any():
    return False
  going_on = steps[steps <= max_gap]
  shorter = going_on[: len(going_on) // 2]
  return bool(np.median(steps) == 0 or shorter.sum() < _BURSTY * going_on.sum())


def sampling_times(arrival: np.ndarray, starts: Sequence[int]) -> tuple[np.ndarray, int]:
  """When samples were taken that a device takes at a steady rate and stamps when they arrive.

  A stamp is the sample's time and a delay that is never negative: the earliest stamps, less what
  the device's period accounts for, are a lower envelope that follows its clock (cf. Moon, Skelly
  and Towsley, Estimation and removal of clock skew from network delay measurements, INFOCOM 1999).
  The envelope has a point every 2 s, straight lines between, and steps up where stamps are late for
  good: there samples were lost. A delivery that only paused leaves no trace.

  Args:
    arrival: seconds, float64 `[T]`, ascending, not all the same.
    starts: rows before which the clock was set, without row 0. There the next sample is one
      period later.

  Returns:
    Seconds, float64 `[T]`, strictly ascending, and the number of steps over lost samples.
  """
  period = _slope(arrival, len(arrival) // 4)
  period = period if period > 0 else float(arrival[-1] - arrival[0]) / (len(arrival) - 1)
  for _ in range(2):
    breaks = _losses(arrival, period)
    cuts = sorted({0, *starts, *breaks})
    fitted = [_follow(arrival[a:b], period) for a, b in itertools.pairwise([*cuts, len(arrival)])]
    # The slopes of what was found are a better estimate of the period.
    count = sum(len(one) - 1 for one in fitted)
    period = sum(float(one[-1] - one[0]) for one in fitted) / max(count, 1) or period
  for i in range(1, len(fitted)):
    least = fitted[i - 1][-1] + period
    if cuts[i] in starts or fitted[i][0] < least:
      fitted[i] = fitted[i] + (least - fitted[i][0])
  return np.concatenate(fitted), len(set(breaks) - set(starts))


def _losses(arrival: np.ndarray, period: float) -> list[int]:
  """Rows before which samples were lost."""
  least = max(_LOST, 5 * period)
  late = arrival - np.arange(len(arrival)) * period
  width = max(int(_BLOCK / period), 2)
  found: list[int] = []
  for k in (np.flatnonzero(np.diff(arrival) > least) + 1).tolist():
    if late[k : k + width].min() - late[max(k - width, 0) : k].min() > least:
      found.append(k)
  return found


def _follow(arrival: np.ndarray, period: float) -> np.ndarray:
  """The lower envelope at every row."""
  late = arrival - np.arange(len(arrival)) * period
  blocks = max(round(len(arrival) * period / _BLOCK), 1)
  edges = np.linspace(0, len(arrival), blocks + 1).astype(int)
  at = [a + int(late[a:b].argmin()) for a, b in itertools.pairwise(edges) if b > a]
  height = late[at]
  # Time goes on by at least half a period from sample to sample.
  slowest = -0.5 * period * np.diff(at, prepend=at[0])
  height = np.maximum.accumulate(height - np.cumsum(slowest)) + np.cumsum(slowest)
  return np.arange(len(arrival)) * period + np.interp(np.arange(len(arrival)), at, height)
