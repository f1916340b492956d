"""Compiles a training step, for whole batches or for several microbatches after one another.

A batch that is too large for the devices' memory is processed in parts, whose gradients are
averaged. Each part is a call of one compiled function: inside a loop of XLA's, convolutions are
slow on CPU, and an unrolled one takes as many times as long to compile and is free to hold the
activations of several parts at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from har.train import mesh as mesh_lib
from har.train.state import TrainState, partition
from har.train.step import Batch, Sums, TrainStep

CompiledStep = Callable[[TrainState, Sequence[Batch], jax.Array, Any], tuple[TrainState, dict]]


def split(batch: Mapping[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
  """Microbatches of a process's part of a batch, in views.

  Microbatch m is every `count`-th example from the m-th on: of the global batch too, whatever the
  number of processes and devices.
  """
  return [{name: x[m::count] for name, x in batch.items()} for m in range(count)]


def compile_step(
  train_step: TrainStep,
  state: TrainState,
  *,
  trained: Sequence[str],
  accumulate: int,
  mesh: Mesh,
  runtime: Mapping[str, Any],
) -> CompiledStep:
  """Compiles `step(state, microbatches, rate_scale, teacher) -> (state, metrics)`.

  It consumes its state.

  Args:
    train_step: of `har.train.step.make_train_step`.
    state: shapes and types.
    trained: path patterns of the trained parameters.
    accumulate: microbatches in a batch.
    mesh: of `har.train.mesh.make_mesh`.
    runtime: as for `har.train.mesh.shardings`.
  """
  where = mesh_lib.shardings(state, mesh, runtime)
  everywhere = mesh_lib.replicated(mesh)
  if accumulate == 1:
    whole = jax.jit(train_step.whole, donate_argnums=0, out_shardings=(where, everywhere))
    return lambda state, batches, rate_scale, teacher: whole(state, *batches, rate_scale, teacher)

  grads = mesh_lib.shardings(partition(state.params, trained)[0], mesh, runtime)
  sums: Any = Sums(everywhere, everywhere, grads)  # type: ignore[arg-type]
  first = jax.jit(train_step.first, donate_argnums=0, out_shardings=(where, sums))
  add = jax.jit(train_step.add, donate_argnums=(0, 1), out_shardings=(where, sums))
  apply = jax.jit(train_step.apply, donate_argnums=0, out_shardings=(where, everywhere))

  def step(state, batches, rate_scale, teacher):
    state, total = first(state, batches[0], teacher)
    for batch in batches[1:]:
      state, total = add(state, total, batch, teacher)
    return apply(state, total, rate_scale)

  return step
