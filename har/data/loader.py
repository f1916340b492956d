"""Batches for training and evaluation, with Grain: any step is reached without the ones before."""

import contextlib
import errno
import gc
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np
from grain.multiprocessing import SharedMemoryArray

from har.data import draws, watch
from har.data.input import Example, Input
from har.errors import UserError

Batch = dict[str, np.ndarray]


class Share(NamedTuple):
  """A process's part of every batch: of `parts` contiguous ones that number `place`, from 0."""

  place: int
  parts: int


WHOLE = Share(0, 1)


_PADDING = -1  # stands for an example that is not there
_MAX_THREADS = 8  # each holds a batch


class ReadExample:
  """Reads one record and brings it to the shapes that batches have.

  Args:
    records: random access to records, see `har.data.dataset`.
    inputs: by name.

  Called with a position (-1 for padding: zeros, `mask` false) and, for random frames, a generator.
  """

  def __init__(self, records: Any, inputs: Mapping[str, Input]):
    self.records, self.inputs = records, dict(inputs)
    if not self.inputs:
      raise UserError('inputs: a stage needs at least one')
    # Signals are small and come out the same each time, so they are fitted once; clips are not.
    self._video = any(one.is_video for one in self.inputs.values())
    self._ready: dict[int, Example] = {}

  def __call__(self, position: int, rng: np.random.Generator | None = None) -> Example:
    if position == _PADDING:
      example: Example = {'label': np.int32(0), 'mask': np.False_}
      for one in self.inputs.values():
        example |= one.padding()
      return example
    if position in self._ready:
      return self._ready[position]
    record = self.records[position]
    example = {'label': np.int32(record['label']), 'mask': np.True_}
    for one in self.inputs.values():
      example |= one.read(record, rng)
    if not self._video:
      self._ready[position] = example
    return example

  def lacks_all(self, position: int) -> bool:
    """Whether a record lacks every input; decodes no frame."""
    if not all(one.may_lack for one in self.inputs.values()):
      return False
    record = self.records[position]
    return all(one.lacks(record) for one in self.inputs.values())


class Sampling(NamedTuple):
  """What an epoch consists of; by default every position once.

  Attributes:
    views: with several, the positions are 0 to N - 1, there are as many records for each view (see
      `har.data.ready`), and epoch e reads view e modulo `views`.
    labels: of the positions, `[N]`: an epoch draws every class equally often, see `draws.balance`.
  """

  views: int = 1
  labels: np.ndarray | None = None


ONCE = Sampling()


class _Epochs:
  """All epochs' orders one after the other, at random access (see `train_batches`).

  Grain's own shuffle computes each index by a cipher, which takes longer than reading a signal, and
  its seeds s and s + 1 share all epochs but one.
  """

  def __init__(self, positions: np.ndarray, seed: int, sampling: Sampling):
    self.positions, self.seed, self.sampling = positions, seed, sampling
    self._latest: tuple[tuple[int, np.ndarray], ...] = ()

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, i: int) -> int:
    epoch, place = divmod(i, len(self.positions))
    position = int(self.positions[self._order(epoch)[place]])
    return epoch % self.sampling.views * len(self.positions) + position

  def _order(self, epoch: int) -> np.ndarray:
    """Places in `positions`, `[N]`; threads may ask for neighbouring epochs in turn."""
    for known, order in self._latest:
      if known == epoch:
        return order
    rng, labels = np.random.default_rng((self.seed, epoch)), self.sampling.labels
    order = rng.permutation(len(self.positions)) if labels is None else draws.balance(labels, rng)
    self._latest = (*self._latest[-3:], (epoch, order))
    return order


def _stack(examples: Sequence[Example]) -> Batch:
  return {name: np.stack([e[name] for e in examples]) for name in examples[0]}


def recorded(
  records: Any, positions: Sequence[int] | np.ndarray, inputs: Mapping[str, Input]
) -> np.ndarray:
  """The positions whose records have any of the inputs.

  Those of the others have nothing to be learnt from. Records are read only where all inputs may be
  lacking; no frame is decoded.
  """
  read = ReadExample(records, inputs)
  return np.array([p for p in positions if not read.lacks_all(p)], np.int64)


def _local_size(batch_size: int, process_count: int) -> int:
  if batch_size < 1 or batch_size % process_count:
    raise UserError(
      f'batch_size={batch_size}: must be a positive multiple of the {process_count} processes'
    )
  return batch_size // process_count


