"""From what is recorded to what a model says of each window, as it comes."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from har.errors import UserError
from har.stream import causal, inputs
from har.stream.exported import ANOMALY, LOGITS, RECONSTRUCTION, SOURCES, Arrays, Model

LEAST_HEARD = 0.5
"""The share of a window that must have been recorded, of each input that a model cannot do
without."""
PATIENCE = 1.0
"""Seconds of one live source in which another one's rows are waited for."""
_STEPS = 0.5  # Seconds from one window to the next, at most, unless something else is asked for.


@dataclasses.dataclass(frozen=True)
class Decision:
  """What is said of a window.

  Attributes:
    start, end: seconds of the stream.
    probabilities: float `[C]`, of a model that classifies; else None.
    score: how far it is from what was learnt, of a model that reconstructs; else None.
    lacking: inputs of which too little was recorded. Where the model cannot do without, there is
      neither of the above.
  """

  start: float
  end: float
  probabilities: np.ndarray | None = None
  score: float | None = None
  lacking: tuple[str, ...] = ()

  @property
  def known(self) -> bool:
    """Whether the model said something."""
    return self.probabilities is not None or self.score is not None


class Windows:
  """Runs a model on window after window.

  What is pushed has stamps in seconds from the stream's first instant; windows are cut like those
  of training (`data_builders.windows`), from that instant on.

  Attributes:
    seconds: length of a window.
    step: seconds from one to the next.
    inputs: by name.
    complete: how many windows have ended.
    live: whether it is better to give up windows than to be late.
    row_by_row: whether taking is what computes, and deciding costs next to nothing.
    passed_over: windows of which nothing was said, because the next one had ended, too.
  """

  def __init__(
    self,
    model: Model,
    rates: Mapping[str, float],
    *,
    seconds: float = 0.0,
    step: float = 0.0,
    live: bool = False,
  ):
    """Takes a model and its sources.

    Args:
      model: opened.
      rates: frames or samples a second of each source that there is, 'imu' and 'video'; 0 where it
        is not known.
      seconds: length of a window; 0: as in training.
      step: seconds from one window to the next; 0: half a second or a quarter of a window, what is
        less.
      live: what comes late is waited for for `PATIENCE` seconds only, and of several windows that
        end at once the last is looked at.

    Raises:
      UserError: a source is missing that the model needs, the length is not known, or nothing that
        the model gives is a class or a score.
    """
    self._model, self.live, self.passed_over = model, live, 0
    outputs = model.about['outputs']
    if not any(n in (LOGITS, ANOMALY) or n.startswith(RECONSTRUCTION) for n in outputs):
      raise UserError(
        f'the model gives {", ".join(outputs)}, which is neither a class nor a score: it '
        'scores recordings with --mode=evaluate alone'
      )
    described = model.recorded
    for name, one in described.items():
      if f'{name}_present' not in model.about['inputs'] and _source(one) not in rates:
        raise UserError(f'the model needs {_source(one)} for its input {name}, which is not given')
    self.inputs = {
      name: inputs.build(name, one, rates[_source(one)])
      for name, one in described.items()
      if _source(one) in rates
    }
    if not self.inputs:
      raise UserError(f'the model reads {", ".join(sorted(model.sources))}')
    known = [one.seconds for one in self.inputs.values() if one.seconds]
    if not seconds and not known:
      raise UserError('the model does not tell how long its clips are: give --seconds')
    self.seconds = float(seconds or known[0])
    self.step = float(step or min(_STEPS, self.seconds / 4))
    self._next = self.complete = 0
    (first, *others) = self.inputs.values()
    self._causal = None
    if not others and causal.fits(model, first):
      self._causal = causal.Causal(model, first, self.seconds, self.step, live)
    self.row_by_row = self._causal is not None

  def push(self, source: str, time: float, value: Any, sensor: int | None = None) -> list[Decision]:
    """Takes a frame or a sample `[C]` and gives what can be said now, see `take`."""
    self.take(source, time, value, sensor)
    return self.decide()

  def take(self, source: str, time: float, value: Any, sensor: int | None = None) -> None:
    """Takes a frame or a sample.

    Args:
      source: 'imu' or 'video'.
      time: seconds.
      value: a frame as PyAV gives it, upright, or a sample `[C]`.
      sensor: whose sample it is, where the model has several; None: it is of all.
    """
    for one in self.inputs.values():
      if one.source == source:
        one.push(time, value, sensor)
    self._advance()

  def decide(self) -> list[Decision]:
    """What can be said of the windows that have ended since; live, of the last of them."""
    return list(self._ready())

  def end(self) -> list[Decision]:
    """Nothing more comes: what is left. A recording shorter than a window is one."""
    for one in self.inputs.values():
      one.end()
    self._advance()
    found = self.decide()
    there = min(one.duration for one in self.inputs.values())
    if not self._next and there:
      found.append(self._decide(0.0, there, 0))
    return found

  def _advance(self) -> None:
    if self._causal is not None:
      self._causal.advance()
    while self._has_ended(self.complete):
      self.complete += 1

  def _ready(self) -> Iterator[Decision]:
    while self._next < self.complete:
      number = self._next
      self._next += 1
      if self.live and self._next < self.complete:
        self.passed_over += 1
      else:
        yield self._decide(number * self.step, self.seconds, number)
      for one in self.inputs.values():
        one.forget(self._next * self.step)

  def _has_ended(self, number: int) -> bool:
    """Whether all rows of a window are there, or are not waited for any more."""
    start, given = number * self.step, self.inputs.values()
    if all(one.reaches(start, self.seconds) for one in given):
      return True
    latest = max(one.duration for one in given)
    return self.live and latest > start + self.seconds + PATIENCE

  def _decide(self, start: float, recorded: float, number: int) -> Decision:
    """Says what can be said of a window of which so many seconds can have been recorded."""
    outputs = self._causal.outputs(number) if self._causal is not None else None
    if outputs is not None:
      return Decision(start, start + self.seconds, *judge(outputs, {}))
    lacking = tuple(
      name for name, one in self.inputs.items() if one.heard(start, recorded) < LEAST_HEARD
    )
    span = start, start + self.seconds
    described = self._model.about['inputs']
    if any(f'{name}_present' not in described for name in lacking) or len(lacking) == len(
      self.inputs
    ):
      return Decision(*span, lacking=lacking)
    given: Arrays = {}
    for name in self._model.recorded:
      there = name in self.inputs and name not in lacking
      if there:
        given |= self.inputs[name].window(start, self.seconds)
      else:
        given |= absent(name, described)
      given[f'{name}_present'] = np.full(1, there, np.float32)
    return Decision(*span, *judge(self._model.run(given), given), lacking=lacking)


