"""Notices when a process that loads data was killed."""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from typing import ClassVar

KILLED = (
  'a process that loads data was killed, perhaps for want of memory: the same command continues, '
  'with a smaller config.runtime.workers if need be'
)
SHARED = (
  'a process that loads data found no room in shared memory: give /dev/shm more (of a container: '
  '--shm-size), or set config.runtime.workers=0; the same command continues'
)
GRACE_SECONDS = 10.0


def reason(text: str) -> str:
  """What to say of a process that ended with the exit code in a text."""
  # Pages of a shared file that cannot be had end in SIGBUS.
  return SHARED if re.search(rf'{-signal.SIGBUS}\b', text) else KILLED


class Watch:
  """Ends this process, with status 2 and a line on stderr, where Grain would wait for ever.

  Grain tells of a killed process within seconds, except if it was killed while it wrote to its pipe
  or held a lock: then whoever reads on, or closes the pipe, is never woken. Nothing is lost by
  ending here that SIGKILL would not lose too: checkpoints are whole or absent.

  Used as a context manager, repeatedly, around calls that may wait for ever.

  Args:
    enabled: whether there are such processes at all.
  """

  _ended: ClassVar[set] = set()  # Processes whose loaders are closed, and may have killed them.

  def __init__(self, enabled: bool) -> None:
    self._others = set(multiprocessing.active_children())
    self._mine: set = set()
    self._waiting = float('inf')
    self._stopped = threading.Event()
    if enabled:
      threading.Thread(target=self._run, daemon=True).start()

  def __enter__(self) -> None:
    self._waiting = time.monotonic()

  def __exit__(self, *_: object) -> None:
    self._waiting = float('inf')

  def stop(self) -> None:
    """What ends from now on was meant to."""
    self._stopped.set()
    self._ended.update(self._mine)

  def _run(self) -> None:
    while not self._stopped.wait(1):
      self._mine |= set(multiprocessing.active_children()) - self._others
      codes = [process.exitcode for process in self._mine - self._ended if process.exitcode]
      if codes and time.monotonic() - self._waiting > GRACE_SECONDS:
        print('error:', reason(str(codes)), file=sys.stderr, flush=True)
        for process in self._mine:
          process.kill()
        os._exit(2)
