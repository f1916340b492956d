"""Samples and frames with time stamps onto even rows, as they come.

Row k is k / rate seconds after the stream's first instant. What has become a row never changes, so
that a stream and a file of the same samples have the same rows.
"""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_GAP = 0.5
"""Seconds without a sample that are no silence yet, see `data_builders.timeline`."""
_HAIR = 1e-4  # Of a row.
_ROUNDING = 6e-4  # Seconds that stamps in whole milliseconds may be off.
_SOONEST = 0.75  # Of a source's period: no frame comes sooner after the one before.


class Rows:
  """The latest rows of one source, numbered from the first that there ever was."""

  def __init__(self) -> None:
    self._values: collections.deque[Any] = collections.deque()
    self._heard: collections.deque[bool] = collections.deque()
    self._first = 0

  @property
  def end(self) -> int:
    """One more than the last row's number."""
    return self._first + len(self._values)

  def append(self, value: Any, heard: bool) -> None:
    self._values.append(value)
    self._heard.append(heard)

  def forget(self, before: int) -> None:
    """Drops rows that nobody will ask for."""
    while self._values and self._first < before:
      self._values.popleft()
      self._heard.popleft()
      self._first += 1

  def take(self, first: int, count: int) -> tuple[list[Any], np.ndarray]:
    """Values and whether they were recorded, bool `[N]`, of the rows from `first` on; N may be
    less than `count`."""
    start = max(first - self._first, 0)
    stop = max(first + count - self._first, start)
    inside = range(start, min(stop, len(self._values)))
    heard = np.fromiter((self._heard[i] for i in inside), bool, len(inside))
    return [self._values[i] for i in inside], heard


class SignalGrid:
  """One sensor's samples, interpolated linearly; zero where it was silent.

  Attributes:
    rows: float32 `[C]` each.
    unordered: samples left out because their stamps were not after the one before.
  """

  def __init__(self, rate: float, channels: int, max_gap: float = MAX_GAP):
    self.rows, self.unordered = Rows(), 0
    self._rate, self._max_gap = rate, max(max_gap, 2 / rate)
    self._silent = np.zeros(channels, np.float32)
    self._last: tuple[float, np.ndarray] | None = None

  def push(self, time: float, values: np.ndarray) -> None:
    """Takes a sample `[C]` at `time` seconds."""
    if self._last is None:
      self._fill(time)
    elif time <= self._last[0]:
      self.unordered += 1
      return
    while (at := self.rows.end / self._rate) <= time + _HAIR / self._rate:
      self.rows.append(*self._between(at, time, values))
    self._last = time, values

  def _fill(self, time: float) -> None:
    while self.rows.end / self._rate < time - 0.5 / self._rate:
      self.rows.append(self._silent, False)

  def _between(self, at: float, time: float, values: np.ndarray) -> tuple[np.ndarray, bool]:
    if time - at <= _HAIR / self._rate or self._last is None:
      return np.asarray(values, np.float32), True
    before, old = self._last
    if time - before > self._max_gap and min(at - before, time - at) > 0.5 / self._rate:
      return self._silent, False
    weight = (at - before) / (time - before)
    return np.asarray(old * (1 - weight) + values * weight, np.float32), True


class FrameGrid:
  """Frames of a video: row k is the last one shown by (k + 0.5) / rate seconds.

  That is the frame `data_builders.clips` takes. A row is there as soon as no other frame can come
  for it, which of a source at its nominal rate is when its frame comes.

  Attributes:
    rows: what `prepare` made of the frame; None where no frame came for `MAX_GAP` before.
    unordered: frames left out because their stamps were not after the one before.
  """

  def __init__(self, rate: float, source_rate: float, prepare: Callable[[Any], Any]):
    self.rows, self.unordered = Rows(), 0
    self._rate, self._period = rate, 1 / source_rate
    self._prepare = prepare
    self._last: tuple[float, Any] | None = None
    self._prepared: Any = None

  def push(self, time: float, frame: Any) -> None:
    """Takes a frame that is shown from `time` seconds on."""
    if self._last is not None and time <= self._last[0]:
      self.unordered += 1
      return
    self._until(time)
    self._last, self._prepared = (time, frame), None
    self._until(time + _SOONEST * self._period)

  def end(self) -> None:
    """Gives the rows that only waited for a later frame; the last frame is shown for a period."""
    if self._last is not None:
      self._until(self._last[0] + self._period)

  def _until(self, time: float) -> None:
    """Makes the rows whose instants are before `time`, of the last frame."""
    while (self.rows.end + 0.5) / self._rate < time - _ROUNDING:
      self.rows.append(*self._shown((self.rows.end + 0.5) / self._rate))

  def _shown(self, at: float) -> tuple[Any, bool]:
    if self._last is None or at - self._last[0] > max(MAX_GAP, 2 / self._rate):
      return None, False
    if self._prepared is None:
      self._prepared = self._prepare(self._last[1])
    return self._prepared, True
