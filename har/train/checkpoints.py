"""Orbax checkpoints of one stage.

`WORKDIR/checkpoints/{stage}/latest` is what an interrupted run continues from, `best` the variables
with the highest validation accuracy, `final` the result of the finished stage. Orbax writes to a
temporary folder and renames it, so a folder that exists is complete.
"""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from har.errors import UserError
from har.train.state import TrainState

Meta = dict[str, Any]


class StageCheckpoints:
  """Saves and restores one stage; use it as a context manager, which waits for pending writes."""

  def __init__(self, workdir: pathlib.Path, stage: str):
    self._stage = stage
    self._root = _folder(workdir, stage)
    self._latest = _manager(self._root / 'latest')
    self._best = _manager(self._root / 'best')

  def __enter__(self) -> 'StageCheckpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self._latest.close()
    self._best.close()

  def save_latest(self, state: TrainState, meta: Meta) -> None:
    """Starts writing the state in the background; `meta` is plain JSON."""
    step = int(state.step)
    if step not in self._latest.all_steps():
      self._latest.save(step, args=_save_args(_as_dict(state), meta))

  def restore_latest(self, like: TrainState) -> tuple[TrainState, Meta] | None:
    """The newest saved state in the shapes, types and shardings of `like`; None if there is none.

    Best variables that are younger than it are removed: the steps that lead to them come again.
    """
    step = self._latest.latest_step()
    for later in self._best.all_steps():
      if step is None or later > step:
        self._best.delete(later)
    if step is None:
      return None
    tree, meta = _restore(self._latest, step, _as_dict(like))
    return TrainState(**tree), meta

  def save_best(self, step: int, variables: Any, meta: Meta) -> None:
    """Starts writing the variables with the best validation accuracy so far."""
    self._best.save(step, args=_save_args(variables, meta))

  def restore_best(self, like: Any) -> tuple[Any, Meta] | None:
    """The best variables; None if the stage was never validated."""
    step = self._best.latest_step()
    return None if step is None else _restore(self._best, step, like)

  def finish(self, step: int, variables: Any, meta: Meta) -> None:
    """Writes the stage's result and waits for it; after that the stage is finished."""
    with _manager(self._root / 'final') as final:
      final.save(step, args=_save_args(variables, meta))


def finished(workdir: pathlib.Path, stage: str) -> bool:
  """Whether the stage has written its result."""
  return _final_step(workdir, stage) is not None


def load_final(workdir: pathlib.Path, stage: str, like: Any, sharding: Any) -> tuple[Any, Meta]:
  """The result of a finished stage.

  Args:
    workdir: the run's folder.
    stage: its name.
    like: variables of the shapes and types that are expected.
    sharding: where arrays are put: one for all, or a tree of them like `like`.

  Raises:
    UserError: the stage is not finished in this workdir, or its checkpoint cannot be read.
  """
  step = _final_step(workdir, stage)
  if step is None:
    raise UserError(
      f'{_folder(workdir, stage)} holds no finished stage {stage!r}: train it first (--mode=train)'
    )
  like = jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    like,
    jax.tree.broadcast(sharding, like),
  )
  with _manager(_folder(workdir, stage) / 'final') as final:
    return _restore(final, step, like)


def _final_step(workdir: pathlib.Path, stage: str) -> int | None:
  folder = _folder(workdir, stage) / 'final'
  steps = [int(p.name) for p in folder.glob('*') if p.name.isdigit()] if folder.is_dir() else []
  return max(steps, default=None)


def _folder(workdir: pathlib.Path, stage: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints' / stage


def _manager(folder: pathlib.Path) -> ocp.CheckpointManager:
  # Processes wait for each other by names, which managers that save the same step must not share.
  apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder.name)
  options = ocp.CheckpointManagerOptions(
    max_to_keep=1, cleanup_tmp_directories=True, multiprocessing_options=apart
  )
  return ocp.CheckpointManager(folder, options=options)


def _as_dict(state: TrainState) -> dict[str, Any]:
  return {name: getattr(state, name) for name in TrainState.__dataclass_fields__}


def _save_args(tree: Any, meta: Meta) -> ocp.args.Composite:
  # On CPU the background writer would read buffers that the next step's donation overwrites.
  # (`jnp.copy` would compile a program for each shape.)
  copy = jax.device_put(tree, jax.tree.map(lambda x: x.sharding, tree), may_alias=False)
  return ocp.args.Composite(tree=ocp.args.StandardSave(copy), meta=ocp.args.JsonSave(meta))


def _restore(manager: ocp.CheckpointManager, step: int, like: Any) -> tuple[Any, Meta]:
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
  args = ocp.args.Composite(tree=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
  try:
    restored = manager.restore(step, args=args)
  except Exception as e:  # Orbax wraps what it meets in bare ones.
    cause = str(e.__cause__ or e).strip() or type(e).__name__
    reason = cause.splitlines()[0][:300]
    raise UserError(
      f'{manager.directory}/{step} cannot be restored ({reason}): delete the folder, or use '
      'another --workdir'
    ) from e
  return restored['tree'], restored['meta']
