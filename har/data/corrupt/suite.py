"""The suite of corruptions: which there are for an experiment's inputs, and their application.

What is drawn depends on the seed, the corruption and the recording's key alone: not on the order of
reading, nor on the severity, so that severities of one corruption can be compared.
"""

import dataclasses
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from har.data.corrupt import pictures, signals
from har.data.corrupt.signals import Effect, Samples, Sensor
from har.data.input import Input
from har.data.windows import Windowed

SHIFTS = (0.1, 0.25, 0.5, 1.0)
SHIFT, MISSING, WRONG = 'shift', 'missing', 'wrong recording'
EFFECTS: Mapping[str, Mapping[str, Effect]] = {
  'signal': signals.SIGNAL,
  'skeleton': signals.SKELETON,
  'frames': pictures.FRAMES,
  'depth': pictures.DEPTH,
  'flow': pictures.FLOW,
}
"""By kind of input."""


@dataclasses.dataclass(frozen=True)
class Case:
  """One corruption of one field at one severity.

  Attributes:
    group: the field, or `SHIFT`, `MISSING` or `WRONG`.
    what: its name.
    field: of records, that it changes.
    severity: a number; 0 where there is but one.
    unit: of the severity, in words.
  """

  group: str
  what: str
  field: str
  severity: float = 0.0
  unit: str = ''

  @property
  def severity_text(self) -> str:
    sign = '+' if self.group == SHIFT else ''
    return f'{self.severity:{sign}g} {self.unit}' if self.unit else ''


@dataclasses.dataclass(frozen=True)
class Field:
  """What is known of a field of records.

  Attributes:
    kind: of the inputs that read it.
    rate: rows a second; 0 if it is not known.
    sensor: of samples; None for video.
  """

  kind: str
  rate: float
  sensor: Sensor | None = None


def fields_of(dataset: Any, inputs: Collection[Input], train: np.ndarray) -> dict[str, Field]:
  """The fields that inputs read.

  Args:
    dataset: see `har.data.dataset`.
    inputs: of an experiment.
    train: positions of training examples, by which a sensor's spread is known.
  """
  base, positions = dataset, train
  if isinstance(dataset, Windowed):
    base, positions = dataset.base, np.unique(dataset.recording[train])
  found: dict[str, Field] = {}
  for one in inputs:
    if one.field in found:
      continue
    rate = float(dataset.metadata.get('rates', {}).get(one.field, 0.0))
    sensor = None
    if not one.is_video:
      rates = tuple(map(float, one.options.get('rates', ()))) or ((rate,) if rate else ())
      units = [unit for _, unit in dataset.channels.get(one.field, ())]
      records = base.records((one.field,))
      sensor = signals.sensor_of(records, positions, one.field, rates, units)
      rate = max(rates, default=rate)
    found[one.field] = Field(one.kind, rate, sensor)
  return found


def cases(fields: Mapping[str, Field]) -> tuple[list[Case], list[str]]:
  """The suite for these fields, and sentences on what it lacks and why."""
  found, notes = [], []
  for name, field in fields.items():
    for what, effect in EFFECTS[field.kind].items():
      if what in pictures.NEEDS_RATE and not field.rate:
        notes.append(f'{what} of {name} are not tried: the dataset does not tell its rate.')
        continue
      single = len(effect.severities) == 1
      found += [
        Case(name, what, name, 0.0 if single else severity, effect.unit)
        for severity in effect.severities
      ]
  moved = shifted(fields)
  if moved and fields[moved].rate:
    found += [
      Case(SHIFT, f'{moved} late' if seconds > 0 else f'{moved} early', moved, seconds, 's')
      for size in SHIFTS
      for seconds in (-size, size)
    ]
  elif moved:
    notes.append(f'{moved} is not shifted: the dataset does not tell its rate.')
  found += [Case(MISSING, name, name) for name in fields]
  return found + [Case(WRONG, name, name) for name in fields], notes


