"""Asked to stop, one process heeds it at its next look, and several of them together."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from har.train.interrupt import StopSignal
from tests.launching import ROOT

_PROCESS = """
import os, signal, sys, time
import jax
from har.train.interrupt import StopSignal

number = int(sys.argv[2])
jax.distributed.initialize(sys.argv[1], 2, number)
with StopSignal() as stop:
  for step in range(1, 100):
    if step == 4 and number == 0:
      os.kill(os.getpid(), signal.SIGTERM)
    if stop.requested(step):
      print(step)
      break
    time.sleep(0.1)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_one_process_hears_the_first_signal(number):
  before = signal.getsignal(number)
  with StopSignal() as stop:
    assert not stop.heard
    os.kill(os.getpid(), number)
    assert stop.heard
    assert stop.requested(3)
    assert signal.getsignal(number) is before  # Of a second one.


def test_several_processes_stop_at_the_same_step():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', _PROCESS, address, str(i)],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]
  try:
    ends = [process.communicate(timeout=120) for process in processes]
  finally:
    for process in processes:
      process.kill()
  steps = {out.strip() for out, _ in ends}
  assert len(steps) == 1, ends
  assert 4 <= int(steps.pop()) < 50
