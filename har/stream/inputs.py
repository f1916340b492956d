"""An input of an exported model: rows of what is recorded, and windows of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_builders import video as films
from data_builders.windows import rows as rows_of
from har.data import video
from har.errors import UserError
from har.stream.exported import SOURCES, Arrays
from har.stream.grid import FrameGrid, SignalGrid
from har.stream.preprocess import Clip, run

# How prepared datasets say that they store JPEG, see `data_builders`.
_STORED = re.compile(r'JPEG, quality (\d+), short side (?:at most|reduced to) (\d+) pixels')


class Input:
  """One input, and the rows that have come for it.

  Attributes:
    name: of the input.
    source: 'imu' or 'video'.
    rates: rows a second, of each sensor where there are several.
    seconds: how long its windows are in training; 0 if its description does not say.
    step: seconds from one window to the next, likewise.
    channels: of a signal, (name, unit) of each.
    steps: of the preprocessing, without the cutting of windows.
  """

  def __init__(self, name: str, about: Mapping[str, Any], source_rate: float):
    """Takes an input's description, and the rate of what is recorded, 0 if it is not known.

    Raises:
      UserError: neither tells the rate.
    """
    self.name, self.source = name, SOURCES[about['kind']]
    first, *rest = about['steps']
    self._cut = first['operation'] == 'window'
    self.steps: Sequence[Mapping[str, Any]] = rest if self._cut else about['steps']
    rate = about.get('rate_hz') or source_rate
    rates = next((s['rates'] for s in self.steps if s.get('rates')), [rate])
    if not all(rates):
      raise UserError(f'the model does not tell the rate of its input {name}: give --rate')
    self.rates = tuple(map(float, rates))
    self.seconds = first['seconds'] if self._cut else about.get('rows', 0) / max(self.rates)
    if not self.seconds and self.source == 'imu':
      self.seconds = next(s['length'] for s in self.steps if 'length' in s) / max(self.rates)
    self.step = first['step'] if self._cut else None
    self.channels = [(one['name'], one['unit']) for one in about['channels']]
    self._width = about['shape'][-1] // len(self.rates)
    self._grids = self._new_grids(about, source_rate)

  def _new_grids(self, about: Mapping[str, Any], source_rate: float) -> list[Any]:
    if self.source == 'imu':
      return [SignalGrid(rate, self._width) for rate in self.rates]
    size = next(s['size'] for s in self.steps if s['operation'] == 'square')
    (rate,) = self.rates
    return [FrameGrid(rate, source_rate or rate, _framer(str(about.get('stored')), size))]

  @property
  def unordered(self) -> int:
    """Samples or frames left out because they came with stamps of the past."""
    return sum(grid.unordered for grid in self._grids)

  @property
  def duration(self) -> float:
    """Seconds of rows that are there, of the sensor that has fewest."""
    pairs = zip(self._grids, self.rates, strict=True)
    return min(grid.rows.end / rate for grid, rate in pairs)

  def push(self, time: float, value: Any, sensor: int | None = None) -> None:
    """Takes a frame, or a sample `[C]` of all sensors or of one."""
    if self.source == 'video':
      self._grids[0].push(time, value)
    elif sensor is not None:
      self._grids[sensor].push(time, value)
    else:
      for i, grid in enumerate(self._grids):
        grid.push(time, value[i * self._width : (i + 1) * self._width])

  def end(self) -> None:
    """No more will come."""
    if self.source == 'video':
      self._grids[0].end()

  def span(self, start: float, seconds: float) -> tuple[int, int]:
    """A window's first row, and how many it has, at the highest rate."""
    return rows_of(max(self.rates), start, seconds)

  def row(self, number: int) -> tuple[Any, np.ndarray] | None:
    """A row of a video or of sensors of one rate: a picture or `[C]`, and bool `[S]`, which sensors
    were heard; None if it has not come."""
    found = [grid.rows.take(number, 1) for grid in self._grids]
    if not all(len(values) for values, _ in found):
      return None
    heard = np.concatenate([one for _, one in found])
    if self.source == 'video':
      return found[0][0][0], heard
    return np.concatenate([values[0] for values, _ in found]), heard

  def reaches(self, start: float, seconds: float) -> bool:
    """Whether all rows of a window are there."""
    windows = (rows_of(rate, start, seconds) for rate in self.rates)
    return all(g.rows.end >= a + n for g, (a, n) in zip(self._grids, windows, strict=True))

  def forget(self, before: float) -> None:
    """Drops rows before so many seconds."""
    for grid, rate in zip(self._grids, self.rates, strict=True):
      grid.rows.forget(rows_of(rate, before, 0.0)[0])

  def heard(self, start: float, seconds: float) -> float:
    """The share of a window that was recorded, 0 to 1, of the sensor that has most."""
    shares = []
    for grid, rate in zip(self._grids, self.rates, strict=True):
      first, count = rows_of(rate, start, seconds)
      shares.append(float(grid.rows.take(first, count)[1].sum()) / count)
    return max(shares)

  def window(self, start: float, seconds: float) -> Arrays:
    """What the model takes, `[1, ...]`: the input, and its mask if the steps make one."""
    clip = self._signal(start, seconds) if self.source == 'imu' else self._clip(start, seconds)
    clip = run(clip, self.steps)
    found = {self.name: clip.x[None].astype(np.float32)}
    if clip.mask is not None:
      found[f'{self.name}_mask'] = clip.mask[None].astype(np.float32)
    return found

  def _clip(self, start: float, seconds: float) -> Clip:
    (rate,) = self.rates
    first, count = rows_of(rate, start, seconds)
    pictures, heard = self._grids[0].rows.take(first, count)
    shown, held = pictures[int(heard.argmax())], []
    for picture in pictures:  # Where no frame came, the one before stays; at the start, the first.
      shown = shown if picture is None else picture
      held.append(shown)
    if self._cut:
      held += held[-1:] * (count - len(held))
    return Clip(np.stack(held), heard)

  def _signal(self, start: float, seconds: float) -> Clip:
    windows = [rows_of(rate, start, seconds) for rate in self.rates]
    found = [g.rows.take(a, n) for g, (a, n) in zip(self._grids, windows, strict=True)]
    length = max(len(values) for values, _ in found)
    if self._cut:
      length = max(count for _, count in windows)
    x = np.zeros((length, self._width * len(self.rates)), np.float32)
    heard = np.zeros((length, len(self.rates)), bool)
    for s, (values, one) in enumerate(found):
      x[: len(values), s * self._width : (s + 1) * self._width] = values
      heard[: len(values), s] = one
    masked = any(step['operation'].endswith('_sensors') for step in self.steps)
    if not masked and len(found[0][0]) < length:
      x[len(found[0][0]) :] = found[0][0][-1]
    return Clip(x, heard)


def _framer(stored: str, size: int) -> Callable[[Any], np.ndarray]:
  """From a frame as it is seen to uint8 `[size, size, 3]`, by way of what datasets store."""
  jpeg = _STORED.search(stored)

  def prepare(frame: Any) -> np.ndarray:
    if jpeg is None:
      return video.square(frame.to_image(), size)
    small = films.shrink(frame, int(jpeg[2]), int(jpeg[1]))
    return video.rgb_clip([small], np.zeros(1, int), size)[0]

  return prepare
