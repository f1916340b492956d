"""One stream: from the messages of a page to what it is told."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from har.stream.counters import Counters
from har.stream.follow import Follower
from har.stream.log import EventLog
from har.stream.options import Options
from har.stream.queue import Batch, Queue
from har.stream.recordings import Item
from har.stream.serve.jpeg import Decoder
from har.stream.serve.offers import Offer
from har.stream.session import Session

Say = Callable[[Mapping[str, Any]], None]
_WAIT = 0.2  # Seconds after which the counters are looked at, if nothing comes.
_EVERY = 1.0  # Seconds from one telling of the counters to the next.


class _Named:
  """A log of several streams."""

  def __init__(self, log: EventLog, number: int):
    self._log, self._number = log, number

  def append(self, record: Mapping[str, Any]) -> None:
    self._log.append({'stream': self._number, **record})


class Live:
  """Follows what is put into it, in a thread of its own.

  Attributes:
    counters: of what came.
  """

  def __init__(
    self,
    offer: Offer,
    rates: Mapping[str, float],
    options: Options,
    log: EventLog | None,
    number: int,
  ):
    """Opens the model, which takes a while.

    Raises:
      UserError: it cannot be opened any more.
    """
    self.counters = Counters()
    self._queue = Queue(1, self.counters)
    self._session = Session(offer.open(), rates, options, live=True)
    kept = _Named(log, number) if log is not None else None
    self._decode = Decoder()
    self._follower = Follower(
      self._session, self.counters, kept, windows=True, say=self._tell, prepare=self._prepare
    )
    self._say: Say = lambda record: None
    self._told = time.monotonic()

  def put(self, item: Item) -> None:
    """Takes what has just come; frames are JPEG."""
    self._queue.put(item)

  def close(self) -> None:
    """Nothing more will come."""
    self._queue.close()

  def run(self, say: Say) -> None:
    """Goes on until it is closed.

    Args:
      say: is told windows, events, and every second the counters; of a window `after` is the time
        of the frame or sample that completed it.

    Raises:
      UserError: a frame cannot be decoded, or the log cannot be written.
    """
    self._say = say
    self._follower.follow(self._arrivals())

  def _prepare(self, item: Item) -> Item:
    return item._replace(value=self._decode(item.value)) if item.source == 'video' else item

  def _arrivals(self) -> Iterator[Batch]:
    while True:
      try:
        yield self._queue.get(_WAIT)
      except EOFError:
        return
      if time.monotonic() > self._told + _EVERY:
        self._told = time.monotonic()
        self._say({'state': 'counters', **self._follower.counted()})

  def _tell(self, record: Mapping[str, Any]) -> None:
    completed = self._follower.completed
    if record['state'] == 'window' and completed is not None:
      record = {**record, 'after': completed.item.time}
    self._say(record)
