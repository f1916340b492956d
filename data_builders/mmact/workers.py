"""Clips prepared side by side by processes of one machine."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence

from data_builders.mmact import clips
from har.errors import UserError


def available() -> int:
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _follow(parent: int) -> None:
  """Leaves it to the parent when to stop, and ends when the parent was killed."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(0.5)
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


def run(
  jobs: Sequence[clips.Job], work: pathlib.Path, workers: int, advance: Callable[[], None]
) -> Generator[clips.Outcome, None, None]:
  """Finishes jobs in the work folder and yields their outcomes, in no particular order.

  Args:
    jobs: what to do.
    work: the folder of what is finished.
    workers: processes; 0 does it in this one.
    advance: called after each.

  Raises:
    UserError: a worker process was killed; what is finished stays.
  """
  if workers == 0:
    for job in jobs:
      yield clips.ensure(job, work)
      advance()
    return
  # A forked process would inherit threads' locks, JAX's among them.
  context = multiprocessing.get_context('spawn')
  pool = concurrent.futures.ProcessPoolExecutor(
    min(workers, len(jobs)) or 1, context, initializer=_follow, initargs=(os.getpid(),)
  )
  try:
    for future in concurrent.futures.as_completed(
      [pool.submit(clips.ensure, job, work) for job in jobs]
    ):
      yield future.result()
      advance()
  except concurrent.futures.BrokenExecutor as error:
    raise UserError(
      'a process that prepares clips was killed, perhaps for want of memory; the same command '
      'continues, with fewer workers if need be'
    ) from error
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
