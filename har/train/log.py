"""Where training tells how it goes: a progress line, a JSON-lines file and TensorBoard."""

import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import tqdm

from har.train.board import Board


class StageLog:
  """Writes `WORKDIR/metrics/{stage}.jsonl` and TensorBoard files, and draws the progress line.

  The progress line shows examples per second and the time left, and is drawn on a terminal only.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    stage: str,
    *,
    start_step: int,
    total_steps: int,
    batch_size: int,
    enabled: bool = True,
  ):
    self._batch_size = batch_size
    self._file = None
    self._board = None
    if enabled:
      path = metrics_path(workdir, stage)
      path.parent.mkdir(parents=True, exist_ok=True)
      _truncate(path, start_step)
      self._file = path.open('a')
      board = pathlib.Path(workdir) / 'tensorboard' / stage
      self._board = Board(board, purge_step=start_step)
    self._bar = tqdm.tqdm(
      desc=stage,
      total=total_steps * batch_size,
      initial=start_step * batch_size,
      unit='ex',
      unit_scale=True,
      dynamic_ncols=True,
      file=sys.stderr,
      disable=None if enabled else True,
    )

  def __enter__(self) -> 'StageLog':
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.close()
    if self._file:
      self._file.close()
    if self._board:
      self._board.close()

  def advance(self) -> None:
    """One more step is done."""
    self._bar.update(self._batch_size)

  def write(self, split: str, step: int, epoch: float, **values: float) -> None:
    """Records figures of one split at one step."""
    self._bar.set_postfix({f'{split} {k}': f'{v:.4g}' for k, v in values.items()}, refresh=False)
    if self._file:
      row = {'step': step, 'epoch': round(epoch, 4), 'split': split, **values}
      self._file.write(json.dumps(row) + '\n')
      self._file.flush()
    if self._board:
      for name, value in values.items():
        self._board.add_scalar(f'{split}/{name}', value, step)


class DataWait:
  """Which share of the time between two logged rows the host waits for data.

  `data` times what it surrounds: reading a batch that is not ready yet, and starting its transfer
  to the devices. The host hands out steps ahead of the devices, on CPU as well, and a wait at whose
  end they are still busy with the step before has cost nothing: it does not count. Others count
  whole, so the share is an upper limit of the time in which devices have nothing to do. Compiling
  counts as time, validation and checkpoints do not.

  Attributes:
    waited: seconds spent waiting, since the first row.
  """

  def __init__(self) -> None:
    self.waited = 0.0
    self._row_waited = 0.0
    self.restart()

  def restart(self) -> None:
    """Begins a row."""
    self._started = time.monotonic()
    self._row_waited = 0.0

  @contextlib.contextmanager
  def data(self, before: Any = None) -> Iterator[None]:
    """Surrounds what gets a step's data.

    Args:
      before: an array of the step before, None if nothing is left to be computed.
    """
    started = time.monotonic()
    yield
    if before is not None and not before.is_ready():
      return
    seconds = time.monotonic() - started
    self.waited += seconds
    self._row_waited += seconds

  def share(self) -> float:
    """Of the row so far, in [0, 1]."""
    return self._row_waited / max(time.monotonic() - self._started, 1e-9)


def metrics_path(workdir: pathlib.Path, stage: str) -> pathlib.Path:
  """The file of a stage's learning curves."""
  return pathlib.Path(workdir) / 'metrics' / f'{stage}.jsonl'


def _truncate(path: pathlib.Path, step: int) -> None:
  """Drops the rows of steps that will be taken again."""
  if not path.exists():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if line.endswith('\n') and json.loads(line)['step'] <= step]
  temporary = path.with_suffix('.tmp')
  temporary.write_text(''.join(kept))
  os.replace(temporary, path)
