"""Runs commands one after another, and hands a stop request on to the one that runs."""

import dataclasses
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from types import FrameType

# PR_SET_PDEATHSIG of linux/prctl.h, by a process that then becomes the command: between a fork and
# the command Python must not run where there are threads.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_KEPT = 2**16  # bytes of the end of what a command says


@dataclasses.dataclass(frozen=True)
class Ended:
  """How a command ended.

  Attributes:
    status: its exit status; below 0 the signal that ended it.
    said: the lines on stderr, the last ones of many.
  """

  status: int
  said: tuple[str, ...]

  @property
  def error(self) -> str:
    """What it said last of an error, or else last."""
    errors = [line for line in self.said if line.startswith('error: ')]
    if errors:
      return errors[-1].removeprefix('error: ')
    if self.status < 0:
      return f'ended by {signal.Signals(-self.status).name}'
    return self.said[-1] if self.said else f'ended with status {self.status}'


class Launcher:
  """A context in which SIGTERM and SIGINT go to the command that runs, which ends by itself.

  Attributes:
    stopped: whether there was such a signal.
  """

  def __init__(self) -> None:
    self._asked: list[int] = []
    self._passed_on = 0
    self._process: subprocess.Popen | None = None
    self._previous: dict[int, object] = {}

  @property
  def stopped(self) -> bool:
    return bool(self._asked)

  def __enter__(self) -> 'Launcher':
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)  # type: ignore[arg-type]

  def _handle(self, number: int, _: FrameType | None) -> None:
    self._asked.append(number)
    self._pass_on()

  def _pass_on(self) -> None:
    while self._process is not None and self._passed_on < len(self._asked):
      self._passed_on += 1
      self._process.send_signal(self._asked[self._passed_on - 1])

  def run(self, command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Runs a command to its end; what it says on stderr is shown, and kept.

    It is in a process group of its own: Ctrl-C reaches it once, from here. On Linux it is killed
    where this process is, so that the next one finds nobody at the run.

    Args:
      command: its words.
      environment: variables that are another than this process's.
    """
    terminal = sys.stderr.isatty()
    reader, writer = pty.openpty() if terminal else os.pipe()
    if terminal:  # So that its progress bars have the terminal's width.
      termios.tcsetwinsize(writer, termios.tcgetwinsize(sys.stderr))
    try:
      variables = {**os.environ, **environment}
      self._process = subprocess.Popen(
        _with_parent(command), stderr=writer, env=variables, process_group=0
      )
      os.close(writer)
      self._pass_on()  # What came before there was a process.
      kept = b''
      while part := _read(reader):
        kept = (kept + part)[-_KEPT:]
        sys.stderr.write(part.decode('utf-8', 'replace'))
        sys.stderr.flush()
      status = self._process.wait()
    finally:
      os.close(reader)
      self._process = None
    lines = re.split('[\r\n]+', kept.decode('utf-8', 'replace'))
    return Ended(status, tuple(line for line in lines if line.strip()))


def _with_parent(command: Sequence[str]) -> list[str]:
  """A command that is killed where its parent is, where there is such a thing."""
  if not sys.platform.startswith('linux'):
    return list(command)
  return [sys.executable, '-c', _DIE_WITH_PARENT, *command]


def _read(file: int) -> bytes:
  """What there is to read; nothing at the end."""
  try:
    return os.read(file, 2**12)
  except OSError:  # A terminal's end.
    return b''
