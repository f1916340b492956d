"""What a page sends over a WebSocket.

The first message is JSON: `{"type": "start", "imu": {"rate": 60}, "video": {"rate": 15}}`, of the
two what will be sent, with its rate. Then come binary messages, little-endian, time in seconds from
any instant on, the same for both:

    byte 1, float64 time, a JPEG           a frame
    byte 2, float64 time, float64 x C, ... samples, one or several

and at the end `{"type": "stop"}`.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from har.errors import UserError
from har.stream import checks
from har.stream.recordings import Item
from har.stream.serve.limits import BAD_DATA, NOT_ALLOWED, Limits, Refused
from har.stream.serve.offers import Offer, Sources

FRAME, SAMPLES = 1, 2
_JPEG = b'\xff\xd8\xff'
_HEAD = struct.Struct('<Bd')
_LATEST = 1e10  # Seconds: 1970 and some centuries.
_LARGEST = 1e6  # Of a sample, in whatever unit.


def text(data: str, limits: Limits) -> dict[str, Any]:
  """A message that is text.

  Raises:
    Refused: it is not an object of JSON that has a type.
  """
  if len(data) > limits.text:
    raise Refused(NOT_ALLOWED, f'text of more than {limits.text} characters')
  try:
    found = json.loads(data)
  except (ValueError, RecursionError):
    raise Refused(BAD_DATA, 'text that is not JSON') from None
  if not isinstance(found, dict) or found.get('type') not in ('start', 'stop'):
    raise Refused(BAD_DATA, 'JSON that is neither {"type": "start", ...} nor {"type": "stop"}')
  return found


def start(message: Mapping[str, Any], offers: Mapping[Sources, Offer]) -> dict[str, float]:
  """The rates of what will be sent, by source.

  Raises:
    Refused: it is not what the model takes.
  """
  if message['type'] != 'start':
    raise Refused(NOT_ALLOWED, 'a stream begins with {"type": "start", ...}')
  given = {name: one for name, one in message.items() if name != 'type'}
  if not given or not given.keys() <= {'imu', 'video'}:
    raise Refused(BAD_DATA, 'start names what is sent: imu, video or both, and nothing else')
  rates: dict[str, float] = {}
  for name, one in given.items():
    rate = one.get('rate') if isinstance(one, dict) and len(one) == 1 else None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1000:
      raise Refused(BAD_DATA, f'start: {name} is {{"rate": samples or frames a second}}')
    rates[name] = float(rate)
  offer = offers.get(frozenset(rates))
  if offer is None:
    there = ', or '.join(' and '.join(sorted(one)) for one in offers)
    raise Refused(NOT_ALLOWED, f'the model takes {there}, not {" and ".join(sorted(rates))}')
  try:
    for name, wanted in offer.rates.items():
      if wanted:
        checks.check_rate(rates[name], wanted, name)
  except UserError as e:
    raise Refused(NOT_ALLOWED, str(e).partition(';')[0]) from None
  return rates


class Reader:
  """Makes items of the binary messages of one stream.

  Frames stay JPEG: they are decoded by who works on them, if they are not dropped before.
  """

  def __init__(self, offer: Offer, rates: Mapping[str, float], limits: Limits):
    self._sources, self._limits = frozenset(rates), limits
    self._width = 1 + len(offer.signal.channels) if offer.signal is not None else 0
    self._first: float | None = None
    self._latest: dict[str, float] = {}

  def items(self, data: bytes, elapsed: float) -> Iterator[Item]:
    """What a message holds, `elapsed` seconds after the first.

    Raises:
      Refused: it is broken, or of a time that cannot be.
    """
    if data[:1] == bytes([FRAME]) and 'video' in self._sources:
      if len(data) < _HEAD.size + len(_JPEG) or not data.startswith(_JPEG, _HEAD.size):
        raise Refused(BAD_DATA, 'a frame that is not JPEG')
      yield Item('video', self._time('video', _HEAD.unpack_from(data)[1], elapsed), data[9:])
    elif data[:1] == bytes([SAMPLES]) and 'imu' in self._sources:
      yield from self._samples(data, elapsed)
    else:
      raise Refused(BAD_DATA, 'a message of a kind that the start did not name')

  def _samples(self, data: bytes, elapsed: float) -> Iterator[Item]:
    count, rest = divmod(len(data) - 1, 8 * self._width)
    if rest or not 0 < count <= self._limits.samples:
      told = f'a time and {self._width - 1} values each, float64'
      raise Refused(BAD_DATA, f'samples that are not 1 to {self._limits.samples} of {told}')
    rows = np.frombuffer(data, '<f8', offset=1).reshape(count, self._width)
    if not (np.abs(rows[:, 1:]) <= _LARGEST).all():
      raise Refused(BAD_DATA, 'a sample that is not finite, or beyond any sensor')
    for time, *values in rows.tolist():
      yield Item('imu', self._time('imu', time, elapsed), np.array(values))

  def _time(self, source: str, time: float, elapsed: float) -> float:
    """Seconds from the first stamp on; what is before it is at it."""
    if not abs(time) <= _LATEST:
      raise Refused(BAD_DATA, 'a time that no clock tells')
    if self._first is None:
      self._first = time
    time -= self._first
    if time > elapsed + self._limits.ahead:
      raise Refused(NOT_ALLOWED, f'times more than {self._limits.ahead:g} s ahead of the clock')
    if time < self._latest.get(source, 0.0) - self._limits.back:
      raise Refused(NOT_ALLOWED, f'times that go back by more than {self._limits.back:g} s')
    self._latest[source] = max(time, self._latest.get(source, 0.0))
    return max(time, 0.0)
