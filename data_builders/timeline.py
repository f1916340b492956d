"""Samples with time stamps, as devices write them, onto an even grid with a mask.

What is done about stamps, once for all datasets:

- Stamps are exact, each sample's own; or times of arrival: a device takes samples at a steady rate
  and they are stamped when a packet of them is delivered; or whole seconds. All are sorted, and
  values interpolated linearly at the grid's instants. Before that, of samples with one exact stamp
  the mean is taken, those of one whole second are spread evenly over it, and times of arrival are
  replaced by sampling times, see `clocks.sampling_times`.
- A clock that was set in mid-recording, forward by more than `max_pause` or back, is taken back by
  what it jumped (or what lies on the other side of the jumps is cut off), see `clocks.untangle`.
- Longer than `max_gap` without a sample, the sensor counts as silent: the mask is false, values 0.

Whatever was found is counted, so that a builder can report it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_builders import clocks
from har.errors import UserError

MAX_GAP = 0.5
MAX_PAUSE = 60.0
_HAIR = 1e-4  # Of a row: what rounding takes from a whole number of them.


@dataclasses.dataclass(frozen=True)
class Samples:
  """One sensor's samples, tidied.

  Attributes:
    time: float64 `[T]`, seconds, strictly ascending.
    values: float64 `[T, C]`.
    oddities: how often it occurs, of what occurs: `unsorted` (steps back), `repeated` (rows with
      a stamp that is there before), `late` (rows in packets that came late), `jumps_forward`,
      `jumps_back`, `cut` (rows on the other sides of jumps), `lost` (losses of samples between
      bursts) and `arrival` (1: stamps were times of arrival).
    pieces: between the clock's jumps.
  """

  time: np.ndarray
  values: np.ndarray
  oddities: dict[str, int]
  pieces: tuple[clocks.Piece, ...] = ()


@dataclasses.dataclass(frozen=True)
class Series:
  """One sensor's values at evenly spaced instants.

  Attributes:
    values: float32 `[N, C]`, zero where the mask is false.
    mask: bool `[N]`: false where the sensor was silent.
    start: seconds, on the clock of the stamps, of row 0. Row i is i / rate later.
    rate: rows a second.
    oddities: see `Samples`; also `gaps`, silences within the recording.
    samples: that the values are interpolated from.
    max_gap: seconds without a sample that are no silence yet.
  """

  values: np.ndarray
  mask: np.ndarray
  start: float
  rate: float
  oddities: dict[str, int]
  samples: Samples
  max_gap: float

  def seconds(self, stamps: float | Sequence[float] | np.ndarray) -> np.ndarray:
    """Seconds after row 0 of instants on the recording's own clock, jumps taken into account.

    An instant that the clock showed more than once is the first of them.
    """
    stamps = np.asarray(stamps, np.float64)
    shift = np.zeros(stamps.shape)
    # Of the pieces that begin before an instant the last; better, the first that reaches it.
    for piece in self.samples.pieces:
      shift = np.where(stamps >= piece.stamps[0], piece.shift, shift)
    for piece in reversed(self.samples.pieces):
      inside = (stamps >= piece.stamps[0]) & (stamps <= piece.stamps[1])
      shift = np.where(inside, piece.shift, shift)
    return stamps + shift - self.start


def check_values(values: np.ndarray, where: str) -> None:
  """Raises UserError if a value is not finite or does not fit float32."""
  if values.size and not (
    np.isfinite(values).all() and np.abs(values).max() <= np.finfo(np.float32).max
  ):
    raise UserError(f'{where}: has values that are not finite, or too large for float32')


def tidy(
  time: np.ndarray,
  values: np.ndarray,
  where: str,
  *,
  stamps: str = 'auto',
  jumps: str = 'align',
  max_gap: float = MAX_GAP,
  max_pause: float = MAX_PAUSE,
) -> Samples:
  """Sorts out a sensor's stamps.

  Args:
    time: seconds `[T]`, in the order of the file's rows, T at least 1. On any clock; to keep
      microseconds, count from a day that is near.
    values: `[T, C]`.
    where: how to name the file.
    stamps: 'exact', 'arrival', 'seconds', or 'auto': 'arrival' if less than a tenth of the time
      passes in the shorter half of the intervals, else 'exact'.
    jumps: what is done about a clock that was set: 'align' takes back what it jumped, so that
      recording goes on; 'cut' keeps the longest piece between jumps.
    max_gap: seconds without a sample that are no silence yet.
    max_pause: steps forward by more than these seconds are jumps; `inf`: none are.

  Raises:
    UserError: no samples, as many stamps as values are not there, one is not finite, or a value
      does not fit float32.
  """
  time, values = np.asarray(time, np.float64), np.asarray(values, np.float64)
  if not len(time) or time.shape != values.shape[:1]:
    raise UserError(f'{where}: {len(time)} time stamps for {len(values)} samples')
  if not np.isfinite(time).all():
    raise UserError(f'{where}: has time stamps that are not finite')
  check_values(values, where)
  oddities = {
    'unsorted': int((np.diff(time) < 0).sum()),
    'repeated': len(time) - len(np.unique(time)),
  }
  time, pieces, found = clocks.untangle(time, max_gap, max_pause)
  oddities |= found
  if len(pieces) > 1 and jumps == 'cut':
    longest, kept = _longest(pieces, len(time))
    oddities['cut'] = len(time) - (kept.stop - kept.start)
    time, values = time[kept] - longest.shift, values[kept]
    pieces = [dataclasses.replace(longest, first=0, shift=0.0)]
  order = np.argsort(time, kind='stable')
  time, values = time[order], values[order]
  arrival = stamps == 'arrival' or (stamps == 'auto' and clocks.are_bursts(time, max_gap))
  if arrival and time[-1] > time[0]:
    oddities['arrival'] = 1
    starts = np.flatnonzero(np.isin(order, [piece.first for piece in pieces[1:]]))
    time, oddities['lost'] = clocks.sampling_times(time, starts.tolist())
  elif stamps == 'seconds':
    time = _spread(time)
  else:
    time, values = _means(time, values)
  oddities = {name: count for name, count in oddities.items() if count}
  return Samples(time, values, oddities, tuple(pieces))


def _longest(pieces: Sequence[clocks.Piece], count: int) -> tuple[clocks.Piece, slice]:
  """The piece of most rows, of `count` in all, and which they are."""
  ends = [*(piece.first for piece in pieces[1:]), count]
  rows = [slice(piece.first, end) for piece, end in zip(pieces, ends, strict=True)]
  longest = max(range(len(rows)), key=lambda i: rows[i].stop - rows[i].start)
  return pieces[longest], rows[longest]


def _spread(time: np.ndarray) -> np.ndarray:
  """Samples with one stamp are spread evenly over the second after it."""
  _, first, group, count = np.unique(
    time, return_index=True, return_inverse=True, return_counts=True
  )
  return time + (np.arange(len(time)) - first[group]) / count[group]


def _means(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Samples with one stamp become one, their mean."""
  _, first, group, count = np.unique(
    time, return_index=True, return_inverse=True, return_counts=True
  )
  total = np.zeros((len(first), values.shape[1]))
  np.add.at(total, group, values)
  return time[first], total / count[:, None]


