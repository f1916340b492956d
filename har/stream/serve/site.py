"""What the parts of one server share."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from har.stream.log import EventLog
from har.stream.options import Options
from har.stream.serve.limits import Limits
from har.stream.serve.offers import Offer, Sources


class Totals:
  """Counters of all streams, those that have ended included."""

  def __init__(self) -> None:
    self._lock = threading.Lock()
    self._numbers = itertools.count(1)
    self._past: Counter[tuple[str, str]] = Counter()
    self._live: dict[int, Mapping[str, Any]] = {}
    self._refused: Counter[int] = Counter()

  @contextlib.contextmanager
  def stream(self) -> Iterator[int]:
    """A new stream's number; when it ends, what was counted of it is kept."""
    number = next(self._numbers)
    with self._lock:
      self._live[number] = {}
    try:
      yield number
    finally:
      with self._lock:
        self._past.update(_flat(self._live.pop(number)))
        self._past['streams', ''] += 1

  def count(self, number: int, counted: Mapping[str, Any]) -> None:
    """Takes what a stream has counted up to now."""
    with self._lock:
      self._live[number] = counted

  def refuse(self, code: int) -> None:
    """Something was refused with this code."""
    with self._lock:
      self._refused[code] += 1

  @property
  def open(self) -> int:
    """Streams that go on."""
    return len(self._live)

  def text(self) -> str:
    """For Prometheus (text format 0.0.4)."""
    with self._lock:
      total, live, refused = Counter(self._past), list(self._live.values()), dict(self._refused)
    for one in live:
      total.update(_flat(one))
    lines = []
    for name, (key, label, meaning) in _METRICS.items():
      lines += [f'# HELP har_{name} {meaning}', f'# TYPE har_{name} counter']
      for (found, value), count in sorted(total.items()):
        if found == key:
          told = f'{{{label}="{value}"}}' if label else ''
          lines.append(f'har_{name}{told} {count}')
    lines += ['# HELP har_refused_total What was refused, by the code it was told.']
    lines += ['# TYPE har_refused_total counter']
    lines += [f'har_refused_total{{code="{code}"}} {n}' for code, n in sorted(refused.items())]
    lines += ['# HELP har_streams Streams that go on.', '# TYPE har_streams gauge']
    lines.append(f'har_streams {len(live)}')
    for name, meaning in _SPANS.items():
      worst = max((one[f'{name}_ms']['p95'] for one in live if one), default=0.0)
      lines += [f'# HELP har_{name}_p95_seconds {meaning}', f'# TYPE har_{name}_p95_seconds gauge']
      lines.append(f'har_{name}_p95_seconds {worst / 1e3:g}')
    return '\n'.join(lines) + '\n'


_METRICS = {
  'taken_total': ('taken', 'source', 'Frames and samples that went into streams.'),
  'dropped_total': ('dropped', 'source', 'Frames and samples dropped because later ones had come.'),
  'unordered_total': ('unordered', 'input', 'Samples and frames left out for stamps of the past.'),
  'windows_total': ('windows', 'state', 'Windows that something was said of, or nothing.'),
  'events_total': ('events', 'state', 'Events.'),
  'streams_total': ('streams', '', 'Streams that have ended.'),
}
_SPANS = {
  'waited': 'What came waited so long or less in 95% of cases, in the worst of the streams.',
  'latency': 'From what completed a window to what was said of it, likewise.',
}


def _flat(counted: Mapping[str, Any]) -> dict[tuple[str, str], int]:
  return {
    (key, name): count
    for key in ('taken', 'dropped', 'unordered', 'windows', 'events')
    for name, count in counted.get(key, {}).items()
  }


@dataclasses.dataclass(frozen=True)
class Site:
  """A server.

  Attributes:
    offers: models by what they follow.
    options: of windows and events.
    flags: of `har.stream.predict`, the model, options and all.
    limits: of what comes in.
    log: of events.
    totals: counters.
    working: held while a recording is gone through.
    threads: one for each stream.
  """

  offers: Mapping[Sources, Offer]
  options: Options
  flags: tuple[str, ...]
  limits: Limits = dataclasses.field(default_factory=Limits)
  log: EventLog | None = None
  totals: Totals = dataclasses.field(default_factory=Totals)
  working: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
  threads: concurrent.futures.ThreadPoolExecutor = dataclasses.field(init=False)

  def __post_init__(self) -> None:
    pool = concurrent.futures.ThreadPoolExecutor(self.limits.streams, 'stream')
    object.__setattr__(self, 'threads', pool)
