"""Recordings in files: videos, and IMU samples as CSV or MAT."""

import dataclasses
import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_builders import csv_file, csv_text, timeline
from data_builders import video as films
from har.errors import UserError
from har.stream import checks
from har.stream.exported import SOURCES, Model

TABLES, MATRICES = ('.csv', '.tsv', '.txt'), ('.mat',)
_TIME = re.compile(r'(time|timestamp|t|date|datetime|epoch|seconds)([ _(\[].*)?', re.IGNORECASE)
_HEAD = 2**16
_MOST = 2**28


class SourceError(UserError):
  """A source that fails while it is gone through; what came before is good."""


class Item(NamedTuple):
  """What is pushed into a stream.

  Attributes:
    source: 'imu' or 'video'.
    time: seconds from the first instant.
    value: a frame, upright, as PyAV gives it, or a sample `[C]`.
    sensor: whose sample, where sensors have files of their own; else None.
  """

  source: str
  time: float
  value: Any
  sensor: int | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
  """A file that can be gone through.

  Attributes:
    source: 'imu' or 'video'.
    rate: samples or frames a second; 0 if it is not known.
    items: goes through it, from the first instant, 0, on.
    notes: what there is to be told of it.
  """

  source: str
  rate: float
  items: Callable[[], Iterator[Item]]
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Signal:
  """What a model takes of IMU samples.

  Attributes:
    channels: name and unit of each.
    rates: samples a second that it takes of each sensor; 0 where it does not say.
  """

  channels: tuple[tuple[str, str], ...]
  rates: tuple[float, ...]

  @classmethod
  def of(cls, model: Model) -> 'Signal | None':
    """None if the model takes no signal."""
    for one in model.recorded.values():
      if SOURCES[one['kind']] == 'imu':
        width, given = one['shape'][-1], one['channels']
        channels = tuple((c['name'], c['unit']) for c in given)
        channels = channels or tuple((f'channel {i}', '') for i in range(width))
        rates = next((s['rates'] for s in one['steps'] if s.get('rates')), [one['rate_hz'] or 0.0])
        return cls(channels, tuple(map(float, rates)))
    return None

  def sensor(self, i: int) -> 'Signal':
    """One of its sensors."""
    width = len(self.channels) // len(self.rates)
    return Signal(self.channels[i * width : (i + 1) * width], self.rates[i : i + 1])


def kind(path: str | Path) -> str:
  """'imu' or 'video', by the ending of a file's name."""
  return 'imu' if Path(path).suffix.lower() in TABLES + MATRICES else 'video'


def open_files(
  paths: Sequence[str], model: Model, *, rate: float = 0.0, time_unit: str = ''
) -> list[Recording]:
  """The recordings in files, one of each source; sensors may have files of their own.

  All begin at the same instant.

  Args:
    paths: of the files.
    model: that will take them.
    rate: samples a second of IMU files that have no time; 0: the model's.
    time_unit: of numeric time stamps whose header does not say it; '' for seconds.

  Raises:
    UserError: a file that is not there or cannot be read, or is none that the model takes.
  """
  for path in paths:
    if not Path(path).is_file():
      raise UserError(f'--input={path}: no such file')
  tables = [path for path in paths if kind(path) == 'imu']
  videos = [path for path in paths if kind(path) == 'video']
  if len(videos) > 1:
    raise UserError(f'--input: {len(videos)} videos; the model takes one')
  for source, given in (('imu', tables), ('video', videos)):
    if given and source not in model.sources:
      raise UserError(f'--input={given[0]}: the model takes {" and ".join(sorted(model.sources))}')
  found = []
  if tables:
    signal = Signal.of(model)
    assert signal is not None
    found.append(_open_imu(tables, signal, rate, time_unit))
  return found + [_open_video(Path(path), model) for path in videos]


def merged(recordings: Sequence[Recording]) -> Iterator[Item]:
  """What all of them hold, in the order of time."""
  yield from heapq.merge(*(one.items() for one in recordings), key=lambda item: item.time)


def _open_video(path: Path, model: Model) -> Recording:
  where = str(path)
  with films.opened(path, where) as film:
    rate = film.rate
    if next(film.frames, None) is None:
      raise UserError(f'{where}: has no frames')
  notes = []
  for one in model.recorded.values():
    if SOURCES[one['kind']] == 'video' and one['rate_hz'] and rate:
      notes.append(checks.check_rate(rate, one['rate_hz'], where))

  def items() -> Iterator[Item]:
    try:
      with films.opened(path, where) as film:
        first = None
        for i, frame in enumerate(film.frames):
          time = frame.time if frame.time is not None else i / (rate or 1)
          first = time if first is None else first
          yield Item('video', time - first, frame)
    except UserError as e:
      raise SourceError(str(e)) from e

  return Recording('video', rate, items, tuple(filter(None, dict.fromkeys(notes))))