def regular(
  time: np.ndarray,
  values: np.ndarray,
  rate: float,
  where: str,
  *,
  stamps: str = 'auto',
  jumps: str = 'align',
  max_gap: float | None = None,
  max_pause: float = MAX_PAUSE,
) -> Series:
  """Brings a sensor's samples onto an even grid that begins with the first of them.

  Args:
    time: see `tidy`, as are those that are not here.
    values: `[T, C]`.
    rate: rows a second of the result. Values are interpolated, not filtered: with a rate far below
      the sensor's own, what is faster than half of it is folded into the result.
    where: how to name the file.
    stamps: see `tidy`.
    jumps: see `tidy`.
    max_gap: seconds without a sample that are no silence yet; None: 0.5, but at least 2 rows.
    max_pause: see `tidy`.

  Raises:
    UserError: what `tidy` raises.
  """
  max_gap = max(MAX_GAP, 2 / rate) if max_gap is None else max_gap
  samples = tidy(
    time, values, where, stamps=stamps, jumps=jumps, max_gap=max_gap, max_pause=max_pause
  )
  return series(samples, rate, max_gap)


def series(samples: Samples, rate: float, max_gap: float = MAX_GAP) -> Series:
  """The values of tidied samples at instants 1 / rate apart; without samples, an empty one."""
  if not len(samples.time):
    empty = np.zeros(samples.values.shape, np.float32)
    return Series(empty, np.zeros(0, bool), 0.0, rate, {}, samples, max_gap)
  start = float(samples.time[0])
  count = int((samples.time[-1] - start) * rate + _HAIR) + 1
  values, mask = _at(samples, start + np.arange(count) / rate, rate, max_gap)
  gaps = int((np.diff(samples.time) > max_gap).sum())
  oddities = samples.oddities | ({'gaps': gaps} if gaps else {})
  return Series(values, mask, start, rate, oddities, samples, max_gap)


