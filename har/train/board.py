"""TensorBoard's files, written in the caller's thread.

tensorboardX's own writer hands values to a thread through a short queue; once that thread has died
of a full disk, the caller waits for ever.
"""

import pathlib
import sys
import time
from typing import Any

# tensorboardX imports PyTorch where there is one, for seconds, and is never given its tensors here.
sys.modules.setdefault('torch', None)  # type: ignore[arg-type]
from tensorboardX import event_file_writer, summary  # noqa: E402
from tensorboardX.proto import event_pb2  # noqa: E402

if sys.modules['torch'] is None:
  del sys.modules['torch']


class Board:
  """One run's scalars.

  Args:
    folder: where the file is made.
    purge_step: what earlier files in it say of later steps than this no longer holds.

  Raises:
    OSError: of every method; the file cannot be written.
  """

  def __init__(self, folder: pathlib.Path, *, purge_step: int):
    folder.mkdir(parents=True, exist_ok=True)
    self._events = event_file_writer.EventsWriter(str(folder / 'events'))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(purge_step, session_log=start)

  def add_scalar(self, name: str, value: float, step: int) -> None:
    self._write(step, summary=summary.scalar(name, value))

  def close(self) -> None:
    self._events.close()

  def _write(self, step: int, **content: Any) -> None:
    self._events.write_event(event_pb2.Event(wall_time=time.time(), step=step, **content))
    self._events.flush()
