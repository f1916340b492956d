"""From scores of windows to events: hysteresis, a minimum length and a cool-down."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from har.stream.options import Rule


@dataclasses.dataclass(frozen=True)
class Event:
  """Seconds of the stream that stand out.

  A window stands for the stretch of one step around its middle: an event reaches from the beginning
  of its first window's stretch to the end of its last one's.

  Attributes:
    name: what it is, such as a class.
    start, end: seconds; `end` of one that goes on is that of what is known.
    peak: the middle of the window with the highest score.
    confidence: that score.
    raised: the end of the window with which it had lasted as long as it must: when it was known.
  """

  name: str
  start: float
  end: float
  peak: float
  confidence: float
  raised: float

  def plain(self) -> dict[str, Any]:
    """For JSON, rounded to a tenth of a millisecond."""
    values = dataclasses.asdict(self)
    return {n: round(x, 4) if isinstance(x, float) else x for n, x in values.items()}


@dataclasses.dataclass
class _Open:
  """An event that goes on."""

  name: str
  start: float
  end: float
  peak: float
  confidence: float
  raised: float | None = None


class Detector:
  """Follows scores of several tracks, such as classes, window by window.

  Args:
    rule: of all tracks.
    step: seconds from one window to the next.
  """

  def __init__(self, rule: Rule, step: float):
    self._rule, self._step = rule, step
    self._open: dict[str, _Open] = {}
    self._quiet: dict[str, float] = {}

  def push(
    self, start: float, end: float, scores: Mapping[str, tuple[float, str]]
  ) -> Iterator[tuple[str, Event]]:
    """Takes a window's scores; gives ('raised', event) and ('ended', event) as they come about.

    Args:
      start: of the window, seconds.
      end: of it.
      scores: by track, with the name that an event has whose highest score this is.
    """
    middle, half = (start + end) / 2, self._step / 2
    for track, (score, name) in scores.items():
      one = self._open.get(track)
      if one is not None and score <= self._rule.off:
        yield from self._close(track)
      elif one is not None:
        one.end = middle + half
        if score > one.confidence:
          one.name, one.peak, one.confidence = name, middle, score
        yield from self._raise(one, end)
      elif score > self._rule.on and middle - half >= self._quiet.get(track, -1e9) - 1e-9:
        one = self._open[track] = _Open(name, middle - half, middle + half, middle, score)
        yield from self._raise(one, end)

  def pause(self) -> Iterator[tuple[str, Event]]:
    """Ends what goes on: nothing is known of the next window, or nothing more comes."""
    for track in list(self._open):
      yield from self._close(track)

  def _raise(self, one: _Open, known: float) -> Iterator[tuple[str, Event]]:
    if one.raised is None and one.end - one.start >= self._rule.least - 1e-9:
      one.raised = known
      yield 'raised', Event(**vars(one))

  def _close(self, track: str) -> Iterator[tuple[str, Event]]:
    one = self._open.pop(track)
    if one.raised is not None:
      self._quiet[track] = one.end + self._rule.cool_down
      yield 'ended', Event(**vars(one))
