"""An experiment: its stages, one after another, in a workdir that remembers what is done."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from har.data import dataset as dataset_lib
from har.data import inputs as inputs_lib
from har.data import protocols, windows
from har.errors import UserError
from har.train import checkpoints, loop, stage
from har.train import mesh as mesh_lib
from har.train.interrupt import StopSignal

# What may change between the runs of one workdir: it does not alter the stages.
_FREE = ('runtime', 'compress', 'dataset.abnormal')


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A config bound to data, devices and a workdir.

  Attributes:
    config: see `configs/base.py`.
    context: dataset, splits, mesh and workdir.
    stages: by name, in the order in which they are trained.
  """

  config: ml_collections.ConfigDict
  context: loop.Context
  stages: dict[str, stage.Stage]


def open_experiment(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  *,
  data_dir: str | None = None,
  raw_dir: str | None = None,
  allow_corrupt: int = 0,
  split: str = 'test',
) -> Experiment:
  """Prepares the data if need be, builds every stage, and then claims the workdir.

  Args:
    config: see `configs/base.py`.
    workdir: where everything is written.
    data_dir: where prepared datasets are kept; TFDS's own place if None.
    raw_dir: the folder with the dataset's raw files.
    allow_corrupt: unreadable files to leave out while they are prepared, if the dataset can.
    split: what is evaluated on, 'test' or 'validation'.

  Raises:
    UserError: a wrong config, data that cannot be prepared, or a workdir of another config.
  """
  c = config.dataset
  claim = _Claim(workdir, 'config.json', _plain(config), _FREE, 'belongs to another config')
  claim.check()
  options = dict(c.get('options', {})) | ({'allow_corrupt': allow_corrupt} if allow_corrupt else {})
  data = dataset_lib.load(
    c.name,
    tuple(config.modalities),
    data_dir=data_dir,
    raw_dir=raw_dir,
    require_complete=c.require_complete,
    abnormal=tuple(c.abnormal),
    builder_options=options,
  )
  splits = protocols.make_splits(
    data.index, data.metadata, protocols.SplitOptions.of(c), config.seed
  )
  data, splits = windows.cut(data, splits, c.get('windows', {}), config.inputs)
  if not len(getattr(splits, split)):
    raise UserError(f'--split={split}: no trial is in it; set --config.dataset.validation_subjects')
  runtime = config.runtime
  mesh = mesh_lib.make_mesh(runtime.devices, runtime.fsdp)
  context = loop.Context(data, splits, mesh, workdir, runtime, split)
  stages = {name: stage.build(config, name, data, splits.train) for name in config.order}
  inputs = {n: i for one in stages.values() for n, i in one.train_inputs.items()}
  inputs_lib.check_records(data, splits, inputs)
  facts = protocols.fingerprint(data.index, splits, data.class_names) | _left_out(data, stages)
  claims = (claim, _Claim(workdir, 'data.json', facts, (), 'was trained with other data'))
  for one in claims:
    one.check()
  for one in claims:
    one.write()
  return Experiment(config, context, stages)


def _left_out(data: dataset_lib.Dataset, stages: Mapping[str, stage.Stage]) -> dict[str, list[str]]:
  """The classes that a stage does not train on, of the stages that leave some out."""
  labels = np.arange(len(data.class_names))
  learnt = {name: one.objective.trains_on(labels) for name, one in stages.items()}
  return {
    f'left out of {name}': [data.class_names[i] for i in np.flatnonzero(~kept)]
    for name, kept in learnt.items()
    if not kept.all()
  }


def train(experiment: Experiment) -> None:
  """Trains every stage that is not finished yet.

  Raises:
    Interrupted: SIGTERM or Ctrl-C; everything is saved.
  """
  context = experiment.context
  everywhere = mesh_lib.replicated(context.mesh)
  with StopSignal() as stop:
    for name, one in experiment.stages.items():
      if checkpoints.finished(context.workdir, name):
        _say(f'{name}: finished before')
        continue
      variables = stage.initial_variables(one, experiment.stages, context.workdir, everywhere)
      meta = loop.train_stage(one, context, variables, stop)
      _say(
        f'{name}: {meta["steps"]} steps in {meta["seconds"]:.0f} s, '
        f'{100 * meta["data_wait"]:.1f}% of it waiting for data' + _chosen(one, meta)
      )


