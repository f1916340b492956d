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

from data_builders import litter
from data_builders.mmact import names
from har.errors import UserError

BASE_RATE = max(names.RATES.values())
# A clip takes at most a minute; beyond this a timestamp is wrong.
MAX_SECONDS = 300.0
# Without a sample for longer than this, a sensor counts as silent. Phones log with pauses.
MAX_GAP = 0.5
_MAX = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Readings:
  """One sensor's samples.

  Attributes:
    time: float64 [T], seconds since some midnight, strictly ascending.
    values: float64 [T, 3], as distributed.
    oddities: which of 'unsorted', 'repeated' and 'no_fraction' the file's timestamps were.
  """

  time: np.ndarray
  values: np.ndarray
  oddities: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def _day(text: str) -> float:
  if not (len(text) == 8 and text.isascii() and text.isdigit()):
    raise ValueError(f'no date: {text[:20]!r}')
  date = datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
  # Counted from a near day, so that microseconds are not lost.
  return (date - datetime.date(2018, 1, 1)).days * 86400.0


def parse_timestamp(text: str) -> tuple[float, bool]:
  """Seconds, and whether the timestamp has a fraction; ValueError if it is none."""
  day, _, clock = text.partition('_')
  hour, minute, second = clock.split(':')
  whole, dot, fraction = second.partition('.')
  digits = hour + minute + whole + fraction
  if not (len(hour) == len(minute) == len(whole) == 2 and digits.isascii() and digits.isdigit()):
    raise ValueError(f'no time: {text[:40]!r}')
  if not (int(hour) < 24 and int(minute) < 60 and int(whole) < 60):
    raise ValueError(f'no time: {text[:40]!r}')
  share = int(fraction) / 10 ** len(fraction) if fraction else 0.0
  return _day(day) + int(hour) * 3600 + int(minute) * 60 + int(whole) + share, bool(dot)


def _number(text: str) -> float:
  """A value; ValueError if it is none that float32 holds."""
  value = float(text)
  if not abs(value) <= _MAX:
    fault = 'is not finite' if 'n' in text.lower() else 'is more than float32 holds'
    raise ValueError(f'{text.strip()[:40]} {fault}')
  return value


def read(data: bytes, where: str) -> Readings | None:
  """Reads a sensor's file.

  Samples are sorted by time. Of samples with one timestamp the mean is taken; but where no
  timestamp in the file has a fraction, a second's samples are spread evenly over that second.

  Returns:
    None if the file has no rows.

  Raises:
    UserError: something else than samples, a line that is no sample, a value that is not finite or
      that float32 does not hold, or times too far apart.
  """
  litter.check(data, where)
  times, fractions, rows = [], [], []
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
      rows.append([_number(field) for field in fields[1:]])
    except ValueError as error:
      raise UserError(f'{where}, line {number}: not a sensor sample ({error})') from error
    times.append(seconds)
    fractions.append(has_fraction)
  if not rows:
    return None
  return _tidy(np.array(times), np.array(fractions), np.array(rows), where)


def _tidy(time: np.ndarray, fractions: np.ndarray, values: np.ndarray, where: str) -> Readings:
  if np.ptp(time) > MAX_SECONDS:
    raise UserError(f'{where}: its timestamps are {np.ptp(time):.0f} s apart; a clip is not')
  checks = {
    'unsorted': (np.diff(time) < 0).any(),
    'repeated': len(np.unique(time)) < len(time),
    'no_fraction': not fractions.all(),
  }
  order = np.argsort(time, kind='stable')
  time, values = time[order], values[order]
  _, first, group, count = np.unique(
    time, return_index=True, return_inverse=True, return_counts=True
  )
  if not fractions.any():
    time = time + (np.arange(len(time)) - first[group]) / count[group]
  else:
    total = np.zeros((len(first), 3))
    np.add.at(total, group, values)
    time, values = time[first], total / count[:, None]
  return Readings(time, values, tuple(name for name, true in checks.items() if true))


def align(readings: Mapping[str, Readings]) -> tuple[np.ndarray, np.ndarray]:
  """Brings an event's sensors to evenly spaced samples from one instant on.

  Row i of a sensor is its value i / rate seconds after the earliest sample of any sensor,
  interpolated linearly: every sensor keeps its own rate, and one with half the rate fills half the
  rows. The rest is zero (Choi et al., Section 4.2).

  Args:
    readings: by stream, those that there are.

  Returns:
    float32 [T, 3 * len(STREAMS)] and its mask, bool [T, len(STREAMS)]: false before a sensor's
    first and after its last sample, in pauses, where its rows end and if it is absent.
  """
  if not readings:
    return (
      np.zeros((0, 3 * len(names.STREAMS)), np.float32),
      np.zeros((0, len(names.STREAMS)), bool),
    )
  start = min(one.time[0] for one in readings.values())
  end = max(one.time[-1] for one in readings.values())
  # Microseconds are what timestamps resolve.
  length = int((end - start) * BASE_RATE + 1e-4) + 1
  signal = np.zeros((length, len(names.STREAMS), 3), np.float32)
  mask = np.zeros((length, len(names.STREAMS)), bool)
  for channel, stream in enumerate(names.STREAMS):
    if stream not in readings:
      continue
    one, rate = readings[stream], names.RATES[stream]
    count = int((length - 1) * rate / BASE_RATE) + 1
    at = start + np.arange(count) / rate
    heard = _heard(one.time, at, 1 / rate)
    values = np.stack([np.interp(at, one.time, one.values[:, axis]) for axis in range(3)], -1)
    signal[:count, channel] = np.where(heard[:, None], values, 0)
    mask[:count, channel] = heard
  return signal.reshape(length, -1), mask


def _heard(time: np.ndarray, at: np.ndarray, period: float) -> np.ndarray:
  """Whether each instant is between samples that are near enough, or next to one."""
  right = np.searchsorted(time, at)
  left = np.clip(right - 1, 0, len(time) - 1)
  right = np.clip(right, 0, len(time) - 1)
  between = (time[left] <= at) & (at <= time[right]) & (time[right] - time[left] <= MAX_GAP)
  near = np.minimum(np.abs(at - time[left]), np.abs(at - time[right])) <= period / 2
  return between | near


def check_together(readings: Mapping[str, Readings], places: Mapping[str, str]) -> None:
  """Checks that the last of some sensors was recorded at the same time as the first.

  Args:
    readings: by stream.
    places: how to name each stream's file.

  Raises:
    UserError: it was not.
  """
  reference, stream = next(iter(readings)), list(readings)[-1]
  first, time = readings[reference].time, readings[stream].time
  apart = max(time[0] - first[-1], first[0] - time[-1])
  if apart > MAX_GAP:
    raise UserError(
      f'{places[stream]}: recorded {apart:.1f} s apart from {places[reference]}, not together'
    )
