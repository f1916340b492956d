"""Orbax checkpoints of one stage.

`WORKDIR/checkpoints/{stage}/latest` has the two newest states that an interrupted run continues
from, `best` the variables with the highest validation accuracy, `final` the result of the finished
stage. Orbax writes to a temporary folder and renames it, so a folder that exists was complete once.

Orbax and TensorStore notice some damage but not a flipped bit in a float, so each checkpoint has a
digest of its values with it. What does not match is moved to `damaged`, with a warning on stderr.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from har import paths  # noqa: F401, for folders with brackets in their names
from har.errors import UserError
from har.train import mesh as mesh_lib
from har.train.state import TrainState, inference_variables

Meta = dict[str, Any]

# A state that cannot be read any more is replaced by the one before.
_STATES_KEPT = 2
# How TensorStore tells what the operating system said.
_SYSTEM = re.compile(r"os_error_code='(\d+)'")


class _Damaged(Exception):
  """A checkpoint that cannot be read or is not what was written; the message says why."""


class StageCheckpoints:
  """Saves and restores one stage; use it as a context manager, which waits for pending writes.

  Whatever keeps a checkpoint from being written ends in a UserError, of a later call or on leaving.
  """

  def __init__(self, workdir: pathlib.Path, stage: str):
    self._stage = stage
    self._root = _folder(workdir, stage)
    with _writing(self._root):
      self._latest = _manager(self._root / 'latest', _STATES_KEPT)
      self._best = _manager(self._root / 'best')

  def __enter__(self) -> 'StageCheckpoints':
    return self

  def __exit__(self, *_: object) -> None:
    with _writing(self._root):
      self._latest.close()
      self._best.close()

  def save_latest(self, state: TrainState, meta: Meta) -> None:
    """Starts writing the state in the background; `meta` is plain JSON."""
    step = int(state.step)
    before = self._latest.all_steps()
    if step in before:
      return
    with _writing(self._root):
      self._best.wait_until_finished()  # Lest a state outlive the best variables it goes with.
      needed = {self._best_of(s) for s in (*before, step)}
      for best in set(self._best.all_steps()) - needed:
        self._best.delete(best)
      content = {'meta': meta, 'best': self._best_of(step)}
      self._latest.save(step, args=_save_args(_as_dict(state), content))

  def restore_latest(self, like: TrainState) -> tuple[TrainState, Meta] | None:
    """The newest saved state that is sound, in the shapes, types and shardings of `like`.

    Damaged states are set aside, and so are those whose best variables are damaged or lost. Best
    variables that are younger than the state are removed: the steps that lead to them come again.

    Returns:
      None if there is no such state and the stage starts from its beginning.
    """
    steps = sorted(self._latest.all_steps(), reverse=True)
    found = None
    for step in steps:
      found = self._try(step, like)
      if found is not None:
        break
    if steps and found is None:
      _warn(f'stage {self._stage}: no saved state is left; the stage starts from its beginning')
    reached = int(found[0].step) if found else -1
    for later in self._best.all_steps():
      if later > reached:
        self._best.delete(later)
    return found

  def _try(self, step: int, like: TrainState) -> tuple[TrainState, Meta] | None:
    """The state of a step; None if it had to be set aside."""
    try:
      tree, content = _restore(self._latest, step, _as_dict(like))
    except _Damaged as e:
      self._set_aside(self._latest, step, str(e))
      return None
    # What was written before digests were knows nothing of the best step either.
    best = content.get('best', self._best_of(step))
    if best is not None:
      try:
        if best not in self._best.all_steps():
          raise _Damaged('it is gone')
        _restore(self._best, best, inference_variables(like))
      except _Damaged as e:
        if best in self._best.all_steps():
          self._set_aside(self._best, best, str(e))
        self._set_aside(self._latest, step, f'its best variables are those of step {best}')
        return None
    return TrainState(**tree), content['meta']

  def save_best(self, step: int, variables: Any, meta: Meta) -> None:
    """Starts writing the variables with the best validation accuracy so far."""
    with _writing(self._root):
      self._best.save(step, args=_save_args(variables, {'meta': meta}))

  def restore_best(self, like: Any) -> tuple[Any, Meta]:
    """The best variables of a stage that was validated.

    Raises:
      UserError: they cannot be read.
    """
    with _writing(self._root):
      self._best.wait_until_finished()
    step = self._best.latest_step()
    try:
      if step is None:
        raise _Damaged('it is gone')
      variables, content = _restore(self._best, step, like)
    except _Damaged as e:
      raise UserError(
        f'{self._best.directory}/{step} cannot be restored ({e}): the same command goes back to a '
        'step before it'
      ) from e
    return variables, content['meta']

  def finish(self, step: int, variables: Any, meta: Meta) -> None:
    """Writes the stage's result and waits for it; after that the stage is finished."""
    with _writing(self._root), _manager(self._root / 'final') as final:
      final.save(step, args=_save_args(variables, {'meta': meta}))

  def _best_of(self, step: int) -> int | None:
    """The step of the best variables up to this step."""
    return max((b for b in self._best.all_steps() if b <= step), default=None)

  def _set_aside(self, manager: ocp.CheckpointManager, step: int, reason: str) -> None:
    """Moves a checkpoint to where Orbax does not look, and says so."""
    source = pathlib.Path(manager.directory) / str(step)
    folder = self._root / 'damaged'
    name = f'{source.parent.name}-{step}'
    target = folder / name
    with _writing(self._root):
      if jax.process_index() == 0:
        folder.mkdir(exist_ok=True)
        taken = {path.name for path in folder.iterdir()}
        target = folder / next(
          n for i in range(len(taken) + 1) if (n := f'{name}.{i}') not in taken
        )
        source.rename(target)
        _warn(f'{source} cannot be used ({reason}); it is now {target}')
      mesh_lib.all_agree(True)  # That is, wait for the move.
      manager.reload()


