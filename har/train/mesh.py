"""Devices, processes and where arrays live.

Everything is `jax.jit` over arrays with a `NamedSharding` (what used to be called pjit). The mesh
has two axes, `data` and `fsdp`, and spans every device of every process. The batch is split over
both; parameters, their moving average and the optimiser's state are split over `fsdp` and repeated
over `data`, so an `fsdp` of 1 is plain data parallelism. XLA inserts the collectives, for batch
statistics too.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from har.errors import UserError
from har.models.mode import matches

_AXES = ('data', 'fsdp')


def initialise(
  *,
  distributed: bool = False,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  cache_dir: str | None = None,
) -> None:
  """Joins the other processes, if any, and turns on the persistent compilation cache.

  Args:
    distributed: call `jax.distributed.initialize`, which finds its peers by itself on TPU pods,
      SLURM and Open MPI.
    coordinator: `host:port` of process 0 where nothing tells; implies `distributed`.
    num_processes: how many processes there are, with `coordinator`.
    process_id: this one's number, with `coordinator`.
    cache_dir: where compiled programs are kept between runs; None for
      `$JAX_COMPILATION_CACHE_DIR` or `~/.cache/har/xla`; the empty string for none.

  Raises:
    UserError: the other processes or the devices that the environment names cannot be reached.
  """
  if distributed or coordinator:
    try:
      jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as e:
      raise UserError(
        f'could not join the other processes ({_first_line(e)}): check --coordinator, '
        '--num_processes and --process_id, or run without --distributed'
      ) from e
  if cache_dir is None:
    default = pathlib.Path.home() / '.cache' / 'har' / 'xla'
    cache_dir = os.environ.get('JAX_COMPILATION_CACHE_DIR') or str(default)
  if cache_dir:
    jax.config.update('jax_compilation_cache_dir', cache_dir)
    if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as e:  # The latter, without a word, of 'cuda'.
    wanted = os.environ.get('JAX_PLATFORMS', '')
    raise UserError(
      f'JAX_PLATFORMS={wanted}: no such device can be used here ({_first_line(e)}); unset it, or '
      'JAX_PLATFORMS=cpu'
    ) from e


def make_mesh(devices: int = 0, fsdp: int = 1) -> Mesh:
  """A mesh with the axes `data` and `fsdp` over devices of all processes.

  Args:
    devices: the first so many devices, or 0 for all.
    fsdp: size of the axis `fsdp`.

  Raises:
    UserError: fewer devices than asked for, or a number that `fsdp` does not divide.
  """
  # By process: the batch's parts follow one another as the processes do.
  have = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  if devices > len(have):
    raise UserError(
      f'config.runtime.devices asks for {devices} devices and there are {len(have)}: lower it, '
      'or 0 for all'
    )
  have = have[: devices or None]
  if len(have) % fsdp:
    raise UserError(
      f'config.runtime.fsdp={fsdp} does not divide the {len(have)} devices: change it, or set '
      'config.runtime.devices'
    )
  grid = np.array(have).reshape(-1, fsdp)
  return Mesh(grid, _AXES, axis_types=(AxisType.Auto,) * len(_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of a full copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def shardings(tree: Any, mesh: Mesh, runtime: Mapping[str, Any]) -> Any:
  """How arrays are split over the mesh's axis `fsdp`.

  Args:
    tree: arrays, or their shapes and types, in dicts by path: variables, or a `TrainState`, whose
      parameters, average and optimiser's state come out alike.
    mesh: of `make_mesh`.
    runtime: `fsdp_rules`, pairs of a path pattern (see `har.models.mode.matches`) and an axis, of
      which the first match counts: the axis's number, `'largest'` for the largest that the mesh
      divides, or `'none'`, which is also what happens where no pattern matches; and
      `fsdp_min_size`, the elements below which an array is left whole, whatever the rules.

  Returns:
    A `NamedSharding` for each array.

  Raises:
    UserError: a rule names an axis that an array does not have or that `fsdp` does not divide.
  """
  degree, rules = mesh.shape['fsdp'], runtime['fsdp_rules']

  def of(key_path: tuple[Any, ...], x: Any) -> NamedSharding:
    if degree == 1 or x.ndim == 0 or x.size < runtime['fsdp_min_size']:
      return replicated(mesh)
    path = _names(key_path)
    rule = next((axis for pattern, axis in rules if matches(path, [pattern])), 'none')
    axis = _axis(rule, x.shape, degree, '/'.join(path))
    if axis is None:
      return replicated(mesh)
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, 'fsdp'))

  return jax.tree_util.tree_map_with_path(of, tree)


def _names(key_path: tuple[Any, ...]) -> tuple[str, ...]:
  """A parameter's path, as patterns know it, wherever it stands in a state or in variables."""
  names = tuple(k.key for k in key_path if isinstance(k, jax.tree_util.DictKey))
  return names[1:] if names[:1] in (('params',), ('batch_stats',)) else names


def _axis(rule: int | str, shape: tuple[int, ...], degree: int, path: str) -> int | None:
  """The axis that is split, counted from the front; None for none."""
  if rule == 'none':
    return None
  if rule == 'largest':
    divisible = [axis for axis, length in enumerate(shape) if length % degree == 0]
    return max(divisible, key=lambda axis: shape[axis], default=None)
  assert isinstance(rule, int)
  if not -len(shape) <= rule < len(shape) or shape[rule] % degree:
    raise UserError(
      f'config.runtime.fsdp_rules: axis {rule} of {path}, whose shape is {shape}, cannot be split '
      f'over config.runtime.fsdp={degree} devices'
    )
  return rule % len(shape)


def check_batch_size(batch_size: int, mesh: Mesh, where: str, accumulate: int = 1) -> None:
  """Checks that the devices can share a batch, and each of its microbatches.

  Args:
    batch_size: of all devices together.
    mesh: of `make_mesh`.
    where: the config section of `batch_size` and `accumulate`.
    accumulate: microbatches in a batch.

  Raises:
    UserError: naming the key, unless they can.
  """
  if batch_size % mesh.size:
    raise UserError(
      f'{where}.batch_size={batch_size} is not a multiple of the {mesh.size} devices: change it, '
      'or set config.runtime.devices'
    )
  if batch_size % (mesh.size * accumulate):
    raise UserError(
      f'{where}.accumulate={accumulate} does not divide the {batch_size // mesh.size} examples '
      f'that each of {mesh.size} devices has of a batch: change it or {where}.batch_size'
    )


def round_up(batch_size: int, mesh: Mesh) -> int:
  """The smallest multiple of the number of devices that is at least `batch_size`."""
  return -(-batch_size // mesh.size) * mesh.size


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Assembles a global batch from this process's part of it, `[B / processes, ...]` arrays."""
  sharding = NamedSharding(mesh, PartitionSpec(_AXES))
  return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def all_agree(value: bool) -> bool:
  """Whether the value is true in every process; each gets the answer once all have asked."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.array(value)).all())


def _first_line(e: Exception) -> str:
  return (str(e).strip().splitlines() or [type(e).__name__])[0]
