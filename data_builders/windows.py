"""Windows of recordings: where they begin, what they are called, which label they have, their rows.

Seconds count from the recording's first row. The rows of a window are as many for every window of
one length, see `rows`, so that whoever cuts a stream alike sees the same.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from har.errors import UserError


class Interval(NamedTuple):
  """Seconds of a recording that have a label, from `start` to before `end`."""

  start: float
  end: float
  label: Any


class Window(NamedTuple):
  """A window's first second, and its label."""

  start: float
  label: Any


def side_by_side(duration: float, seconds: float, step: float, slack: float = 1e-6) -> list[float]:
  """Where windows begin that follow each other from the recording's first instant on.

  What is left at the end, less than a step, is in no window. A recording that is shorter than a
  window has one, which `cut` pads.

  Args:
    duration: seconds of the recording.
    seconds: length of a window.
    step: from the beginning of one to that of the next.
    slack: seconds that a window may reach beyond the end.

  Raises:
    UserError: a length or a step that is not positive.
  """
  if not (seconds > 0 and step > 0):
    raise UserError(f'windows of {seconds} s every {step} s: both must be above 0')
  count = math.floor((duration - seconds + slack) / step) + 1
  return [k * step for k in range(max(count, 1))]


def around(
  events: Iterable[float | tuple[float, float]],
  duration: float,
  seconds: float,
  before: float = 0.5,
) -> list[float]:
  """Where windows begin that hold events, one each, in the order of the events.

  Args:
    events: instants, or intervals (start, end), whose middles count.
    duration: seconds of the recording.
    seconds: length of a window.
    before: share of the window that lies before the event, 0 to 1. A window that would begin before
      the recording, or end after it, is moved inside.

  Raises:
    UserError: a length that is not positive, a share that is none, or an event outside the
      recording.
  """
  if not (seconds > 0 and 0 <= before <= 1):
    raise UserError(f'windows of {seconds} s with {before} of them before events: no such window')
  starts = []
  for event in events:
    at = sum(event) / 2 if isinstance(event, tuple) else event
    if not 0 <= at <= duration:
      raise UserError(f'an event at {at:g} s of a recording of {duration:g} s')
    starts.append(max(min(at - before * seconds, duration - seconds), 0.0))
  return starts


def label(
  start: float,
  seconds: float,
  intervals: Iterable[Interval],
  background: Any = None,
  least: float = 0.5,
) -> Any:
  """The label whose intervals cover most of a window; of equal ones the one that begins first.

  Args:
    start: of the window.
    seconds: its length.
    intervals: of the recording.
    background: the label of a window of which no label covers enough; None: it has none.
    least: share of the window that a label must cover.
  """
  covered: dict[Any, float] = {}
  for one in sorted(intervals, key=lambda interval: interval.start):
    overlap = min(one.end, start + seconds) - max(one.start, start)
    if overlap > 0:
      covered[one.label] = covered.get(one.label, 0.0) + overlap
  if not covered:
    return background
  best = max(covered, key=lambda name: covered[name])
  return best if covered[best] >= least * seconds - 1e-9 else background


def labelled(
  starts: Iterable[float],
  seconds: float,
  intervals: Sequence[Interval],
  background: Any = None,
  least: float = 0.5,
) -> list[Window]:
  """Windows with their labels, see `label`; those without one are dropped."""
  found = [Window(start, label(start, seconds, intervals, background, least)) for start in starts]
  return [one for one in found if one.label is not None]


def key(recording: str, start: float) -> str:
  """The name of a recording's window, `KEY@12.80`; with microseconds where hundredths do not do."""
  digits = 2 if abs(start * 100 - round(start * 100)) < 1e-6 else 6
  return f'{recording}@{start:.{digits}f}'


def rows(rate: float, start: float, seconds: float) -> tuple[int, int]:
  """A window's first row, and how many it has: both rounded, halves up."""
  return math.floor(start * rate + 0.5 + 1e-9), max(math.floor(seconds * rate + 0.5 + 1e-9), 1)


def cut(
  signal: np.ndarray,
  mask: np.ndarray | None,
  rates: float | Sequence[float],
  start: float,
  seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
  """The rows of a window.

  Args:
    signal: `[T, ...]`; of S sensors with rates of their own `[T, C]`, stored as `timeline.merge`
      does.
    mask: bool `[T]` or `[T, S]`; None: all is recorded.
    rates: rows a second, of each sensor if there are several.
    start: seconds.
    seconds: length.

  Returns:
    The signal `[N, ...]` and its mask, `[N]` or `[N, S]`. Rows that the recording does not have are
    zero where a mask was given, and else those of its last row; the mask is false there. N is that
    of the highest rate.
  """
  if isinstance(rates, int | float):
    first, count = rows(rates, start, seconds)
    held = mask is None
    mask = np.ones(len(signal), bool) if mask is None else mask
    return _take(signal, first, count, held), _take(mask, first, count, False)
  assert mask is not None
  width = signal.shape[1] // len(rates)
  length = max(rows(rate, start, seconds)[1] for rate in rates)
  values = np.zeros((length, *signal.shape[1:]), signal.dtype)
  recorded = np.zeros((length, len(rates)), bool)
  for s, rate in enumerate(rates):
    first, count = rows(rate, start, seconds)
    columns = slice(s * width, (s + 1) * width)
    # Beyond a sensor's own rows there are zeros, which its mask knows.
    values[:count, columns] = _take(signal[:, columns], first, count, False)
    recorded[:count, s] = _take(mask[:, s], first, count, False)
  return values, recorded


def _take(x: np.ndarray, first: int, count: int, held: bool) -> np.ndarray:
  part = x[first : first + count]
  if len(part) == count:
    return part
  if held and len(x):
    return x[np.minimum(np.arange(first, first + count), len(x) - 1)]
  return np.concatenate([part, np.zeros((count - len(part), *x.shape[1:]), x.dtype)])
