#!/usr/bin/env bash
# JAX: a Python handler for SIGTERM silently ends multi-process preemption notices.
#
# Expected: after jax.distributed.initialize, reached_preemption_sync_point(step) becomes true at one
# step in all processes once any of them gets SIGTERM, whatever else the program does on SIGTERM; or
# else a handler that takes its place finds JAX's by signal.getsignal and can call it.
#
# What happens: JAX's notifier is a handler set below Python. signal.signal(SIGTERM, ...) afterwards
# takes its place, and gives the default action as what was there before, so nothing can be passed on:
# the program's handler runs, and the notice never comes. A handler set before initialize is the one
# that is lost: it is never called. No warning either way.
#
# Seen with jax 0.10.2 on Linux, two processes on one CPU: notice at the same step in both with no
# handler, and with one set before, which is not called; none in 40 steps with one set after.
#
# Instead: in a run of several processes set no handler of SIGTERM and ask JAX alone; in one process
# set your own.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

cat > process.py <<'PYTHON'
import os
import signal
import sys
import time

import jax
from jax.experimental import multihost_utils

address, number, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
called = []


def handle(*_):
  called.append(True)


if when == 'before':
  signal.signal(signal.SIGTERM, handle)
jax.distributed.initialize(address, 2, number)
before = 'no handler of ours yet'
if when == 'after':
  before = signal.signal(signal.SIGTERM, handle)
  assert before is signal.SIG_DFL, before
notice = None
for step in range(1, 41):
  if step == 4 and number == 0:
    os.kill(os.getpid(), signal.SIGTERM)
  if multihost_utils.reached_preemption_sync_point(step):
    notice = step
    break
  time.sleep(0.1)
print(notice, bool(called), flush=True)
PYTHON

cat > check.py <<'PYTHON'
import socket
import subprocess
import sys

import jax

print('jax', jax.__version__)


def run(when):
  """Of each process: the step of the notice, and whether the program's handler was called."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  command = [sys.executable, 'process.py', address]
  started = [
    subprocess.Popen([*command, str(i), when], stdout=subprocess.PIPE, text=True)
    for i in range(2)
  ]
  return [one.communicate(timeout=180)[0].split() for one in started]


seen = {when: run(when) for when in ('never', 'before', 'after')}
for when, ends in seen.items():
  print(f'handler set {when}: (step of the notice, handler called) by process: {ends}')

for when in ('never', 'before'):
  steps = {step for step, _ in seen[when]}
  assert len(steps) == 1 and 'None' not in steps, when
  assert all(called == 'False' for _, called in seen[when]), when
assert [step for step, _ in seen['after']] == ['None', 'None']
assert seen['after'][0][1] == 'True'
PYTHON
venv/bin/python check.py
