"""Goes through sources, says what is found and writes it down."""

import dataclasses
import datetime
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from har.errors import UserError
from har.evaluate.files import write_text
from har.stream import recordings
from har.stream.counters import Counters
from har.stream.queue import Arrived, Batch, Queue
from har.stream.recordings import Item, Recording
from har.stream.session import Found, Session

_WAIT = 0.2  # Seconds after which a stop that was asked for is noticed.
_EVERY = 10.0  # Seconds from one writing of the counters to the next.
_BEHIND = 0.25  # Seconds of waiting after which all is taken before a window is computed.
# Seconds of waiting, but for those in which windows were computed, after which what has come is
# dropped. Where taking is what computes, those count, too.
_LATEST, _LATEST_ROW = 0.5, 0.4


class Clock:
  """Seconds since it was first asked."""

  def __init__(self) -> None:
    self._lock, self._start = threading.Lock(), 0.0

  def seconds(self) -> float:
    with self._lock:
      self._start = self._start or time.monotonic()
      return time.monotonic() - self._start


def at_once(sources: Sequence[Recording], stopped: Callable[[], bool]) -> Iterator[Batch]:
  """What sources hold, in the order of time, as fast as it is asked for; nothing is dropped."""
  for item in recordings.merged(sources):
    if stopped():
      return
    yield [Arrived(item, time.monotonic())]


def at_their_pace(
  sources: Sequence[tuple[Recording, bool]], counters: Counters, stopped: Callable[[], bool]
) -> Iterator[Batch]:
  """What sources give while they give it: each time all that waits.

  Files begin with the first of all sources; others when they are first heard.

  Args:
    sources: each with whether it is live, and no file.
    counters: see `Queue`.
    stopped: whether to end.

  Yields:
    Nothing where nothing came for a while.
  """
  queue, clock = Queue(len(sources), counters), Clock()

  def read(one: Recording, live: bool) -> None:
    fault: BaseException | None = None
    try:
      offset: float | None = None
      for item in one.items():
        if offset is None:
          now = clock.seconds()
          offset = now if live else 0.0
        item = item._replace(time=item.time + offset)
        if not live:
          time.sleep(max(item.time - clock.seconds(), 0.0))
        queue.put(item)
    except BaseException as e:
      fault = e
    queue.close(fault)

  for one, live in sources:
    threading.Thread(target=read, args=(one, live), daemon=True).start()
  while not stopped():
    try:
      yield queue.get(_WAIT)
    except EOFError:
      return


class Log(Protocol):
  """Where events are kept."""

  def append(self, record: Mapping[str, Any]) -> None:
    """Keeps one; it is on the disk when this returns."""


def say(record: Mapping[str, Any]) -> None:
  """Tells something on standard output, as a line of JSON.

  Raises:
    UserError: nobody reads it.
  """
  try:
    print(json.dumps(record, ensure_ascii=False), flush=True)
  except BrokenPipeError:
    # Whoever listened has gone; Python would complain once more at the end.
    sys.stdout = open('/dev/null', 'w')  # noqa: SIM115
    raise UserError('nobody reads standard output any more') from None


@dataclasses.dataclass
class Follower:
  """Takes what comes, and tells of it.

  Attributes:
    session: of the model.
    counters: that are kept.
    log: of events; None: they are told, and not kept.
    windows: whether what is said of every window is told, too.
    report: file of the counters; None: they are told at the end alone.
    say: takes what is told, ready for JSON.
    prepare: makes what a session takes of what came, once it is clear that it is not dropped.
    completed: what completed the window that was looked at last.
  """

  session: Session
  counters: Counters
  log: Log | None = None
  windows: bool = False
  report: Path | None = None
  say: Callable[[Mapping[str, Any]], None] = say
  prepare: Callable[[Item], Item] = lambda item: item
  completed: Arrived | None = None
  _latest: Arrived | None = None
  _computed: float = 0.0
  _written: float = dataclasses.field(default_factory=time.monotonic)

  def follow(self, arrivals: Iterator[Batch]) -> dict[str, Any]:
    """Goes on to the end, and tells the counters last; returns them.

    Raises:
      UserError: a source fails, after what came before and the counters have been told; or the log.
    """
    fault = None
    try:
      for batch in arrivals:
        self._take_all(batch)
        if self.report and time.monotonic() > self._written + _EVERY:
          self._report()
    except recordings.SourceError as e:
      fault = e
    self.completed = self._latest
    for found in self.session.end():
      self._tell(found)
    counted = self._report()
    self.say({'state': 'counters', **counted})
    if fault is not None:
      raise fault
    return counted

  def _take_all(self, batch: Batch) -> None:
    behind = decided = False
    for one in batch:
      behind = behind or time.monotonic() - one.at > _BEHIND
      self._take(one)
      if self.session.windows.row_by_row or not behind:
        decided = self._decide() or decided
    if not decided:  # Else more has come since, with which a newer window may have ended.
      self._decide()

  def _take(self, one: Arrived) -> None:
    now, windows = time.monotonic(), self.session.windows
    latest = _LATEST_ROW if windows.row_by_row else _LATEST
    if windows.live and now - max(one.at, self._computed) > latest:
      self.counters.dropped[one.item.source] += 1
      return
    self.counters.taken[one.item.source] += 1
    self.counters.waited.add(now - one.at)
    before = windows.complete
    windows.take(*self.prepare(one.item))
    self._latest = one
    if windows.complete > before:
      self.completed = one

  def _decide(self) -> bool:
    """Whether anything came of it."""
    found = self.session.decide()
    for one in found:
      if one.decision is not None and self.completed is not None:
        self.counters.latency.add(time.monotonic() - self.completed.at)
      self._tell(one)
    if found and not self.session.windows.row_by_row:
      self._computed = time.monotonic()
    return bool(found)

  def _tell(self, found: Found) -> None:
    decision, labels = found.decision, self.session.model.labels
    if decision is not None:
      self.counters.windows['known' if decision.known else 'unknown'] += 1
      if self.windows:
        told: dict[str, Any] = {'start': round(decision.start, 4), 'end': round(decision.end, 4)}
        p = decision.probabilities
        if p is not None:
          told |= {'class': labels[int(p.argmax())], 'confidence': round(float(p.max()), 4)}
          told['probabilities'] = [round(float(x), 4) for x in p]
        if decision.score is not None:
          told['score'] = round(decision.score, 6)
        if decision.lacking:
          told['lacking'] = list(decision.lacking)
        self.say({'state': 'window', **told})
    for what, event in found.events:
      self.counters.events[what] += 1
      record = {'state': what, **event.plain()}
      if self.log is not None:
        now = datetime.datetime.now(datetime.UTC)
        self.log.append(record | {'at': now.isoformat(timespec='milliseconds')})
      self.say(record)

  def counted(self) -> dict[str, Any]:
    """The counters, for JSON."""
    inputs = self.session.windows.inputs
    found = self.counters.plain()
    found['unordered'] = {name: one.unordered for name, one in inputs.items()}
    found['windows']['passed_over'] = self.session.windows.passed_over
    return found

  def _report(self) -> dict[str, Any]:
    found = self.counted()
    if self.report is not None:
      write_text(self.report, f'{json.dumps(found, indent=1)}\n')
    self._written = time.monotonic()
    return found
