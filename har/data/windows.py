"""Windows of recordings as the examples of an experiment, for any prepared dataset.

An example is a recording's rows from `start * rate` on; every input reads those of its own field.
Splits are made of recordings, so that none is parted.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from data_builders import windows as cutting
from har.data import inputs as inputs_lib
from har.data.dataset import Dataset
from har.data.input import Input, step
from har.data.options import WINDOWS
from har.data.protocols import PARTS, Index, Splits
from har.data.signal import Signal
from har.errors import UserError
from har.options import read

Rates = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Windowed(Dataset):
  """A dataset whose records are windows.

  The index has a window's recording (its key) and start (seconds) in columns `recording` and
  `start`; keys are `KEY@12.80`.

  Attributes:
    base: the dataset of recordings.
    seconds: length of a window.
    step: seconds from the beginning of one to that of the next.
    evaluate: 'window' or 'recording'.
    rates: rows a second by field, of each sensor where one field has several.
    recording: whose window each record is, a position in the base's index, int64 `[N]`.
  """

  base: Any = None
  seconds: float = 0.0
  step: float = 0.0
  evaluate: str = 'window'
  rates: Mapping[str, Rates] = dataclasses.field(default_factory=dict)
  recording: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

  @property
  def modalities(self) -> tuple[str, ...]:
    return tuple(self.base.modalities)

  def records(self, modalities: Collection[str]) -> Any:
    return _Pieces(self, tuple(modalities))

  def steps(self, field: str) -> list[dict[str, Any]]:
    """What is done to a field's recording before anything else, see `har.data.input.step`."""
    how = (
      'one example every `step` seconds, `seconds` long: of rows at `rate` a second (of several '
      'sensors, each at its own) those from round(k * step * rate) on, round(seconds * rate) of '
      'them, for k from 0; halves are rounded up. A shorter recording is filled up with its last '
      'row or, where there is a mask, with zeros, where the mask is 0'
    )
    rate = self.rates[field]
    return [step('window', how, seconds=self.seconds, step=self.step, rate=rate)]


class _Pieces:
  """Random access to the windows' records; works from several threads and pickles."""

  def __init__(self, dataset: Windowed, fields: tuple[str, ...]):
    self._recordings = dataset.base.records(fields)
    self._recording, self._start = dataset.recording, dataset.index.start
    self._key, self._seconds = dataset.index.key, dataset.seconds
    self._rates = {field: dataset.rates[field] for field in fields}

  def __len__(self) -> int:
    return len(self._recording)

  def __getitem__(self, i: int) -> dict[str, Any]:
    if not 0 <= i < len(self):
      raise IndexError(f'record {i} of {len(self)}')
    record = dict(self._recordings[int(self._recording[i])])
    start = float(self._start[i])
    for field, rates in self._rates.items():
      x, mask = record[field], record.get(f'{field}_mask')
      if not len(x):  # It is lacking.
        continue
      if isinstance(x, np.ndarray) and x.dtype != object:
        record[field], found = cutting.cut(x, mask, rates, start, self._seconds)
        if mask is not None:
          record[f'{field}_mask'] = found
      else:
        first, count = cutting.rows(_highest(rates), start, self._seconds)
        last = len(x) - 1
        record[field] = [x[min(row, last)] for row in range(first, first + count)]
    return record | {'key': str(self._key[i])}


def cut(
  dataset: Any, splits: Splits, config: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Any, Splits]:
  """Makes windows the examples, if a config asks for them.

  Reads every recording of the inputs once, for their lengths.

  Args:
    dataset: of recordings.
    splits: of its records.
    config: `config.dataset.windows`, see `har.data.options.WINDOWS`; empty or of 0 seconds: nothing
      is changed.
    inputs: `config.inputs`: the fields that are read, and `rates` of several sensors in one.

  Returns:
    The dataset and the splits of windows.

  Raises:
    UserError: a wrong option, a field whose rate the dataset does not tell, or windows of which an
      input takes a part only.
  """
  options = read(WINDOWS, config, 'config.dataset.windows')
  if not options['seconds']:
    if any(options[name] != WINDOWS[name].default for name in WINDOWS):
      raise UserError(
        'config.dataset.windows: without seconds there are no windows; set their length'
      )
    return dataset, splits
  rates = _rates(dataset, inputs)
  for name, one in inputs.items():
    _check_length(inputs_lib.build(name, one), rates, options['seconds'])
  step_seconds = options['step'] or options['seconds']
  starts = [
    cutting.side_by_side(
      seconds, options['seconds'], step_seconds, 0.5 / max(map(_highest, rates.values()))
    )
    for seconds in _durations(dataset, rates)
  ]
  recording = np.repeat(np.arange(len(starts)), [len(one) for one in starts])
  given: dict[str, Any] = {
    f.name: getattr(dataset, f.name, None) for f in dataclasses.fields(Dataset)
  }
  given['index'] = _index(dataset.index, recording, np.concatenate(starts))
  windowed = Windowed(
    **given,
    base=dataset,
    seconds=options['seconds'],
    step=step_seconds,
    evaluate=options['evaluate'],
    rates=rates,
    recording=recording,
  )
  parts = {p: np.flatnonzero(np.isin(recording, getattr(splits, p))) for p in PARTS}
  if options['abnormal'] == 'peak':
    kept = _with_peaks(windowed, parts['train'], inputs)
    parts['unused'] = np.union1d(parts['unused'], parts['train'][~kept])
    parts['train'] = parts['train'][kept]
  return windowed, Splits(**parts)


