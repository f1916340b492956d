"""What a stream counts, in memory that does not grow."""

import collections
import math
from typing import Any

_STEP = 1.05  # From one class of durations to the next.
_LEAST = 1e-5


class Durations:
  """Quantiles of durations, within 5%, and the largest."""

  def __init__(self) -> None:
    self._counts: collections.Counter[int] = collections.Counter()
    self._largest = 0.0

  def add(self, seconds: float) -> None:
    self._counts[math.ceil(math.log(max(seconds, _LEAST) / _LEAST, _STEP))] += 1
    self._largest = max(self._largest, seconds)

  def quantile(self, share: float) -> float:
    """The duration that so many are not above, seconds; 0 if there is none."""
    left = share * self._counts.total()
    for one in sorted(self._counts):
      left -= self._counts[one]
      if left <= 0:
        return min(_LEAST * _STEP**one, self._largest)
    return self._largest

  def plain(self) -> dict[str, float]:
    """For JSON, in milliseconds."""
    found = {f'p{round(100 * q)}': self.quantile(q) for q in (0.5, 0.95, 0.99)}
    return {name: round(1e3 * x, 3) for name, x in (found | {'max': self._largest}).items()}


class Counters:
  """Of one stream.

  Attributes:
    taken: frames and samples that went into the stream, by source.
    dropped: that were dropped because others had come since, by source.
    events: 'raised' and 'ended'.
    windows: 'known' and 'unknown'.
    bad_lines: of standard input.
    waited: how long what came waited until it was taken.
    latency: from the coming of what completed a window to what is said of it.
  """

  def __init__(self) -> None:
    self.taken: collections.Counter[str] = collections.Counter()
    self.dropped: collections.Counter[str] = collections.Counter()
    self.events: collections.Counter[str] = collections.Counter()
    self.windows: collections.Counter[str] = collections.Counter()
    self.bad_lines = 0
    self.waited, self.latency = Durations(), Durations()

  def plain(self) -> dict[str, Any]:
    """For JSON."""
    return {
      'taken': dict(self.taken),
      'dropped': dict(self.dropped),
      'bad_lines': self.bad_lines,
      'windows': dict(self.windows),
      'events': dict(self.events),
      'waited_ms': self.waited.plain(),
      'latency_ms': self.latency.plain(),
    }
