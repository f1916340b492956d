"""Compiles a training step, for whole batches or for several microbatches after one another.

A batch that is too large for the devices' memory is processed in parts, whose gradients are
averaged. Each part is a call of one compiled function: inside a loop of XLA's, convolutions are
slow on CPU, and an unrolled one takes as many times as long to compile and is free to hold the
activations of several parts at once.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from har.train import mesh as mesh_lib
from har.train.state import TrainState
from har.train.step import Batch, TrainStep, no_sums

CompiledStep = Callable[[TrainState, Sequence[Batch], jax.Array], tuple[TrainState, dict]]


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
  """Compiles `step(state, microbatches, rate_scale) -> (state, metrics)`, which consumes its state.

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
    return lambda state, batches, rate_scale: whole(state, batches[0], rate_scale)

  nothing = functools.partial(no_sums, trained=trained)
  sums_where = mesh_lib.shardings(jax.eval_shape(nothing, state), mesh, runtime)
  start = jax.jit(nothing, out_shardings=sums_where)
  add = jax.jit(train_step.add, donate_argnums=(0, 1), out_shardings=(where, sums_where))
  apply = jax.jit(train_step.apply, donate_argnums=0, out_shardings=(where, everywhere))

  def step(state, batches, rate_scale):
    sums = start(state)
    for batch in batches:
      state, sums = add(state, sums, batch)
    return apply(state, sums, rate_scale)

  return step
