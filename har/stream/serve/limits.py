"""What is taken from strangers, at most."""

import dataclasses
import time

BAD_DATA, NOT_ALLOWED, TOO_BIG, FAILED, LATER = 1007, 1008, 1009, 1011, 1013
"""Codes with which a WebSocket is closed (RFC 6455, section 7.4.1, and IANA's registry)."""


class Refused(Exception):
  """Something that came in is not taken.

  Attributes:
    code: of HTTP, or that a WebSocket is closed with.
    reason: one line.
  """

  def __init__(self, code: int, reason: str):
    super().__init__(reason)
    self.code, self.reason = code, ' '.join(reason.split())


@dataclasses.dataclass(frozen=True)
class Limits:
  """Of one server.

  Attributes:
    connections: at once.
    streams: that are followed at once.
    message: bytes of one message of a stream.
    text: bytes of one that is text.
    samples: in one message.
    messages, volume: messages and bytes a second, from each stream; twice that at once.
    ahead: seconds that stamps may be ahead of the clock.
    back: seconds that a stamp may be before the latest.
    begin: seconds until a stream must have said what it sends, or a request has its headers.
    idle: seconds without a message; and until what is sent must have been taken.
    upload: bytes.
    uploading: seconds that it may take.
    predicting: seconds that the timeline of a recording may take.
  """

  connections: int = 64
  streams: int = 4
  message: int = 2**20
  text: int = 2**12
  samples: int = 256
  messages: float = 250.0
  volume: float = 2.0**23
  ahead: float = 60.0
  back: float = 1.0
  begin: float = 10.0
  idle: float = 20.0
  upload: int = 2**28
  uploading: float = 300.0
  predicting: float = 600.0


class Rate:
  """How much comes in a second (token bucket)."""

  def __init__(self, per_second: float):
    self._rate = per_second
    self._left, self._at = 2 * per_second, time.monotonic()

  def take(self, amount: float) -> bool:
    """Whether so much more is within the rate."""
    now = time.monotonic()
    self._left = min(self._left + (now - self._at) * self._rate, 2 * self._rate) - amount
    self._at = now
    return self._left >= 0
