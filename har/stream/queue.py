"""What has come and was not asked for yet, bounded: the oldest is dropped, and counted."""

import collections
import heapq
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from har.stream.counters import Counters
from har.stream.recordings import Item

LONGEST = 2.0
"""Seconds that anything is kept at most: 30 frames of 640x480 are 14 MB."""
_MOST = 10_000  # Of each source, whatever comes at once.


class Arrived(NamedTuple):
  """What came, and when: `time.monotonic()`."""

  item: Item
  at: float


Batch = Sequence[Arrived]


class Queue:
  """Between the threads that read sources and the one that works.

  Args:
    sources: how many there are; each calls `close` at its end.
    counters: whose `dropped` is kept.
    longest: see `LONGEST`.
  """

  def __init__(self, sources: int, counters: Counters, longest: float = LONGEST):
    self._open, self._counters, self._longest = sources, counters, longest
    self._waiting: dict[str, collections.deque[Arrived]] = collections.defaultdict(
      collections.deque
    )
    self._changed = threading.Condition()
    self._fault: BaseException | None = None

  def put(self, item: Item) -> None:
    """Takes what has just come; nothing more after a fault."""
    with self._changed:
      if self._fault is not None:
        return
      waiting = self._waiting[item.source]
      if len(waiting) == _MOST:
        self._drop(waiting)
      waiting.append(Arrived(item, time.monotonic()))
      self._drop_old()
      self._changed.notify()

  def close(self, fault: BaseException | None = None) -> None:
    """One source has ended; with a fault, `get` raises it after what came before."""
    with self._changed:
      self._open -= 1
      self._fault = self._fault or fault
      self._changed.notify()

  def get(self, timeout: float) -> Batch:
    """All that waits, in the order of time; nothing if nothing comes.

    Raises:
      EOFError: all sources have ended, and nothing waits.
    """
    with self._changed:
      self._changed.wait_for(lambda: self._fault or not self._open or self._any(), timeout)
      self._drop_old()
      if not self._any():
        if self._fault is not None:
          raise self._fault
        if not self._open:
          raise EOFError
      found = list(heapq.merge(*self._waiting.values(), key=lambda one: one.item.time))
      self._waiting.clear()
      return found

  def _drop_old(self) -> None:
    oldest = time.monotonic() - self._longest
    for waiting in self._waiting.values():
      while waiting and waiting[0].at < oldest:
        self._drop(waiting)

  def _drop(self, waiting: collections.deque[Arrived]) -> None:
    self._counters.dropped[waiting.popleft().item.source] += 1

  def _any(self) -> bool:
    return any(self._waiting.values())
