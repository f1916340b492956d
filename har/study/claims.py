"""Which of several processes does a run of a study that they share by a folder.

A claim is a lock of the operating system on a file. It goes with the process that holds it, however
that ends, so that nothing has to be cleared away after a kill. The folder's file system has to
honour locks across machines (NFS 4, GPFS, Lustre mounted with `flock`).
"""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

from har.errors import UserError

CLAIMS = 'claims'
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)


@contextlib.contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[bool]:
  """Holds a lock; gives whether it could.

  Args:
    path: of the lock's file, which is made and stays.
    wait: until whoever holds it lets go, so that the lock is held in any case.

  Raises:
    UserError: the file cannot be written, or its file system has no locks.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open('a')
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror}') from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
      yield False
      return
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      raise UserError(
        f'{path}: this file system has no locks, by which a study knows that a run is nobody '
        "else's; use another --workdir"
      ) from error
    yield True
