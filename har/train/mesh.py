"""Devices, processes and where arrays live.

Data parallelism is `jax.jit` over arrays with a `NamedSharding` (what used to be called pjit): the
batch is split along the mesh's only axis, `data`, which spans every device of every process, and
parameters are replicated. XLA inserts the all-reduces, for batch statistics too.
"""

import os
import pathlib

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from har.errors import UserError


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
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def make_mesh(devices: int = 0) -> Mesh:
  """A mesh with one axis, `data`, over the first `devices` devices, or over all of them for 0.

  Raises:
    UserError: fewer devices than asked for.
  """
  have = jax.devices()
  if devices > len(have):
    raise UserError(
      f'config.runtime.devices asks for {devices} devices and there are {len(have)}: lower it, '
      'or 0 for all'
    )
  have = have[: devices or None]
  return jax.make_mesh((len(have),), ('data',), axis_types=(AxisType.Auto,), devices=have)


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of parameters: a full copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def check_batch_size(batch_size: int, mesh: Mesh, where: str) -> None:
  """Raises UserError, naming the config key `where`, unless the devices can share a batch."""
  if batch_size < 1 or batch_size % mesh.size:
    raise UserError(
      f'{where}={batch_size} is not a multiple of the {mesh.size} devices: change it, or set '
      'config.runtime.devices'
    )


def round_up(batch_size: int, mesh: Mesh) -> int:
  """The smallest multiple of the number of devices that is at least `batch_size`."""
  return -(-batch_size // mesh.size) * mesh.size


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Assembles a global batch from this process's part of it, `[B / processes, ...]` arrays."""
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def _first_line(e: Exception) -> str:
  return (str(e).strip().splitlines() or [type(e).__name__])[0]
