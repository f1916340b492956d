"""Processes that share a study do each run once, and a kill leaves nothing behind that stops it."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from har.errors import UserError
from har.evaluate import folds
from har.study import claims, grid, registry, run
from har.study.row import Asked, Row
from tests.har.study.leavings import Pretended

ROWS = [
  Row('first', 'configs/a.py', folds.numbered(2), benchmark=False),
  Row('last', 'configs/b.py', folds.numbered(2), benchmark=False),
]
_HOLDER = """
import pathlib, sys, time
from har.study import claims
with claims.held(pathlib.Path(sys.argv[1])) as mine:
  print(mine, flush=True)
  time.sleep(60)
"""


class Toy:
  @staticmethod
  def rows(asked):
    return ROWS

  @staticmethod
  def picture(measured):
    return None


@pytest.fixture(autouse=True)
def study(monkeypatch):
  monkeypatch.setitem(registry.STUDIES, 'toy', Toy)


def options(tmp_path, **changes):
  return run.Options('toy', Asked('toy'), tmp_path, seeds=2, **changes)


def table(tmp_path):
  """What is written, but for what tells of this process."""
  content = json.loads((tmp_path / 'study.json').read_text())
  content['facts'].pop('minutes')
  return content, (tmp_path / 'study.csv').read_text()


def plan(tmp_path):
  return grid.plan(ROWS, 2, tmp_path, ())


def test_a_claim_is_held_once_and_goes_with_its_process(tmp_path):
  path = tmp_path / 'claims' / 'one'
  command = [sys.executable, '-c', _HOLDER, str(path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
    assert holder.stdout.readline() == 'True\n'
    with claims.held(path) as mine:
      assert not mine
    holder.kill()
    holder.wait()
    with claims.held(path) as mine:
      assert mine
  with claims.held(path, wait=True) as mine:
    assert mine


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
  def no_locks(*_):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', no_locks)
  with (
    pytest.raises(UserError, match='one: this file system has no locks'),
    claims.held(tmp_path / 'one'),
  ):
    pass


def test_what_another_process_does_is_left_to_it_and_the_last_one_writes_the_whole_table(
  tmp_path, capsys
):
  alone, shared = tmp_path / 'alone', tmp_path / 'shared'
  run.run(options(alone), Pretended(alone))
  theirs = plan(shared)['first'][1]
  mine, other = Pretended(shared), Pretended(shared)
  with claims.held(theirs.claim):
    run.run(options(shared), mine)
    assert len(mine.ran) == 7
    assert f'{theirs.folder}: another process does it' in capsys.readouterr().err
    content, _ = table(shared)
    assert content['facts']['rows'] == '1 of 2'
    assert {row['model'] for row in content['rows']} == {'last'}
  run.run(options(shared), other)
  assert other.ran == [('first', 0, 'fold_2', 'train')]
  assert table(shared)[0]['rows'] == table(alone)[0]['rows']
  assert table(shared)[1] == table(alone)[1]


class Killed(BaseException):
  """In place of SIGKILL: nothing of the study's own comes after it."""


class Interrupted(Pretended):
  """Is killed at one command, before it leaves anything, within, or right after it."""

  def __init__(self, root, at, moment):
    super().__init__(root)
    self.at, self.moment = at, moment

  def run(self, command, environment):
    if len(self.ran) == self.at and self.moment == 'before':
      raise Killed
    ended = super().run(command, environment)
    if len(self.ran) == self.at + 1:
      if self.moment == 'within':  # Claimed, and not evaluated.
        folder = dict(word.partition('=')[::2] for word in command[2:])['--workdir']
        os.remove(f'{folder}/results.json')
      raise Killed
    return ended


@pytest.mark.parametrize('moment', ['before', 'within', 'after'])
def test_a_study_that_is_killed_at_any_command_and_continued_writes_the_same_table(
  tmp_path, moment
):
  alone = tmp_path / 'alone'
  run.run(options(alone), Pretended(alone))
  for at in range(8):
    root = tmp_path / f'killed_{at}'
    with pytest.raises(Killed):
      run.run(options(root), Interrupted(root, at, moment))
    again = Pretended(root)
    _, failures = run.run(options(root), again)
    assert not failures
    assert len(again.ran) == 8 - at  # That which was killed is run again.
    assert table(root) == table(alone)


def test_a_command_goes_with_the_study_that_is_killed(tmp_path):
  ready = tmp_path / 'pid'
  child = f'import os, pathlib, time; pathlib.Path({str(ready)!r}).write_text(str(os.getpid()))'
  code = f"""
import sys
from har.study.launcher import Launcher
with Launcher() as launcher:
  launcher.run([sys.executable, '-c', {child + '; time.sleep(60)'!r}], {{}})
"""
  if not sys.platform.startswith('linux'):
    pytest.skip('only Linux tells a process of the end of its parent')
  with subprocess.Popen([sys.executable, '-c', code]) as study:
    while not ready.exists() or not ready.read_text():
      os.sched_yield()
    number = int(ready.read_text())
    study.send_signal(signal.SIGKILL)
    study.wait()
  for _ in range(1000):
    if not alive(number):
      return
    os.sched_yield()
    subprocess.run(['true'], check=True)
  raise AssertionError('the command goes on')


def alive(number):
  """Whether a process runs; one that waits for its status to be read does not."""
  try:
    with open(f'/proc/{number}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False