def shifted(fields: Mapping[str, Field]) -> str:
  """The field that is shifted against the others; '' if there is no other.

  That of a signal, which has a clock of its own, or else a skeleton's, or the first.
  """
  if len(fields) < 2:
    return ''
  order = {'signal': 0, 'skeleton': 1}
  return min(fields, key=lambda name: order.get(fields[name].kind, 2))


class Corrupted:
  """Random access to records of which one field is corrupted; pickles for worker processes.

  Args:
    records: random access to whole recordings.
    keys: of them all.
    case: what is done; not one of `MISSING`, which is no matter of values.
    field: what is known of its field.
    seed: of the suite.
    others: for `WRONG`, by position, whose field is taken instead, see `draw_others`.
    keep_length: whether rows of another recording are repeated or left out up to its own number.
  """

  def __init__(
    self,
    records: Any,
    keys: np.ndarray,
    case: Case,
    field: Field,
    seed: int,
    *,
    others: Mapping[int, int] | None = None,
    keep_length: bool = False,
  ):
    self._records, self._keys, self._case, self._field = records, keys, case, field
    self._seed, self._others, self._keep_length = seed, others or {}, keep_length

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> dict[str, Any]:
    record = dict(self._records[i])
    name = self._case.field
    if not len(record[name]):  # It is lacking.
      return record
    if self._case.group == WRONG:
      return record | self._exchanged(i, len(record[name]))
    what = SHIFT if self._case.group == SHIFT else self._case.what
    seed = (self._seed, _number(name), _number(what), _number(str(self._keys[i])))
    if self._field.sensor is None:
      return record | {name: self._film(record[name], what, seed)}
    change = signals.shift if what == SHIFT else EFFECTS[self._field.kind][what].change
    mask = record.get(f'{name}_mask')
    before = Samples(np.asarray(record[name]), mask, self._field.sensor)
    after = change(before, self._case.severity, np.random.default_rng(seed))
    return record | {name: after.x} | ({} if mask is None else {f'{name}_mask': after.mask})

  def _film(self, frames: Sequence[bytes], what: str, seed: tuple[int, ...]) -> pictures.Film:
    severity, codec = self._case.severity, pictures.CODECS[self._field.kind]
    rows = np.arange(len(frames))
    if what != SHIFT and what not in pictures.TIMING:
      change = EFFECTS[self._field.kind][what].change
      return pictures.Film(frames, codec, rows, change, severity, seed)
    timing = pictures.shift if what == SHIFT else EFFECTS[self._field.kind][what].change
    rng = np.random.default_rng(seed)
    rows = timing(len(frames), severity, self._field.rate, rng)
    return pictures.Film(frames, codec, rows, None, severity, seed)

  def _exchanged(self, i: int, length: int) -> dict[str, Any]:
    """The field of another recording."""
    name = self._case.field
    other = self._records[self._others[i]] if i in self._others else self._records[i]
    found = {n: other[n] for n in (name, f'{name}_mask') if n in other}
    if not self._keep_length:
      return found
    rows = np.arange(length) % max(len(found[name]), 1)
    return {
      n: x[rows] if isinstance(x, np.ndarray) else [x[row] for row in rows.tolist()]
      for n, x in found.items()
    }


def draw_others(
  positions: np.ndarray, labels: np.ndarray, keys: np.ndarray, lacking: Collection[int], seed: int
) -> dict[int, int]:
  """For each recording one of another class, or where there is none another one, at random.

  Args:
    positions: of the recordings among which they are exchanged.
    labels: of all recordings.
    keys: of all recordings.
    lacking: of those that have nothing to give.
    seed: of the suite.
  """
  there = np.setdiff1d(positions, np.fromiter(lacking, np.int64, len(lacking)))
  found = {}
  for i in positions.tolist():
    others = there[labels[there] != labels[i]]
    others = others if len(others) else there[there != i]
    if len(others):
      rng = np.random.default_rng((seed, _number(WRONG), _number(str(keys[i]))))
      found[i] = int(rng.choice(others))
  return found


def _number(text: str) -> int:
  return zlib.crc32(text.encode())
