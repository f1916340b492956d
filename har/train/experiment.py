"""An experiment: its stages, one after another, in a workdir that remembers what is done."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import jax
import ml_collections
import numpy as np

from har.data import dataset as dataset_lib
from har.data import hidden, protocols, windows
from har.data import inputs as inputs_lib
from har.data.membership import Membership
from har.errors import UserError
from har.train import checkpoints, claims, loop, stage
from har.train import mesh as mesh_lib
from har.train.interrupt import StopSignal
from har.train.options import check_validation

_LOCK = 'lock'
_ATTEMPTS = 100


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

  @property
  def deployed(self) -> dict[str, stage.Stage]:
    """The stages but for those that only pretrain."""
    return {name: one for name, one in self.stages.items() if one.objective.deployed}


def open_experiment(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  *,
  data_dir: str | None = None,
  raw_dir: str | None = None,
  allow_corrupt: int = 0,
  split: str = 'test',
  defaults: Mapping[str, Any] | None = None,
) -> Experiment:
  """Prepares the data if need be and builds every stage; the first checkpoint claims the workdir.

  Args:
    config: see `configs/base.py`.
    workdir: where everything is written.
    data_dir: where prepared datasets are kept; TFDS's own place if None.
    raw_dir: the folder with the dataset's raw files.
    allow_corrupt: unreadable files to leave out while they are prepared, if the dataset can.
    split: what is evaluated on, 'test' or 'validation'.
    defaults: of the config's options, see `har.schema.defaults`; a run of another version of the
      code may lack some of them, or have others.

  Raises:
    UserError: a wrong config, data that cannot be prepared, or a workdir of another config or that
      was trained with other data.
  """
  c = config.dataset
  claim = claims.Claim(workdir, claims.plain(config.to_dict()), claims.plain(defaults or {}))
  claim.check_config()
  data = _load(config, data_dir, raw_dir, allow_corrupt)
  splits = protocols.make_splits(
    data.index, data.metadata, protocols.SplitOptions.of(c), config.seed
  )
  inputs_lib.check_rates(data, config.inputs)
  data = hidden.hide(data, splits, c, config.inputs, config.seed)
  data, splits = windows.cut(data, splits, c.get('windows', {}), config.inputs)
  if not len(getattr(splits, split)):
    raise UserError(f'--split={split}: no trial is in it; set --config.dataset.validation_fraction')
  if not (workdir / 'config.json').exists():
    check_validation(config, len(splits.validation) > 0)
  runtime = config.runtime
  mesh = mesh_lib.make_mesh(runtime.devices, runtime.fsdp)
  stages = {name: stage.build(config, name, data, splits.train) for name in config.order}
  _warn(data, splits, stages, protocols.SplitOptions.of(c))
  claim = dataclasses.replace(
    claim,
    examples=Membership.of(data.index, splits, data.class_names, c.group),
    left_out=_left_out(data, stages),
  )
  claim.check_data()
  context = loop.Context(data, splits, mesh, workdir, runtime, split, claim.write)
  return Experiment(config, context, stages)


def _load(
  config: ml_collections.ConfigDict,
  data_dir: str | None,
  raw_dir: str | None,
  allow_corrupt: int,
) -> dataset_lib.Dataset:
  c = config.dataset
  options = dict(c.get('options', {})) | ({'allow_corrupt': allow_corrupt} if allow_corrupt else {})
  return dataset_lib.load(
    c.name,
    tuple(config.modalities),
    data_dir=data_dir,
    raw_dir=raw_dir,
    require_complete=c.require_complete,
    abnormal=tuple(c.abnormal),
    builder_options=options,
  )


def _warn(
  data: dataset_lib.Dataset,
  splits: protocols.Splits,
  stages: Mapping[str, stage.Stage],
  options: protocols.SplitOptions,
) -> None:
  """Tells of records that hardly fit an input, and of splits that leak."""
  inputs = {n: i for one in stages.values() for n, i in one.train_inputs.items()}
  warnings = inputs_lib.check_records(data, splits, inputs)
  for warning in [*warnings, *protocols.cautions(data.index, splits, options)]:
    _say(f'warning: {warning}')


def _left_out(data: dataset_lib.Dataset, stages: Mapping[str, stage.Stage]) -> dict[str, list[str]]:
  """The classes that a stage does not train on, of the stages that leave some out; and those that
  are hidden."""
  labels = np.arange(len(data.class_names))
  learnt = {name: one.objective.trains_on(labels) for name, one in stages.items()}
  found = {
    f'left out of {name}': [data.class_names[i] for i in np.flatnonzero(~kept)]
    for name, kept in learnt.items()
    if not kept.all()
  }
  return found | {f'hidden from {field}': list(names) for field, names in data.hidden.items()}


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

  The operating system lets go of the lock when the process ends, however it ends. A workdir that
  was not there before and in which nothing is kept at the end is removed again.

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
  path = workdir / _LOCK
  try:
    new = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    file = stack.enter_context(_locked(path))
    stack.callback(_clear, workdir, new)  # Before the lock goes.
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
  except BlockingIOError:
    holder = 'another process'
    with contextlib.suppress(OSError):  # It may be gone by now.
      holder = path.read_text() or holder
    return f'--workdir={workdir} is in use by {holder}: wait for it, or use another --workdir'
  except OSError as e:
    return f'--workdir={workdir} cannot be written: {e.strerror}'
  return None


def _locked(path: pathlib.Path) -> TextIO:
  """The open lock file, held; the one that is there, not one that its last holder removed."""
  for attempt in range(_ATTEMPTS):
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      file = path.open('a+')
    except FileNotFoundError:  # The last holder, refused, has just removed the folder.
      if attempt + 1 < _ATTEMPTS:
        continue
      raise
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if os.path.samestat(path.stat(), os.fstat(file.fileno())):
        return file
    except FileNotFoundError:
      pass
    except OSError as e:
      if e.errno in (errno.ENOLCK, errno.ENOTSUP):  # A file system without locks.
        return file
      file.close()
      raise
    file.close()
  raise BlockingIOError


def _clear(workdir: pathlib.Path, new: Sequence[pathlib.Path]) -> None:
  """Removes folders that this run made, deepest first, if there is no file but the lock."""
  if workdir not in new or any(p.is_file() and p.name != _LOCK for p in workdir.rglob('*')):
    return
  shutil.rmtree(workdir, ignore_errors=True)
  for folder in new[1:]:
    with contextlib.suppress(OSError):  # Somebody else has put something there.
      folder.rmdir()


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
