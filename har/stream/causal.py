"""A causal model's windows, row by row: when one ends, only its last row is still to be computed.

Windows that overlap each have a state of their own, zero at their first row, so that what is said
of a window is what the file of whole clips says of it.
"""

import dataclasses
from typing import Any

import numpy as np

from har.data import video
from har.stream.exported import LOGITS, Arrays, Model
from har.stream.inputs import Input
from har.stream.preprocess import Clip, run

# What can be done to a sample or frame before the rest of its window is there.
_SAMPLES = (('pad',), ('pad_sensors',))
_EACH_SAMPLE = ('normalise', 'mask')
_FRAMES = (('choose_frames', 'square'), ('choose_frames', 'whole'))
_EACH_FRAME = ('crop_centre', 'normalise')
_AT_ONCE = 4  # Rows, live: after a longer gap the windows that are open would take longer than it.


@dataclasses.dataclass
class _Open:
  """A window that has begun.

  Attributes:
    first: its first row.
    state: of the model.
    outputs: of the last step.
    whole: whether all of its rows were recorded, up to now.
  """

  first: int
  state: Arrays
  outputs: Arrays = dataclasses.field(default_factory=dict)
  whole: bool = True


def fits(model: Model, one: Input) -> bool:
  """Whether an input's windows can be computed row by row."""
  if model.step is None or len(model.recorded) != 1 or len(set(one.rates)) > 1:
    return False
  if LOGITS not in model.step.about['outputs']:
    return False
  names = tuple(step['operation'] for step in one.steps)
  if one.source == 'video':
    return names[:2] in _FRAMES and names[2:] == _EACH_FRAME
  return names[:1] in _SAMPLES and names[1:] == _EACH_SAMPLE and not one.steps[0].get('rate')


class Causal:
  """Goes through the rows of one input as they come."""

  def __init__(self, model: Model, one: Input, seconds: float, step: float, live: bool):
    """Takes a model that fits, its input, the windows' length and distance in seconds, and whether
    it is better to give up windows than to be late."""
    assert model.step is not None
    self._run, self._input = model.step.run, one
    described = model.step.about['inputs']
    self._from = {name: about['from'] for name, about in described.items() if 'from' in about}
    self._zeros = {
      name: np.zeros((1, *described[name]['shape'][1:]), np.float32) for name in self._from
    }
    self._seconds, self._step, self._live = seconds, step, live
    self._times = self._how_often(one.span(0.0, seconds)[1])
    skipped = len(_FRAMES[0]) if one.source == 'video' else len(_SAMPLES[0])
    self._each = one.steps[skipped:]
    self._open: dict[int, _Open] = {}
    self._row, self._begun = 0, 0

  def _how_often(self, count: int) -> np.ndarray:
    """How many times each row of a window enters the model, int `[count]`."""
    if self._input.source == 'video':
      chosen = video.choose_frames(count, self._input.steps[0]['count'])
      return np.bincount(chosen, minlength=count)
    length = min(self._input.steps[0]['length'], count)
    first = (count - length) // 2
    within = np.arange(count)
    return ((within >= first) & (within < first + length)).astype(int)

  def advance(self) -> None:
    """Takes the rows that have come since."""
    if self._live and self._input.row(self._row + _AT_ONCE) is not None:
      for one in self._open.values():
        one.whole = False
    while (found := self._input.row(self._row)) is not None:
      while (first := self._input.span(self._begun * self._step, self._seconds)[0]) <= self._row:
        self._open[self._begun] = _Open(first, self._zeros)
        self._begun += 1
      value, heard = found
      x = self._prepared(value, heard) if heard.any() else None
      for one in self._open.values():
        self._enter(one, x)
      self._row += 1

  def _enter(self, one: _Open, x: np.ndarray | None) -> None:
    place = self._row - one.first
    if x is None:
      one.whole = False
    if not one.whole or x is None or place >= len(self._times):
      return
    for _ in range(self._times[place]):
      one.outputs = self._run({self._input.name: x, **one.state})
      one.state = {name: one.outputs[output] for name, output in self._from.items()}

  def _prepared(self, value: Any, heard: np.ndarray) -> np.ndarray:
    """A row as a step takes it, `[1, ...]`."""
    clip = Clip(value[None], heard[None])
    if self._input.source == 'imu':
      clip.recorded = np.repeat(heard[None], len(value) // len(heard), 1)
    return run(clip, self._each).x.astype(np.float32)

  def outputs(self, window: int) -> Arrays | None:
    """What the model gives for a window by its number; None if not all of it was recorded."""
    one = self._open.pop(window, None)
    for number in [number for number in self._open if number < window]:
      del self._open[number]
    complete = one is not None and self._row >= one.first + len(self._times)
    return one.outputs if one is not None and complete and one.whole and one.outputs else None