def _open_imu(paths: Sequence[str], signal: Signal, rate: float, time_unit: str) -> Recording:
  """All files of IMU samples together."""
  if len(paths) not in (1, len(signal.rates)):
    raise UserError(
      f'--input: {len(paths)} files of IMU samples, and the model takes {len(signal.rates)} '
      'sensors; give one file for each, in their order, or one with all channels'
    )
  parts = [signal] if len(paths) == 1 else [signal.sensor(i) for i in range(len(paths))]
  series, notes = [], []
  for path, part in zip(paths, parts, strict=True):
    samples = _read(Path(path), part, rate, time_unit)
    where, wanted = str(path), max(part.rates)
    if len(samples.time) > 1:
      measured = (len(samples.time) - 1) / float(samples.time[-1] - samples.time[0])
      notes.append(checks.check_rate(measured, wanted, where) if wanted else '')
    notes.append(checks.check_gravity(samples.values, part.channels, where))
    if samples.oddities:
      told = ', '.join(f'{name} {n}' for name, n in sorted(samples.oddities.items()))
      notes.append(f'{where}: time stamps: {told}')
    series.append(samples)
  start = min(one.time[0] for one in series)
  alone = len(series) == 1

  def sensor(i: int) -> Iterator[Item]:
    for time, value in zip(series[i].time - start, series[i].values, strict=True):
      yield Item('imu', float(time), value, None if alone else i)

  def items() -> Iterator[Item]:
    return heapq.merge(*map(sensor, range(len(series))), key=lambda item: item.time)

  spans = [(len(one.time) - 1) / max(float(np.ptp(one.time)), 1e-9) for one in series]
  return Recording('imu', max(spans), items, tuple(filter(None, notes)))


def _read(path: Path, signal: Signal, rate: float, time_unit: str) -> timeline.Samples:
  """A file's samples, its time stamps sorted out."""
  where, wanted = str(path), rate or max(signal.rates)
  if path.stat().st_size > _MOST:
    raise UserError(f'{where}: has more than {_MOST} bytes; split it')
  data = path.read_bytes()
  if path.suffix.lower() in MATRICES:
    values, time = _matrix(data, signal, where), None
  else:
    values, time = _table(data, signal, time_unit, where)
  if time is None:
    if not wanted:
      raise UserError(f'{where}: has no time stamps, and the model does not tell a rate: --rate')
    return timeline.Samples(np.arange(len(values)) / wanted, values, {})
  return timeline.tidy(time, values, where)


def _table(
  data: bytes, signal: Signal, time_unit: str, where: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Values `[T, C]` and time stamps of a CSV file; None if it has none."""
  cut = data[:_HEAD]
  head = cut if len(data) <= _HEAD else cut[: cut.rfind(b'\n') + 1] or cut
  lines = csv_text.read_lines(head, where).rows
  if not lines:
    raise UserError(f'{where}: has no samples')
  names = [] if any(map(csv_text.is_value, lines[0])) else lines[0]
  width, wanted = len(lines[0]), len(signal.channels)
  stamps = [i for i, name in enumerate(names) if _TIME.fullmatch(name)]
  columns: list[str | int] = []
  time: int | None = None
  if width == wanted + 1:
    time = stamps[0] if stamps else 0
  elif width != wanted or stamps:
    places = {name.casefold(): i for i, name in enumerate(names)}
    columns = [places.get(name.casefold(), -1) for name, _ in signal.channels]
    if -1 in columns:
      checks.check_width(width - len(stamps[:1]), signal.channels, where)
    time = stamps[0] if stamps else None
  table = csv_file.read(data, where, columns, time, time_unit)
  checks.check_width(table.values.shape[1], signal.channels, where)
  checks.check_units(table.units, signal.channels, where)
  return table.values, table.time


def _matrix(data: bytes, signal: Signal, where: str) -> np.ndarray:
  """The one array `[T, C]` of a MAT file."""
  try:
    from data_builders import mat_file
  except ImportError as e:
    raise UserError(f'{where}: reading MAT files takes SciPy: pip install scipy') from e
  width = len(signal.channels)
  try:
    shapes = mat_file.shapes(data)
    fit = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == width]
    if len(fit) != 1:
      held = ', '.join(f'{name} {list(shape)}' for name, shape in shapes.items()) or 'nothing'
      raise UserError(f'{where}: has {held}; the model takes one array of {width} columns')
    return np.asarray(mat_file.read(data, fit[0]), np.float64)
  except UserError:
    raise
  except ImportError as e:
    raise UserError(f'{where}: is of MATLAB 7.3, which takes h5py: pip install h5py') from e
  except Exception as e:  # Whatever SciPy and HDF5 make of damaged files.
    raise UserError(f'{where}: not a readable MAT file ({" ".join(str(e).split())})') from e