def _with_peaks(dataset: Windowed, train: np.ndarray, inputs: Mapping[str, Any]) -> np.ndarray:
  """bool `[N]`: which of the training windows hold their recording's peak, or are normal."""
  flagged = np.isin(dataset.class_names, dataset.metadata.get('abnormal', ()))
  if not flagged.any():
    raise UserError("config.dataset.windows.abnormal='peak': the dataset names no abnormal class")
  signals = (one for n, i in inputs.items() if isinstance(one := inputs_lib.build(n, i), Signal))
  if (signal := next(signals, None)) is None:
    raise UserError("config.dataset.windows.abnormal='peak': no input is a signal")
  rates = dataset.rates[signal.field]
  first, sensors = (rates, 1) if isinstance(rates, float) else (rates[0], len(rates))
  records, kept = dataset.base.records((signal.field,)), ~flagged[dataset.index.label[train]]
  for recording in np.unique(dataset.recording[train[~kept]]).tolist():
    x = records[recording][signal.field]
    if not len(x):
      continue
    peak = int(np.square(x[:, : x.shape[1] // sensors]).sum(1).argmax())
    own = np.flatnonzero(dataset.recording[train] == recording)
    for i in own.tolist():
      start, count = cutting.rows(first, float(dataset.index.start[train[i]]), dataset.seconds)
      kept[i] = start <= peak < start + count
  return kept


def _index(index: Index, recording: np.ndarray, start: np.ndarray) -> Index:
  for name in ('recording', 'start'):
    if name in index.columns:
      raise UserError(
        f'config.dataset.windows: the records have a column {name!r} of their own; rename it'
      )
  columns = {name: column[recording] for name, column in index.columns.items()}
  keys = [cutting.key(k, at) for k, at in zip(columns['key'], start.tolist(), strict=True)]
  return Index(columns | {'key': np.array(keys), 'recording': columns['key'], 'start': start})


def _highest(rates: Rates) -> float:
  return rates if isinstance(rates, int | float) else max(rates)


def _rates(dataset: Any, inputs: Mapping[str, Any]) -> dict[str, Rates]:
  """Rows a second of every field that an input reads."""
  found: dict[str, Rates] = {}
  known = dataset.metadata.get('rates', {})
  for name, config in inputs.items():
    one = inputs_lib.build(name, config)
    own: Sequence[float] = one.options.get('rates', ())
    if not own and one.field not in known:
      raise UserError(
        f'config.dataset.windows: {dataset.name} does not tell the rate of {one.field}: its '
        'recordings have different ones (the option rate of clips brings them to one), or its '
        'builder lacks the metadata `rates`'
      )
    rates = tuple(map(float, own)) if own else float(known[one.field])
    if found.setdefault(one.field, rates) != rates:
      raise UserError(f'inputs.{name}.rates={rates}: another input has {found[one.field]}')
  return found


def _check_length(one: Input, rates: Mapping[str, Rates], seconds: float) -> None:
  """Raises UserError if an input that does not resample sees only the middle of a window."""
  options = one.options
  if options.get('fit') != 'pad':
    return
  rows = cutting.rows(options.get('rate') or _highest(rates[one.field]), 0.0, seconds)[1]
  if rows > options['length']:
    raise UserError(
      f'config.dataset.windows.seconds={seconds:g} are {rows} samples, and inputs.{one.name} takes '
      f'the middle {options["length"]} of them; set --config.inputs.{one.name}.length={rows}, or '
      'cut shorter windows'
    )


def _durations(dataset: Any, rates: Mapping[str, Rates]) -> list[float]:
  """Seconds of every recording: those of the shortest of its fields; 0 if it lacks all."""
  records, seconds = dataset.records(tuple(rates)), []
  for i in range(len(records)):
    record = records[i]
    lengths = [len(record[field]) / _highest(rate) for field, rate in rates.items()]
    seconds.append(min(filter(None, lengths), default=0.0))
  return seconds
