"""Time stamps as loggers write them, in seconds."""

import datetime
import re
from collections.abc import Sequence

import numpy as np

UNITS = {'s': 1.0, 'ms': 1e-3, 'us': 1e-6, 'ns': 1e-9}
"""Seconds in a unit of a numeric time stamp."""

_WORDS = {
  's': 's',
  'sec': 's',
  'secs': 's',
  'second': 's',
  'seconds': 's',
  'ms': 'ms',
  'msec': 'ms',
  'millis': 'ms',
  'milliseconds': 'ms',
  'us': 'us',
  'µs': 'us',
  'μs': 'us',
  'microseconds': 'us',
  'ns': 'ns',
  'nanos': 'ns',
  'nanoseconds': 'ns',
}
# Three digits after a colon are milliseconds, as Android's loggers write them; two may be frames.
_FRACTION = r'(?:(?:[.,]|:(?=\d{3}(?!\d)))(\d{1,9}))?'
_DATE = re.compile(
  rf'(\d{{4}}-\d\d-\d\d)[T _](\d\d:\d\d:\d\d){_FRACTION}\s*(Z|[+-]\d\d:?\d\d)?', re.ASCII
)
_CLOCK = re.compile(rf'(\d{{1,2}}):(\d\d):(\d\d){_FRACTION}', re.ASCII)
_DAY = 86400.0


def is_stamp(text: str) -> bool:
  """Whether it is a date and time of day by ISO 8601, or a time of day `HH:MM:SS`."""
  return bool(_DATE.fullmatch(text) or _CLOCK.fullmatch(text))


def unit(name: str, given: str) -> str:
  """The unit that a column's header gives for time, one of `UNITS`, or '' if it gives none.

  Args:
    name: of the column, such as `seconds_elapsed` or `timestamp_ms`.
    given: what the header has in brackets.
  """
  words = [given.lower()] if given else re.split(r'[_\s.]+', name.lower())
  found = {_WORDS[word] for word in words if word in _WORDS}
  return found.pop() if len(found) == 1 else ''


def parse(text: str) -> float:
  """Seconds of a stamp: since 1970 where it has a date (UTC if it names no zone), else of the day.

  Raises:
    ValueError: it is none, or no such date or time exists.
  """
  if date := _DATE.fullmatch(text):
    zone = (date[4] or 'Z').replace('Z', '+00:00')
    moment = datetime.datetime.fromisoformat(f'{date[1]}T{date[2]}{zone}')
    return moment.timestamp() + _fraction(date[3])
  if clock := _CLOCK.fullmatch(text):
    hour, minute, second = (int(part) for part in clock.groups()[:3])
    if hour > 23 or minute > 59 or second > 59:
      raise ValueError('no such time of day')
    return hour * 3600.0 + minute * 60 + second + _fraction(clock[4])
  raise ValueError('no time stamp')


def _fraction(digits: str | None) -> float:
  return int(digits) / 10 ** len(digits) if digits else 0.0


def over_midnight(seconds: np.ndarray, texts: Sequence[str]) -> tuple[np.ndarray, int]:
  """Times of day `[N]` that go on after midnight, and how many midnights there were."""
  if not texts or not _CLOCK.fullmatch(texts[0]):
    return seconds, 0
  midnights = np.diff(seconds, prepend=seconds[:1]) < -_DAY / 2
  return seconds + _DAY * np.cumsum(midnights), int(midnights.sum())
