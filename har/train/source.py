"""What a stage's batches are read from: records, or what its frozen front made of them once."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tqdm

from har.data import inputs as inputs_lib
from har.data import loader
from har.data.input import Input
from har.data.ready import FIELD, Ready, ReadyRecords
from har.errors import UserError
from har.models import front as front_lib
from har.models.front import Front
from har.train import kept, predict
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from har.train.context import Context
from har.train.stage import Stage

_DRAWS = 2**32 - 1  # folded into the stage's key: no step has this number
_GIB = 2**30

Check = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Source:
  """What batches are read from.

  Attributes:
    records: random access, see `har.data.loader`.
    positions: of the examples in `records`.
    inputs: by name.
    sampling: what an epoch consists of.
    workers: processes that read.
  """

  records: Any
  positions: np.ndarray
  inputs: Mapping[str, Input]
  sampling: loader.Sampling
  workers: int

  def train_batches(self, batch_size: int, seed: int, first: int) -> Iterator[loader.Batch]:
    """This process's part of the training batches from number `first` on, without end."""
    return loader.train_batches(
      self.records,
      self.positions,
      self.inputs,
      batch_size=batch_size,
      seed=seed,
      start_step=first,
      share=loader.Share(jax.process_index(), jax.process_count()),
      workers=self.workers,
      sampling=self.sampling,
    )

  def eval_batches(self, batch_size: int, seed: int | None = None) -> Iterator[loader.Batch]:
    """This process's part of a pass over the first view; see `har.data.loader.eval_batches`."""
    return loader.eval_batches(
      self.records,
      self.positions,
      self.inputs,
      batch_size=batch_size,
      share=loader.Share(jax.process_index(), jax.process_count()),
      workers=self.workers,
      seed=seed,
    )


class Plain:
  """The source of a stage that computes everything anew in each step.

  Attributes:
    stage: whose steps take what is read.
    positions: of the training examples.
    validation: of those of validation.
  """

  def __init__(self, stage: Stage, context: Context):
    self.stage, self.context = stage, context
    self._records = context.dataset.records(stage_lib.fields(stage.train_inputs))
    index, train = context.dataset.index, context.splits.train
    train = train[stage.objective.trains_on(index.label[train])]
    # Examples that have something to be learnt from, or to be judged by.
    self.positions = loader.recorded(self._records, train, stage.train_inputs)
    validation = context.splits.validation
    self.validation = loader.recorded(self._records, validation, stage.inputs)
    if len(validation) and not len(self.validation):
      raise UserError(f'stage {stage.name}: no example that validates has any of its inputs')

  def open(self, variables: Any, check: Check) -> tuple[Source, Source]:
    """The training examples, and those of validation; see `Cached.open`."""
    del variables, check
    stage, context, workers = self.stage, self.context, self.context.runtime['workers']
    sampling = _sampling(stage, context, self.positions)
    return (
      Source(self._records, self.positions, stage.train_inputs, sampling, workers),
      Source(self._records, self.validation, stage.inputs, loader.ONCE, workers),
    )