def _chosen(one: stage.Stage, meta: checkpoints.Meta) -> str:
  """The figure by which the best step was chosen."""
  if 'validation' not in meta:
    return ''
  selection = one.objective.selection
  return f', validation {selection.title} {meta["validation"][selection.name]:.4f}'


def load(
  experiment: Experiment, name: str, *, sharded: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Variables on the mesh and facts of a finished stage.

  Args:
    experiment: whose stage it is.
    name: of the stage.
    sharded: split as in training (see `har.train.mesh.shardings`), not a full copy on each device.

  Raises:
    UserError: the stage is not finished.
  """
  one, context = experiment.stages[name], experiment.context
  where: Any = mesh_lib.replicated(context.mesh)
  if sharded:
    where = mesh_lib.shardings(one.variables, context.mesh, context.runtime)
  return checkpoints.load_final(context.workdir, name, one.variables, where)


@contextlib.contextmanager
def exclusive(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the workdir against other runs; process 0 does it for all processes of one run.

  The operating system lets go of the lock when the process ends, however it ends.

  Raises:
    UserError: another run holds it, or the workdir cannot be written.
  """
  with contextlib.ExitStack() as stack:
    fault = None
    if jax.process_index() == 0:
      fault = _hold(workdir, stack)
    if not mesh_lib.all_agree(fault is None):
      raise UserError(fault or f'--workdir={workdir} is refused by process 0')
    yield


def _hold(workdir: pathlib.Path, stack: contextlib.ExitStack) -> str | None:
  """Takes the lock for as long as the stack lives; says why if it cannot."""
  path = workdir / 'lock'
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context(path.open('a+'))
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
  except BlockingIOError:
    holder = path.read_text() or 'another process'
    return f'--workdir={workdir} is in use by {holder}: wait for it, or use another --workdir'
  except OSError as e:
    if e.errno not in (errno.ENOLCK, errno.ENOTSUP):  # A file system without locks.
      return f'--workdir={workdir} cannot be written: {e.strerror}'
  return None


@dataclasses.dataclass(frozen=True)
class _Claim:
  """What a workdir remembers of the experiment that it is of, in one of its files.

  Attributes:
    workdir: where the file is.
    name: of the file.
    content: what this experiment writes into it.
    free: keys that may differ.
    reproach: what to say of a workdir where others do.
  """

  workdir: pathlib.Path
  name: str
  content: Mapping[str, Any]
  free: Sequence[str]
  reproach: str

  def check(self) -> None:
    """Raises UserError if the workdir remembers something else."""
    path = self.workdir / self.name
    if not path.exists():
      return
    try:
      theirs = json.loads(path.read_text())
    except ValueError as e:
      raise UserError(f'{path} is damaged ({e}): use another --workdir') from e
    found = [
      f'{key} is {a!r} there and {b!r} here'
      for key, a, b in differences(theirs, self.content, self.free)
    ]
    if found:
      raise UserError(
        f'--workdir={self.workdir} {self.reproach}: {"; ".join(found[:3])}; use another --workdir'
      )

  def write(self) -> None:
    """Has a workdir that remembers nothing yet remember this; raises UserError if it cannot."""
    path = self.workdir / self.name
    if path.exists() or jax.process_index():
      return
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      temporary = path.with_suffix('.tmp')
      temporary.write_text(json.dumps(self.content, indent=2, sort_keys=True))
      os.replace(temporary, path)
    except OSError as e:
      raise UserError(f'--workdir={self.workdir} cannot be written: {e.strerror}') from e


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """As `config.json` holds it."""
  return json.loads(json.dumps(config.to_dict(), default=str))


def differences(
  old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str], at: str = ''
) -> Iterator[tuple[str, Any, Any]]:
  """Yields (key, old value, new value) wherever two configs differ.

  Args:
    old: as `config.json` holds it.
    new: likewise.
    free: keys that may differ, dotted; what is below them may, too.
    at: what stands before every key, for what lies deeper.
  """
  for name in sorted({*old, *new}):
    key, a, b = f'{at}{name}', old.get(name), new.get(name)
    if key in free:
      continue
    if isinstance(a, dict) and isinstance(b, dict):
      yield from differences(a, b, free, f'{key}.')
    elif a != b:
      yield key, a, b


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
