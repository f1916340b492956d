"""A study's commands are heard, and a stop request reaches the one that runs, once."""

import os
import signal
import sys
import threading

from har.study.launcher import Ended, Launcher

_SLEEPER = """
import signal, sys, time
asked = []
for number in (signal.SIGTERM, signal.SIGINT):
  signal.signal(number, lambda number, _: asked.append(number))
print('ready', file=sys.stderr, flush=True)
while not asked:
  time.sleep(0.01)
time.sleep(0.2)
print('stopped:', [int(n) for n in asked], file=sys.stderr)
"""


def run(launcher, code, **environment):
  return launcher.run([sys.executable, '-c', code], environment)


def test_what_a_command_says_is_shown_and_kept(capfd):
  code = "import os, sys; print('a\\rb', file=sys.stderr); sys.exit(f'error: {os.environ[\"X\"]}')"
  with Launcher() as launcher:
    ended = run(launcher, code, X='é')
  assert ended == Ended(1, ('a', 'b', 'error: é'))
  assert ended.error == 'é'
  assert 'error: é' in capfd.readouterr().err
  assert not launcher.stopped


def test_a_signal_is_handed_on_once(capfd):
  before = signal.getsignal(signal.SIGTERM)
  with Launcher() as launcher:

    def ask():
      while 'ready' not in (shown := capfd.readouterr().err):
        assert not shown
      os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    ended = run(launcher, _SLEEPER)
    asking.join()
    assert launcher.stopped
  assert ended.status == 0
  assert ended.said[-1] == f'stopped: [{int(signal.SIGTERM)}]'
  assert signal.getsignal(signal.SIGTERM) is before
