"""What a user may choose of windows and events."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from har.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rule:
  """When something is an event.

  Attributes:
    on: the score above which one begins.
    off: the score above which it goes on; at most `on`.
    least: seconds that it must last.
    cool_down: seconds after an event in which none of the same name begins.
  """

  on: float = 0.6
  off: float = 0.4
  least: float = 0.0
  cool_down: float = 2.0

  def __post_init__(self) -> None:
    if not 0 < self.off <= self.on:
      raise UserError(f'--off={self.off:g} must be above 0 and at most --on={self.on:g}')


@dataclasses.dataclass(frozen=True)
class Options:
  """How a stream is looked at.

  Attributes:
    seconds: length of a window; 0: as in training.
    step: seconds from one window to the next; 0: half a second or a quarter of a window, what is
      less.
    rule: of events.
    threshold: of the score of a model that reconstructs; 0: that of its description.
    rate: samples a second of IMU files without time; 0: the model's.
    time_unit: of numeric time stamps whose header does not say it; '' for seconds.
  """

  seconds: float = 0.0
  step: float = 0.0
  rule: Rule = dataclasses.field(default_factory=Rule)
  threshold: float = 0.0
  rate: float = 0.0
  time_unit: str = ''


NUMBERS = {
  'seconds': (0.0, 'length of a window; as in training if not given'),
  'step': (0.0, 'seconds from one window to the next; 0.5 or a quarter of a window if not given'),
  'on': (Rule.on, 'score above which an event begins'),
  'off': (Rule.off, 'score above which it goes on'),
  'least': (Rule.least, 'seconds that an event must last'),
  'cool_down': (Rule.cool_down, 'seconds after an event in which none of the same name begins'),
  'threshold': (0.0, "of a model that reconstructs; the export's if not given"),
  'rate': (0.0, "samples a second of an IMU file without time; the model's if not given"),
}
"""Default and meaning of the flags that are numbers; `of_flags` makes `Options` of them."""


def of_flags(values: Mapping[str, Any], time_unit: str = '') -> Options:
  """Options from the values of flags by name.

  Raises:
    UserError: one is negative or no number, or they do not go together.
  """
  given = {name: float(values[name]) for name in NUMBERS}
  for name, value in given.items():
    if not 0 <= value < float('inf'):
      raise UserError(f'--{name}={value:g}: must be a number, 0 or more')
  rule = Rule(**{field.name: given.pop(field.name) for field in dataclasses.fields(Rule)})
  return Options(rule=rule, time_unit=time_unit, **given)