def absent(channels: int, rate: float) -> Series:
  """A sensor that there is no recording of, to be merged with others."""
  return series(Samples(np.zeros(0), np.zeros((0, channels)), {}), rate)


def merge(sensors: Mapping[str, Series]) -> tuple[np.ndarray, np.ndarray]:
  """Puts sensors of one clock side by side, each at its own rate, from one instant on.

  Row i of a sensor is its value i / rate seconds after the earliest sample of any sensor: one with
  half the highest rate fills half the rows, and the rest is zero (Choi et al., Section 4.2). Values
  are interpolated from the samples once, at these instants.

  Args:
    sensors: by name, in the order of the channels; `absent` for those that there are not.

  Returns:
    float32 `[N, sum of C]` and its mask, bool `[N, S]`: false before a sensor's first and after its
    last sample, in silences, where its rows end and if it is absent. N is 0 if all are absent.
  """
  present = [one for one in sensors.values() if len(one.samples.time)]
  length, start = 0, 0.0
  highest = max((one.rate for one in sensors.values()), default=1.0)
  if present:
    start = min(one.samples.time[0] for one in present)
    end = max(one.samples.time[-1] for one in present)
    length = int((end - start) * highest + _HAIR) + 1
  columns, masks = [], []
  for one in sensors.values():
    values = np.zeros((length, one.values.shape[1]), np.float32)
    mask = np.zeros(length, bool)
    if len(one.samples.time):
      count = int((length - 1) * one.rate / highest) + 1
      at = start + np.arange(count) / one.rate
      values[:count], mask[:count] = _at(one.samples, at, one.rate, one.max_gap)
    columns.append(values)
    masks.append(mask)
  return np.concatenate(columns, 1), np.stack(masks, 1)


def _at(
  samples: Samples, at: np.ndarray, rate: float, max_gap: float
) -> tuple[np.ndarray, np.ndarray]:
  """Linear interpolation at ascending instants, float32 `[N, C]`, and where it holds."""
  mask = _covered(samples.time, at, 1 / rate, max_gap)
  channels = [np.interp(at, samples.time, one) for one in samples.values.T]
  return np.where(mask[:, None], np.stack(channels, -1), 0).astype(np.float32), mask


def _covered(time: np.ndarray, at: np.ndarray, period: float, max_gap: float) -> np.ndarray:
  """Whether each instant is between samples that are near enough, or next to one."""
  right = np.searchsorted(time, at)
  left = np.clip(right - 1, 0, len(time) - 1)
  right = np.clip(right, 0, len(time) - 1)
  between = (time[left] <= at) & (at <= time[right]) & (time[right] - time[left] <= max_gap)
  near = np.minimum(np.abs(at - time[left]), np.abs(at - time[right])) <= period / 2
  return between | near