def _source(about: Mapping[str, Any]) -> str:
  return SOURCES[about['kind']]


def absent(name: str, described: Mapping[str, Any]) -> Arrays:
  """What stands for an input that was not recorded: zeros."""
  names = [one for one in (name, f'{name}_mask') if one in described]
  return {one: np.zeros((1, *described[one]['shape'][1:]), np.float32) for one in names}


def judge(outputs: Arrays, inputs: Arrays) -> tuple[np.ndarray | None, float | None]:
  """Probabilities `[C]` of logits, and the anomaly or the error of reconstructions; None where
  there are none."""
  probabilities = None
  if LOGITS in outputs:
    logits = np.asarray(outputs[LOGITS][0], np.float64)
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
  errors = [float(outputs[ANOMALY][0])] if ANOMALY in outputs else []
  for name in sorted(outputs):
    if name.startswith(RECONSTRUCTION):
      errors.append(_error(outputs[name], inputs, name.removeprefix(RECONSTRUCTION)))
  return probabilities, float(np.mean(errors)) if errors else None


def _error(given_back: np.ndarray, inputs: Arrays, name: str) -> float:
  """Mean squared error over samples and channels, as `har.objectives.reconstruct`."""
  squares = np.square(given_back[0] - inputs[name][0]).reshape(given_back.shape[1], -1).mean(1)
  mask = inputs.get(f'{name}_mask')
  weight = np.ones(len(squares), np.float32) if mask is None else mask[0]
  return float((squares * weight).sum() / max(weight.sum(), 1))
