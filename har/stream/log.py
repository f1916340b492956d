"""Events as JSON lines that are whole whatever happens to the process."""

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from har.errors import UserError

_CHUNK = 2**16


class EventLog:
  """Appends to a file; each line is written in one call and is on the disk when `append` returns.

  A last line without an end, which a computer leaves that loses its power, is cut off when the file
  is opened again. Threads may share it.

  Attributes:
    cut: bytes that were cut off.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens the file, or makes it and its folder.

    Raises:
      UserError: it cannot be written, or another process writes it.
    """
    self._path, self._lock = Path(path), threading.Lock()
    try:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
      try:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.cut = self._mend()
      except BlockingIOError:
        raise UserError(f'--log={path}: another process writes it') from None
      except BaseException:
        os.close(self._file)
        raise
    except OSError as e:
      raise UserError(f'--log={path}: cannot be written ({e.strerror or e})') from e

  def append(self, record: Mapping[str, Any]) -> None:
    """Writes a line.

    Raises:
      UserError: the disk is full, or gone; no part of the line is left.
    """
    data = f'{json.dumps(record, ensure_ascii=False)}\n'.encode()
    with self._lock:
      size = os.fstat(self._file).st_size
      try:
        if os.write(self._file, data) < len(data):
          raise OSError('only a part of a line could be written')
        os.fsync(self._file)
      except OSError as e:
        os.ftruncate(self._file, size)
        raise UserError(f'--log={self._path}: cannot be written ({e.strerror or e})') from e

  def close(self) -> None:
    os.close(self._file)

  def _mend(self) -> int:
    """Cuts off a last line that has no end; returns its bytes."""
    size = end = os.fstat(self._file).st_size
    while end:
      start = max(end - _CHUNK, 0)
      found = os.pread(self._file, end - start, start).rfind(b'\n')
      if found >= 0:
        end = start + found + 1
        break
      end = start
    if end < size:
      os.ftruncate(self._file, end)
      os.fsync(self._file)
    return size - end