def finished(workdir: pathlib.Path, stage: str) -> bool:
  """Whether the stage has written its result."""
  return _final_step(workdir, stage) is not None


def check_finished(workdir: pathlib.Path, stage: str) -> int:
  """The last step of a finished stage; UserError if it has not written its result."""
  step = _final_step(workdir, stage)
  if step is None:
    raise UserError(
      f'{_folder(workdir, stage)} holds no finished stage {stage!r}: train it first (--mode=train)'
    )
  return step


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
  step = check_finished(workdir, stage)
  like = jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    like,
    jax.tree.broadcast(sharding, like),
  )
  folder = _folder(workdir, stage) / 'final'
  try:
    with _manager(folder) as final:
      variables, content = _restore(final, step, like)
  except _Damaged as e:
    raise UserError(
      f'{folder}/{step} cannot be restored ({e}): delete the folder to have the stage finished '
      'again (--mode=train), or use another --workdir'
    ) from e
  return variables, content['meta']


def _final_step(workdir: pathlib.Path, stage: str) -> int | None:
  folder = _folder(workdir, stage) / 'final'
  steps = [int(p.name) for p in folder.glob('*') if p.name.isdigit()] if folder.is_dir() else []
  return max(steps, default=None)


def _folder(workdir: pathlib.Path, stage: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints' / stage


def _manager(folder: pathlib.Path, keep: int | None = None) -> ocp.CheckpointManager:
  # Processes wait for each other by names, which managers that save the same step must not share.
  apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder.name)
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep, cleanup_tmp_directories=True, multiprocessing_options=apart
  )
  return ocp.CheckpointManager(folder, options=options)


def _as_dict(state: TrainState) -> dict[str, Any]:
  return {name: getattr(state, name) for name in TrainState.__dataclass_fields__}


def _save_args(tree: Any, content: dict[str, Any]) -> ocp.args.Composite:
  # On CPU the background writer would read buffers that the next step's donation overwrites.
  # (`jnp.copy` would compile a program for each shape.)
  copy = jax.device_put(tree, jax.tree.map(lambda x: x.sharding, tree), may_alias=False)
  content = {**content, 'sha256': _digest(copy, content)}
  return ocp.args.Composite(tree=ocp.args.StandardSave(copy), meta=ocp.args.JsonSave(content))


def _digest(tree: Any, content: dict[str, Any]) -> str:
  """Of every array's path, type, shape and values, and of the JSON beside them.

  It does not depend on how arrays are split among devices.
  """
  digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = _whole(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
  return digest.hexdigest()


def _whole(leaf: jax.Array) -> np.ndarray:
  if leaf.is_fully_replicated:
    return np.asarray(leaf.addressable_data(0))
  if leaf.is_fully_addressable:
    return np.asarray(leaf)
  return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def _restore(manager: ocp.CheckpointManager, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
  """A checkpoint's values and `content`; `_Damaged`, in all processes alike, if it is not sound."""
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
  args = ocp.args.Composite(tree=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
  fault, restored = None, None
  try:
    with _quiet():
      restored = manager.restore(step, args=args)
    content = dict(restored['meta'])
    if 'sha256' in content:
      if content.pop('sha256') != _digest(restored['tree'], content):
        fault = 'its values are not those that were written'
    elif 'meta' in content:
      fault = 'its digest is gone'
    else:  # Written before there were digests.
      content = {'meta': content}
  except Exception as e:  # Orbax wraps what it meets in bare ones.
    fault = _reason(e)
  if not mesh_lib.all_agree(fault is None):
    raise _Damaged(fault or 'another process cannot read it')
  assert restored is not None
  return restored['tree'], content


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
  """Turns what Orbax raises, for a background write too, into a UserError."""
  try:
    with _quiet():
      yield
  except UserError:
    raise
  except Exception as e:
    raise UserError(
      f'{folder}: a checkpoint cannot be written ({_reason(e)}); free some space there or mend the '
      'disk, and the same command continues'
    ) from e


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences the tracebacks that Orbax and asyncio log beside what they raise."""
  before = logging.root.manager.disable
  logging.disable(logging.CRITICAL)
  try:
    yield
  finally:
    logging.disable(before)


def _reason(e: BaseException) -> str:
  if isinstance(e, OSError) and e.strerror:
    return e.strerror
  cause = str(e.__cause__ or e).strip() or type(e).__name__
  system = _SYSTEM.search(cause)
  return os.strerror(int(system[1])) if system else cause.splitlines()[0][:300]


def _warn(line: str) -> None:
  if jax.process_index() == 0:
    print('warning:', line, file=sys.stderr, flush=True)
