import os
import threading
import time

import pytest

from har.data import watch


@pytest.fixture
def children(monkeypatch):
  """Stand for this process's children; appending to it starts one."""
  found = []
  monkeypatch.setattr(watch.multiprocessing, 'active_children', lambda: list(found))
  return found


@pytest.fixture
def ended(monkeypatch):
  """Is set when this process would have ended; holds the status then."""
  event = threading.Event()

  def exit_(status):
    event.status = status
    event.set()
    threading.Event().wait()  # Nothing comes after it.

  monkeypatch.setattr(os, '_exit', exit_)
  monkeypatch.setattr(watch, 'GRACE_SECONDS', 0.5)
  return event


class Child:
  def __init__(self, exitcode=None):
    self.exitcode, self.killed = exitcode, False

  def kill(self):
    self.killed = True


def test_waiting_for_a_killed_process_ends(children, ended, capfd):
  children.append(Child(-9))  # Another loader's.
  watched = watch.Watch(enabled=True)
  children += [Child(), Child()]
  with watched:
    assert not ended.wait(2.2)
    children[1].exitcode = -9
    assert ended.wait(3)
  assert ended.status == 2
  assert [child.killed for child in children] == [False, True, True]
  assert capfd.readouterr().err == f'error: {watch.KILLED}\n'


def test_the_reason_follows_from_the_exit_code():
  for text in ('terminated unexpectedly with exit code -7. Search', '[-7]', '[None, -7]'):
    assert watch.reason(text) == watch.SHARED
  for text in ('exit code -9.', '[-77]', '[7, 1]', ''):
    assert watch.reason(text) == watch.KILLED


@pytest.mark.parametrize('how', ['not waiting', 'stopped', 'ended by its own loader', 'disabled'])
def test_nothing_else_ends(how, children, ended):
  watched = watch.Watch(enabled=how != 'disabled')
  children.append(Child(-9))
  if how == 'ended by its own loader':
    other = watch.Watch(enabled=True)
    other._mine.add(children[0])
    other.stop()
  if how == 'stopped':
    watched.stop()
  if how == 'not waiting':
    time.sleep(2.2)
  else:
    with watched:
      time.sleep(2.2)
  watched.stop()
  assert not ended.is_set()
