"""A study's commands are heard, and a stop request reaches the one that runs, once."""

import os
import pathlib
import signal
import sys
import threading
import time

from har.study.launcher import Ended, Launcher

_SLEEPER = """
import pathlib, signal, sys, time
asked = []
for number in (signal.SIGTERM, signal.SIGINT):
  signal.signal(number, lambda number, _: asked.append(number))
pathlib.Path(sys.argv[1]).touch()
end = time.monotonic() + 60
while not asked and time.monotonic() < end:
  time.sleep(0.01)
time.sleep(0.2)
print('stopped:', [int(n) for n in asked], file=sys.stderr)
"""


def run(launcher, code, *args, **environment):
  return launcher.run([sys.executable, '-c', code, *args], environment)


def test_what_a_command_says_is_shown_and_kept(capfd):
  code = "import os, sys; print('a\\rb', file=sys.stderr); sys.exit(f'error: {os.environ[\"X\"]}')"
  with Launcher() as launcher:
    ended = run(launcher, code, X='é')
  assert ended == Ended(1, ('a', 'b', 'error: é'))
  assert ended.error == 'é'
  assert 'error: é' in capfd.readouterr().err
  assert not launcher.stopped


def test_a_signal_is_handed_on_once(tmp_path):
  before = signal.getsignal(signal.SIGTERM)
  ready = tmp_path / 'ready'
  with Launcher() as launcher:
    asking = threading.Thread(target=_ask_when, args=[ready])
    asking.start()
    ended = run(launcher, _SLEEPER, str(ready))
    asking.join()
    assert launcher.stopped
  assert ended.status == 0
  assert ended.said[-1] == f'stopped: [{int(signal.SIGTERM)}]'
  assert signal.getsignal(signal.SIGTERM) is before


def _ask_when(ready: pathlib.Path):
  end = time.monotonic() + 60
  while not ready.exists() and time.monotonic() < end:
    time.sleep(0.01)
  os.kill(os.getpid(), signal.SIGTERM)
