"""A model on sources: decisions, events, and what there is to be counted."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from har.stream.events import Detector, Event
from har.stream.exported import Model
from har.stream.options import Options
from har.stream.recordings import Item
from har.stream.windows import Decision, Windows

ANOMALY = 'anomaly'


@dataclasses.dataclass(frozen=True)
class Found:
  """What came of something that was pushed.

  Attributes:
    decision: of a window.
    events: ('raised' or 'ended', event).
  """

  decision: Decision | None
  events: tuple[tuple[str, Event], ...]


class Session:
  """Goes on from what was pushed before.

  Attributes:
    windows: of the model.
    threshold: of scores; 0 if there is none.
    alarms: names of the classes whose probabilities together make an event; empty: each class
      makes its own.
  """

  def __init__(
    self,
    model: Model,
    rates: Mapping[str, float],
    options: Options,
    *,
    live: bool = False,
  ):
    """Takes what `Windows` takes, and options."""
    self.model = model
    self.windows = Windows(model, rates, seconds=options.seconds, step=options.step, live=live)
    alarm = model.about.get('alarm') or {}
    self.threshold = float(options.threshold or alarm.get('value') or 0)
    self.alarms = tuple(model.about.get('abnormal', ()))
    rule = options.rule
    self.rule = rule
    # Scores are told as multiples of the threshold.
    scored = dataclasses.replace(rule, on=1.0, off=rule.off / rule.on)
    self._classes = Detector(rule, self.windows.step)
    self._scores = Detector(scored, self.windows.step)

  def push(self, item: Item) -> list[Found]:
    """Takes a frame or a sample, and gives what came of it."""
    self.windows.take(*item)
    return self.decide()

  def decide(self) -> list[Found]:
    """What came of all that `windows` has taken since."""
    return [self._follow(one) for one in self.windows.decide()]

  def end(self) -> list[Found]:
    """Nothing more comes."""
    found = [self._follow(one) for one in self.windows.end()]
    left = (*self._classes.pause(), *self._scores.pause())
    return [*found, Found(None, left)] if left else found

  def _follow(self, one: Decision) -> Found:
    return Found(one, tuple(self._events(one)))

  def _events(self, one: Decision) -> Iterator[tuple[str, Event]]:
    if not one.known:
      yield from self._classes.pause()
      yield from self._scores.pause()
      return
    if one.probabilities is not None:
      yield from self._classes.push(one.start, one.end, self._class_scores(one.probabilities))
    if one.score is not None and self.threshold:
      scores = {ANOMALY: (one.score / self.threshold, ANOMALY)}
      yield from self._scores.push(one.start, one.end, scores)

  def _class_scores(self, probabilities: Any) -> dict[str, tuple[float, str]]:
    """By track; abnormal classes are one track, named after the likeliest of them."""
    by_name = dict(zip(self.model.labels, map(float, probabilities), strict=True))
    if not self.alarms:
      return {name: (p, name) for name, p in by_name.items()}
    likeliest = max(self.alarms, key=lambda name: by_name[name])
    return {'abnormal': (sum(by_name[name] for name in self.alarms), likeliest)}
