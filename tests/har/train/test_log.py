"""What is told of training is true."""

import types

import pytest

from har.train import log


@pytest.fixture
def clock(monkeypatch):
  """A clock that only moves when told to."""
  now = types.SimpleNamespace(seconds=100.0)
  monkeypatch.setattr(log, 'time', types.SimpleNamespace(monotonic=lambda: now.seconds))
  return now


def test_the_share_of_waiting_is_of_the_time_since_the_last_row(clock):
  wait = log.DataWait()
  for busy, waiting in ((3.0, 1.0), (2.0, 4.0)):
    clock.seconds += busy
    with wait.data():
      clock.seconds += waiting
  assert wait.share() == 0.5
  clock.seconds += 50  # validating
  wait.restart()
  clock.seconds += 3
  with wait.data():
    clock.seconds += 1
  assert wait.share() == 0.25
  assert wait.waited == 6.0


def test_waiting_counts_only_where_devices_have_nothing_to_do(clock):
  wait = log.DataWait()
  for ready, waiting in ((False, 3.0), (True, 1.0)):
    with wait.data(types.SimpleNamespace(is_ready=lambda ready=ready: ready)):
      clock.seconds += waiting
  assert wait.waited == 1.0
  assert wait.share() == 0.25
