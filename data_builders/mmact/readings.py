"""Reads a wearable sensor's file, and brings an event's sensors to one clock.

A file has no header and rows `timestamp,x,y,z`, the timestamp as `%Y%m%d_%H:%M:%S.%f`, some without
the fraction. Rows may be unsorted and timestamps repeated.
"""

import codecs
import dataclasses
import datetime
import functools
from collections.abc import Mapping

import numpy as np

from data_builders import litter, timeline
from data_builders.mmact import names
from har.errors import UserError

# A clip takes at most a minute: a clock that went on by more was set, and beyond the latter a
# timestamp is wrong.
MAX_PAUSE = 60.0
MAX_SECONDS = 300.0
_MAX = float(np.finfo(np.float32).max)
ODDITIES = ('unsorted', 'repeated', 'no_fraction', 'clock_set')


@dataclasses.dataclass(frozen=True)
class Readings:
  """One sensor's samples.

  Attributes:
    samples: seconds since some midnight and values [T, 3] as distributed.
    oddities: which of `ODDITIES` the file's timestamps were.
  """

  samples: timeline.Samples
  oddities: tuple[str, ...] = ()


@functools.lru_cache(maxsize=256)
def _minute(text: str) -> int:
  """Seconds of `%Y%m%d_%H:%M`, counted from a near day, so that microseconds are not lost."""
  day, _, clock = text.partition('_')
  hour, _, minute = clock.partition(':')
  digits = day + hour + minute
  if not (
    len(day) == 8 and len(hour) == len(minute) == 2 and digits.isascii() and digits.isdigit()
  ):
    raise ValueError(f'no date and time: {text[:40]!r}')
  if not (int(hour) < 24 and int(minute) < 60):
    raise ValueError(f'no time: {text[:40]!r}')
  date = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:]))
  return (date - datetime.date(2018, 1, 1)).days * 86400 + int(hour) * 3600 + int(minute) * 60


def parse_timestamp(text: str) -> tuple[float, bool]:
  """Seconds, and whether the timestamp has a fraction; ValueError if it is none."""
  minute, _, second = text.rpartition(':')
  whole, dot, fraction = second.partition('.')
  digits = whole + fraction
  if not (len(whole) == 2 and digits.isascii() and digits.isdigit() and int(whole) < 60):
    raise ValueError(f'no time: {text[:40]!r}')
  share = int(fraction) / 10 ** len(fraction) if fraction else 0.0
  return _minute(minute) + int(whole) + share, bool(dot)


def read(data: bytes, where: str) -> Readings | None:
  """Reads a sensor's file.

  Samples are sorted by time; after a clock that was set in mid-recording they go on where they
  were. Of samples with one timestamp the mean is taken; but where no timestamp in the file has a
  fraction, a second's samples are spread evenly over that second.

  Returns:
    None if the file has no rows.

  Raises:
    UserError: something else than samples, a line that is no sample, a value that is not finite or
      that float32 does not hold, or times too far apart.
  """
  litter.check(data, where)
  times, fractions, rows, numbers = [], [], [], []
  try:
    lines = data.removeprefix(codecs.BOM_UTF8).decode('ascii').splitlines()
  except UnicodeDecodeError as error:
    raise UserError(f'{where}: not a text file of sensor samples') from error
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    fields = line.split(',')
    try:
      if len(fields) != 4:
        raise ValueError(f'{len(fields)} fields, not timestamp,x,y,z')
      seconds, has_fraction = parse_timestamp(fields[0].strip())
      rows.append([float(field) for field in fields[1:]])
    except ValueError as error:
      raise UserError(f'{where}, line {number}: not a sensor sample ({error})') from error
    times.append(seconds)
    fractions.append(has_fraction)
    numbers.append(number)
  if not rows:
    return None
  values = np.array(rows)
  for row, axis in np.argwhere(~(np.abs(values) <= _MAX)):
    text = lines[numbers[row] - 1].split(',')[axis + 1].strip()[:40]
    fault = 'not finite' if 'n' in text.lower() else 'more than float32 holds'
    raise UserError(f'{where}, line {numbers[row]}: not a sensor sample ({text} is {fault})')
  return _tidy(np.array(times), np.array(fractions), values, where)


def _tidy(time: np.ndarray, fractions: np.ndarray, values: np.ndarray, where: str) -> Readings:
  stamps = 'exact' if fractions.any() else 'seconds'
  samples = timeline.tidy(time, values, where, stamps=stamps, max_pause=MAX_PAUSE)
  span = np.ptp(samples.time)
  if span > MAX_SECONDS:
    raise UserError(f'{where}: its timestamps are {span:.0f} s apart; a clip is not')
  found = samples.oddities | {
    'no_fraction': int((~fractions).sum()),
    'clock_set': len(samples.pieces) - 1,
  }
  return Readings(samples, tuple(name for name in ODDITIES if found.get(name)))


def align(readings: Mapping[str, Readings]) -> tuple[np.ndarray, np.ndarray]:
  """Brings an event's sensors to evenly spaced samples from one instant on.

  Args:
    readings: by stream, those that there are.

  Returns:
    What `timeline.merge` does of `STREAMS`: float32 [T, 3 * len(STREAMS)] and its mask, bool
    [T, len(STREAMS)].
  """
  return timeline.merge(
    {
      stream: timeline.series(readings[stream].samples, names.RATES[stream])
      if stream in readings
      else timeline.absent(3, names.RATES[stream])
      for stream in names.STREAMS
    }
  )


def check_together(readings: Mapping[str, Readings], places: Mapping[str, str]) -> None:
  """Checks that the last of some sensors was recorded at the same time as the first.

  Args:
    readings: by stream.
    places: how to name each stream's file.

  Raises:
    UserError: it was not.
  """
  reference, stream = next(iter(readings)), list(readings)[-1]
  first, time = readings[reference].samples.time, readings[stream].samples.time
  apart = max(time[0] - first[-1], first[0] - time[-1])
  if apart > timeline.MAX_GAP:
    raise UserError(
      f'{places[stream]}: recorded {apart:.1f} s apart from {places[reference]}, not together'
    )