def cores() -> int:
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _iterate(batches: grain.MapDataset, workers: int) -> Iterator[Batch]:
  # A batch is read by one thread, several batches at once: image decoders let go of Python's lock.
  threads = 2 if workers else min(max(cores(), 2), _MAX_THREADS)
  reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
  batches = batches.to_iter_dataset(reading)
  if workers:
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  with _shared_memory():
    iterator = iter(batches)
  return _closing(iterator, workers)


@contextlib.contextmanager
def _shared_memory() -> Iterator[None]:
  """Tells of shared memory that is full; reading meets no full disk."""
  try:
    yield
  except OSError as e:
    if e.errno != errno.ENOSPC:
      raise
    raise UserError(watch.SHARED) from e


def _closing(iterator: Any, workers: int) -> Iterator[Batch]:
  """Ends threads, worker processes and their shared memory as soon as nobody reads on."""
  watched = watch.Watch(enabled=workers > 0)
  killed, batch = False, None
  try:
    while True:
      with watched, _shared_memory():
        batch = next(iterator, None)
      if batch is None:
        break
      yield batch
  except RuntimeError as e:
    killed = 'terminated unexpectedly' in str(e)
    if not killed:
      raise
    raise UserError(watch.reason(str(e))) from e
  finally:
    if not killed:
      watched.stop()
    with watched:
      iterator.close()
    watched.stop()
    if workers:
      # Grain keeps a batch of each worker in cycles, and frees shared memory in a thread of its
      # own: what is left when the process ends, Python calls leaked.
      iterator = batch = None
      gc.collect()
      if SharedMemoryArray._del_thread_pool:
        SharedMemoryArray._del_thread_pool.apply(int)  # Waits for those before it.


def train_batches(
  records: Any,
  positions: Sequence[int] | np.ndarray,
  inputs: Mapping[str, Input],
  batch_size: int,
  seed: int,
  start_step: int = 0,
  share: Share = WHOLE,
  workers: int = 0,
  sampling: Sampling = ONCE,
) -> Iterator[Batch]:
  """Yields training batches without end; batch k is a function of the seed and k alone.

  Each epoch has an order of its own and visits every position once, unless `sampling` says
  otherwise. Nothing is dropped: a batch may
  reach from one epoch into the next.

  Args:
    records: random access to records with `label` and the modalities.
    positions: which records to train on.
    inputs: by name.
    batch_size: of all processes together.
    seed: of order and frame choice.
    start_step: the first batch to yield.
    share: this process's part of every batch.
    workers: processes that read and decode (absl's flags have to be parsed, as absl.app.run does);
      0 does it in threads of this one.
    sampling: what an epoch consists of.

  Returns:
    An iterator of batches (see the package's documentation) of `batch_size / share.parts`.

  Raises:
    UserError: for a batch size that the processes cannot share.
  """
  local = _local_size(batch_size, share.parts)
  if not len(positions):
    raise UserError('no trial to train on')
  examples = grain.MapDataset.source(_Epochs(np.asarray(positions), seed, sampling))
  examples = examples.random_map(ReadExample(records, inputs), seed=seed)
  # In batches of the local size, global batch k is local batches k * count ... k * count + count-1.
  batches = examples.batch(local, batch_fn=_stack)
  return _iterate(batches[start_step * share.parts + share.place :: share.parts], workers)


def eval_steps(examples: int, batch_size: int) -> int:
  """Number of batches that `eval_batches` yields on every process."""
  return math.ceil(examples / batch_size)


def eval_batches(
  records: Any,
  positions: Sequence[int] | np.ndarray,
  inputs: Mapping[str, Input],
  batch_size: int,
  share: Share = WHOLE,
  workers: int = 0,
  seed: int | None = None,
) -> Iterator[Batch]:
  """Yields every position exactly once, in order, over all processes together.

  All processes yield the same number of batches of the same size; the last ones are filled with
  zero examples whose `mask` is false. Global batch k (the processes' parts in order) holds
  positions k * batch_size onwards. Frames are the segments' centres, or drawn if there is a seed.
  Arguments are those of `train_batches`.
  """
  local = _local_size(batch_size, share.parts)
  padded = np.full(eval_steps(len(positions), batch_size) * batch_size, _PADDING)
  padded[: len(positions)] = positions
  if not len(padded):
    return iter(())
  examples, read = grain.MapDataset.source(padded), ReadExample(records, inputs)
  examples = examples.map(read) if seed is None else examples.random_map(read, seed=seed)
  return _iterate(examples.batch(local, batch_fn=_stack)[share.place :: share.parts], workers)
