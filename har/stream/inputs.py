"""An input of an exported model: rows of what is recorded, and windows of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_builders import flow as flows
from data_builders import video as films
from data_builders.windows import rows as rows_of
from har.data import video
from har.errors import UserError
from har.stream.exported import SOURCES, Arrays
from har.stream.grid import FrameGrid, Rows, SignalGrid
from har.stream.preprocess import Clip, run

# How prepared datasets say what they store, see `data_builders`.
_APART = re.compile(r'([\d.]+) (s|frames?) on')
_STORED = re.compile(r'JPEG, quality (\d+), short side (?:at most|reduced to) (\d+) pixels')
_REGIONS = {'square': 'centre', 'whole': 'whole'}
"""`har.data.video.REGIONS` by the step that makes squares of them."""


class Input:
  """A signal, and the rows that have come for it.

  Attributes:
    name: of the input.
    source: 'imu' or 'video'.
    rates: rows a second, of each sensor where there are several.
    seconds: how long its windows are in training; 0 if its description does not say.
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
    self._width = about['shape'][-1] // len(self.rates)
    self._grids = self._new_grids(about, source_rate)

  def _new_grids(self, about: Mapping[str, Any], source_rate: float) -> list[Any]:
    del about, source_rate
    return [SignalGrid(rate, self._width) for rate in self.rates]

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
    if sensor is not None:
      self._grids[sensor].push(time, value)
    else:
      for i, grid in enumerate(self._grids):
        grid.push(time, value[i * self._width : (i + 1) * self._width])

  def end(self) -> None:
    """No more will come."""

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
    clip = run(self._clip(start, seconds), self.steps)
    found = {self.name: clip.x[None].astype(np.float32)}
    if clip.mask is not None:
      found[f'{self.name}_mask'] = clip.mask[None].astype(np.float32)
    return found

  def _clip(self, start: float, seconds: float) -> Clip:
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


class Frames(Input):
  """A video's pictures, cut to squares when they come."""

  def _new_grids(self, about: Mapping[str, Any], source_rate: float) -> list[Any]:
    (rate,) = self.rates
    return [FrameGrid(rate, source_rate or rate, self._framer(about))]

  def _framer(self, about: Mapping[str, Any]) -> Callable[[Any], np.ndarray]:
    """From a frame as it is seen to uint8 `[S, S, 3]`, by way of what datasets store."""
    jpeg, (size, region) = _STORED.search(str(about.get('stored'))), self._square

    def prepare(frame: Any) -> np.ndarray:
      if jpeg is None:
        return video.square(frame.to_image(), size, region)
      small = films.shrink(frame, int(jpeg[2]), int(jpeg[1]))
      return video.rgb_clip([small], np.zeros(1, int), size, region)[0]

    return prepare

  @property
  def _square(self) -> tuple[int, str]:
    """The side in pixels, and which region of a picture becomes a square."""
    (step,) = (step for step in self.steps if step['operation'] in _REGIONS)
    return step['size'], _REGIONS[step['operation']]

  def push(self, time: float, value: Any, sensor: int | None = None) -> None:
    del sensor
    self._grids[0].push(time, value)

  def end(self) -> None:
    self._grids[0].end()

  def row(self, number: int) -> tuple[Any, np.ndarray] | None:
    pictures, heard = self._grids[0].rows.take(number, 1)
    return (pictures[0], heard) if pictures else None

  def _clip(self, start: float, seconds: float) -> Clip:
    (rate,) = self.rates
    first, count = rows_of(rate, start, seconds)
    pictures, heard = self._shown(first, count)
    last, held = pictures[int(heard.argmax())], []
    for picture in pictures:  # Where no frame came, the one before stays; at the start, the first.
      last = last if picture is None else picture
      held.append(last)
    if self._cut:
      held += held[-1:] * (count - len(held))
    return Clip(np.stack(held), heard)

  def _shown(self, first: int, count: int) -> tuple[list[Any], np.ndarray]:
    """Pictures of a window, None where no frame came, and where they are."""
    return self._grids[0].rows.take(first, count)


class Flow(Frames):
  """Optical flow between a video's frames, found when the later one comes."""

  def _framer(self, about: Mapping[str, Any]) -> Callable[[Any], np.ndarray]:
    """From a frame to uint8 `[H, W]` as flow is found in it."""
    stored = str(about.get('stored'))
    jpeg, apart = _STORED.search(stored), _APART.search(stored)
    if jpeg is None or apart is None or not stored.startswith(flows.NOTE):
      raise UserError(
        f'the description of the input {self.name} does not say of which frames its flow is, or '
        'names another method than is used now: prepare the data and train again'
      )
    later = float(apart[1]) * (self.rates[0] if apart[2] == 's' else 1)
    self._apart, self._moved, self._dis = max(round(later), 1), Rows(), flows.estimator()
    side, quality = int(jpeg[2]), int(jpeg[1])
    return lambda frame: flows.grey(films.shrink(frame, side, quality))

  def push(self, time: float, value: Any, sensor: int | None = None) -> None:
    super().push(time, value, sensor)
    self._follow()

  def end(self) -> None:
    super().end()
    self._follow()

  def _follow(self) -> None:
    rows = self._grids[0].rows
    while (at := self._moved.end) + self._apart < rows.end:
      (before,), (after,) = rows.take(at, 1)[0], rows.take(at + self._apart, 1)[0]
      if before is None or after is None:
        self._moved.append(None, False)
        continue
      picture = flows.pack(self._dis.calc(before, after, None))
      self._moved.append(video.flow_clip([picture], np.zeros((1, 1), int), *self._square)[0], True)

  def forget(self, before: float) -> None:
    # Of the frames, those that flow is still to be found from are kept.
    super().forget(min(before, self._moved.end / self.rates[0]))
    self._moved.forget(rows_of(self.rates[0], before, 0.0)[0])

  def _shown(self, first: int, count: int) -> tuple[list[Any], np.ndarray]:
    """As `data_builders.flow.encode`: frames that none is so much later than have the last flow."""
    there = len(self._grids[0].rows.take(first, count)[0])
    if there <= self._apart:
      raise UserError(f'{there} frames are too few for optical flow')
    pictures, heard = self._moved.take(first, there - self._apart)
    heard = np.append(heard, np.full(self._apart, heard[-1]))
    return pictures + pictures[-1:] * self._apart, heard


def stored_side(about: Mapping[str, Any]) -> int:
  """Pixels of the short side of what data sets store of a video, by an input's description; 0 if it
  does not say."""
  found = _STORED.search(str(about.get('stored')))
  return int(found[2]) if found else 0


KINDS: dict[str, type[Input]] = {'signal': Input, 'frames': Frames, 'flow': Flow}


def build(name: str, about: Mapping[str, Any], source_rate: float) -> Input:
  """An input from its description, see `Input`."""
  return KINDS[about['kind']](name, about, source_rate)