class Cached:
  """The source of a stage that computes its frozen front once, see `har.models.front`.

  Every process keeps all examples, in the order of the split, in its memory. With
  `runtime.cache_dir` those of the whole dataset are computed, and written for other runs: the folds
  of one experiment share them.

  Attributes:
    stage: what is left of it.
    positions: of the training examples.
    validation: of those of validation.

  Raises:
    UserError: there is nothing to keep, it would take more than `runtime.cache_gib`, or an option
      does not go with it.
  """

  def __init__(self, stage: Stage, context: Context):
    plain = Plain(stage, context)
    self.positions, self.validation = plain.positions, plain.validation
    self._full, self._context = stage, context
    self._views: int = stage.config['cached_views']
    self._front = _front(stage)
    self._ready = {name: Ready(name, FIELD, {}, x) for name, x in self._kept().items()}
    inputs = {**stage.inputs, **self._ready}
    augment = {n: x for n, x in stage.config['augment'].items() if n not in self._ready}
    preprocess = self._preprocess(inputs, augment)
    self.stage = dataclasses.replace(
      stage,
      model=self._front.rest(stage.model),
      inputs=inputs,
      preprocess=preprocess,
      train_inputs=inputs,
      train_preprocess=preprocess,
    )
    self._check_memory()
    if self._folder and jax.process_count() > 1:
      raise UserError('config.runtime.cache_dir: must be empty with several processes')

  @property
  def _folder(self) -> str:
    return self._context.runtime['cache_dir']

  def once(self, variables: Any, positions: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of these examples, not augmented, `[N, rows, ...]` by name; zeros of those that
    lack all inputs that are kept."""
    inputs = {name: self._full.inputs[name] for name in self._ready}
    records = self._context.dataset.records(stage_lib.fields(inputs))
    there = np.isin(positions, loader.recorded(records, positions, inputs))
    found = {}
    for name, x in self._once(variables, positions[there], None, lambda: None).items():
      found[name] = np.zeros((len(positions), *x.shape[1:]), x.dtype)
      found[name][there] = x
    return found

  def open(self, variables: Any, check: Check) -> tuple[Source, Source]:
    """The training examples, and those of validation.

    Args:
      variables: the stage's.
      check: called before each batch that is computed; what it raises ends the work.
    """
    others = {n: x for n, x in self._full.inputs.items() if n not in self._ready}
    records = self._context.dataset.records(stage_lib.fields(others))
    drawn = range(self._views) if self._views > 1 else (None,)
    views = [self._once(variables, self.positions, view, check) for view in drawn]
    validation = self.validation
    chosen = [self._once(variables, validation, None, check)] if len(validation) else []
    sampling = _sampling(self._full, self._context, self.positions)
    return (
      self._source(ReadyRecords(records, self.positions, views), self.positions, sampling),
      self._source(ReadyRecords(records, validation, chosen), validation, loader.ONCE),
    )

  def _source(
    self, records: ReadyRecords, positions: np.ndarray, sampling: loader.Sampling
  ) -> Source:
    # Threads: each process that reads would need all that is kept.
    return Source(records, np.arange(len(positions)), self.stage.inputs, sampling, 0)

  def _kept(self) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """What is kept of one example by input: its front, and what is said of it."""
    example, found = self._full.example, self._front.shapes()
    for name, shapes in found.items():
      for told in (f'{name}_mask', f'{name}_present'):
        if told in example:
          shapes[told] = jax.ShapeDtypeStruct(example[told].shape[1:], example[told].dtype)
    return found

  def _preprocess(self, inputs: Mapping[str, Input], augment: Mapping[str, Any]) -> Any:
    flip_safe = self._context.dataset.flip_safe
    return functools.partial(
      inputs_lib.preprocess, inputs=inputs, augment=augment, flip_safe=flip_safe
    )

  def _check_memory(self) -> None:
    train, validation = len(self.positions), len(self.validation)
    if self._folder:
      whole = len(self._context.dataset.index)
      train, validation = whole, whole if validation else 0
    examples = train * self._views + validation
    each = sum(front_lib.size(one.shapes) for one in self._ready.values())
    need, most = examples * each / _GIB, self._context.runtime['cache_gib']
    where = f'config.stages.{self._full.name}.cached_views={self._views}'
    if need > most:
      raise UserError(
        f'{where}: {each / 2**20:.1f} MiB of each of {examples} views take {need:.1f} GiB, more '
        f'than config.runtime.cache_gib={most:g}: raise it, keep fewer views, or train fewer layers'
      )
    if jax.process_index() == 0:
      line = f'{self._full.name}: {", ".join(self._ready)} up to what trains is computed once, for '
      print(f'{line}{examples} views of {each / 2**10:.1f} KiB', file=sys.stderr, flush=True)

  def _once(
    self, variables: Any, positions: np.ndarray, view: int | None, check: Check
  ) -> dict[str, Any]:
    """What is kept of these examples; augmented if it is one of several views."""
    full, dataset = self._full, self._context.dataset
    seed = None if view is None else zlib.crc32(f'{full.seed}/{view}'.encode())
    if not self._folder:
      return self._compute(variables, positions, seed, check)
    inputs = {name: full.inputs[name] for name in self._ready}
    fields = stage_lib.fields(inputs)
    records = dataset.records(fields)
    size = mesh_lib.round_up(self._context.runtime['eval_batch_size'], self._context.mesh)
    program = self._step(seed).lower(variables, self._shapes(inputs, size)).as_text()
    settings = {
      # How records are read; all that follows is in the program.
      'inputs': {n: (one.kind, one.field, dict(one.options)) for n, one in inputs.items()},
      'frames': seed,
      'program': hashlib.sha256(program.encode()).hexdigest(),
    }
    name = kept.digest(records, fields, self._front.frozen(variables), settings)
    path = pathlib.Path(self._folder).expanduser() / f'{name}.npz'
    every = loader.recorded(records, np.arange(len(dataset.index)), inputs)
    arrays = kept.load(path)
    if arrays is None:
      arrays = self._compute(variables, every, seed, check)
      kept.save(path, arrays, settings)
    place = np.searchsorted(every, positions)
    return {name: x[place] for name, x in arrays.items()}

  def _shapes(self, inputs: Mapping[str, Input], size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Of a batch of these inputs."""
    one: dict[str, Any] = {'label': np.int32(0), 'mask': np.False_, 'draw': np.int32(0)}
    for given in inputs.values():
      one |= given.padding()
    return {
      n: jax.ShapeDtypeStruct((size, *np.shape(x)), np.asarray(x).dtype) for n, x in one.items()
    }

  def _compute(
    self, variables: Any, positions: np.ndarray, seed: int | None, check: Check
  ) -> dict[str, Any]:
    full, context = self._full, self._context
    inputs = {name: full.inputs[name] for name in self._ready}
    records = context.dataset.records(stage_lib.fields(inputs))
    size = mesh_lib.round_up(context.runtime['eval_batch_size'], context.mesh)
    source = Source(records, positions, inputs, loader.ONCE, context.runtime['workers'])
    bar = tqdm.tqdm(
      source.eval_batches(size, seed),
      desc=f'{full.name}: once',
      total=loader.eval_steps(len(positions), size),
      file=sys.stderr,
      leave=False,
      disable=None if jax.process_index() == 0 else True,
    )

    def batches() -> Iterator[loader.Batch]:
      for i, batch in enumerate(bar):
        check()
        yield {**batch, 'draw': np.full(len(batch['mask']), i, np.int32)}

    with contextlib.closing(bar):
      return predict.predict(self._step(seed), variables, batches(), context.mesh)

  def _step(self, seed: int | None) -> Any:
    """`step(variables, batch)` gives what is kept; the seed is that of augmentation."""
    full, front = self._full, self._front
    inputs = {name: full.inputs[name] for name in self._ready}
    augment = {n: x for n, x in full.config['augment'].items() if n in self._ready}
    preprocess = self._preprocess(inputs, augment)
    told = [name for one in self._ready.values() for name in one.shapes if name in full.example]

    def step(variables, batch):
      key = None
      if seed is not None:
        key = jax.random.fold_in(jax.random.key(seed), _DRAWS)
        key = jax.random.fold_in(key, batch['draw'][0])
      found = preprocess(batch, key=key)
      return front.compute(full.model, variables, found) | {name: found[name] for name in told}

    return jax.jit(step)


def _front(stage: Stage) -> Front:
  """The front of a stage's model, with what may be kept of it.

  Raises:
    UserError: see `Cached`.
  """
  views = stage.config['cached_views']
  where = f'config.stages.{stage.name}.cached_views={views}'
  if stage.objective.needs_inputs:
    raise UserError(f'{where}: must be 0, as the objective needs the inputs themselves')
  names = sorted(stage.inputs)
  found = front_lib.find(stage.model, stage.variables, stage.example, stage.trained, names)
  if not found.names:
    raise UserError(
      f'{where}: must be 0, as the first layer of every encoder trains: there is nothing to '
      f'compute once with config.stages.{stage.name}.trained={stage.trained!r}'
    )
  for name in found.names:
    if views == 1 and name in stage.config['augment']:
      raise UserError(
        f'{where}: {name} would be kept without augmentation; leave out config.stages.'
        f'{stage.name}.augment.{name}, or keep several views'
      )
  return found


def _sampling(stage: Stage, context: Context, positions: np.ndarray) -> loader.Sampling:
  balanced = stage.config['sampling'] == 'balanced'
  labels = context.dataset.index.label[positions] if balanced else None
  return loader.Sampling(max(stage.config['cached_views'], 1), labels)


def of_stage(stage: Stage, context: Context) -> Plain | Cached:
  """The source that the stage's config asks for."""
  return (Cached if stage.config['cached_views'] else Plain)(stage, context)
