"""Queues and counters are bounded."""

import threading

import numpy as np
import pytest

from har.stream import queue as queue_lib
from har.stream.counters import Counters, Durations
from har.stream.queue import Queue
from har.stream.recordings import Item


def values(queue):
  return [one.item.value for one in queue.get(0.0)]


def test_the_oldest_is_dropped_and_counted(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(queue_lib.time, 'monotonic', lambda: now[0])
  counters = Counters()
  queue = Queue(2, counters, longest=0.45)
  for k in range(20):
    queue.put(Item('video', k / 10, k))
    now[0] += 0.1
  assert counters.dropped == {'video': 15}
  queue.put(Item('imu', 0.05, 'first'))
  now[0] += 0.1
  assert values(queue) == ['first', 17, 18, 19]  # By their stamps.
  assert counters.dropped == {'video': 17}
  assert values(queue) == []
  queue.put(Item('video', 9.0, 'last'))
  queue.close()
  queue.close()
  assert values(queue) == ['last']
  with pytest.raises(EOFError):
    queue.get(0.0)


def test_what_comes_in_a_burst_is_kept_as_long_as_it_fits(monkeypatch):
  monkeypatch.setattr(queue_lib, '_MOST', 7)
  counters = Counters()
  queue = Queue(1, counters, longest=60.0)
  for k in range(10):
    queue.put(Item('imu', float(k), k))
  assert values(queue) == list(range(3, 10))
  assert counters.dropped == {'imu': 3}


def test_a_fault_of_a_source_is_raised_where_it_is_read():
  queue = Queue(1, Counters())
  thread = threading.Timer(0.05, queue.close, [OSError('unplugged')])
  thread.start()
  with pytest.raises(OSError, match='unplugged'):
    queue.get(10.0)
  thread.join()


def test_what_came_before_a_fault_is_given_first():
  queue = Queue(2, Counters())
  queue.put(Item('video', 0.0, 'before'))
  queue.close(OSError('unplugged'))
  queue.put(Item('imu', 0.1, 'after'))  # Of the other source, which goes on.
  assert values(queue) == ['before']
  with pytest.raises(OSError, match='unplugged'):
    queue.get(0.0)


def test_quantiles_are_within_5_percent():
  rng, durations = np.random.default_rng(0), Durations()
  values = rng.lognormal(-4, 1, 20_000)
  for value in values:
    durations.add(value)
  for q in (0.5, 0.95, 0.99):
    assert durations.quantile(q) == pytest.approx(np.quantile(values, q), rel=0.05)
  assert durations.plain()['max'] == round(1e3 * values.max(), 3)
  assert len(durations._counts) < 300
  assert Durations().plain() == {'p50': 0.0, 'p95': 0.0, 'p99': 0.0, 'max': 0.0}
