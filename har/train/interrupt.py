"""Stopping on SIGTERM or Ctrl-C at a step boundary, with everything saved."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
  """Training was asked to stop and has saved its state; the message says where."""


class StopSignal:
  """Turns the first SIGTERM or SIGINT into a flag; a second one has its usual effect.

  With several processes JAX catches SIGTERM, so that they stop together, and SIGINT is left alone.
  """

  def __init__(self) -> None:
    self._event = threading.Event()
    self._previous: dict[int, object] = {}

  def __enter__(self) -> 'StopSignal':
    # Python allows handlers in the main thread only; elsewhere nothing is caught. A handler of
    # ours would take the place of JAX's, which is not Python's.
    if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)  # type: ignore[arg-type]

  def _handle(self, number: int, _: FrameType | None) -> None:
    self._event.set()
    signal.signal(number, self._previous[number])  # type: ignore[arg-type]

  def requested(self, step: int) -> bool:
    """True once this process, or with several of them any, has been asked to stop.

    All processes get the same answer at the same step.
    """
    if jax.process_count() == 1:
      return self._event.is_set()
    return multihost_utils.reached_preemption_sync_point(step)

  @property
  def heard(self) -> bool:
    """Whether to stop before the next step; with several processes, which agree on one, never."""
    return self._event.is_set()
