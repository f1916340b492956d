"""What a stage carries from step to step, and how trained and frozen parameters part."""

from collections.abc import Sequence
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.mode import matches

Tree = dict[str, Any]


@flax.struct.dataclass
class TrainState:
  """All that a training step reads and writes.

  Attributes:
    step: int32 scalar, steps taken.
    params: every parameter of the model, frozen ones too.
    batch_stats: running statistics of the batch norms.
    opt_state: the optimiser's state, for the trained parameters only.
    ema: moving average of the trained parameters; None without one.
  """

  step: jax.Array
  params: Tree
  batch_stats: Tree
  opt_state: Any
  ema: Tree | None


def partition(params: Tree, patterns: Sequence[str]) -> tuple[Tree, Tree]:
  """Splits parameters by path (see `har.models.mode.matches`) into trained and frozen trees.

  Raises:
    UserError: a pattern that covers no parameter.
  """
  flat = flax.traverse_util.flatten_dict(params)
  for pattern in patterns:
    if not any(matches(path, [pattern]) for path in flat):
      raise UserError(
        f'the pattern {pattern!r} of trained parameters matches none; the top level is '
        f'{", ".join(sorted(params))}'
      )
  trained = {path: leaf for path, leaf in flat.items() if matches(path, patterns)}
  frozen = {path: leaf for path, leaf in flat.items() if path not in trained}
  unflatten = flax.traverse_util.unflatten_dict
  return unflatten(trained), unflatten(frozen)


def merge(first: Tree, second: Tree) -> Tree:
  """The inverse of `partition`; where both trees have a leaf, the second's is taken."""
  flatten = flax.traverse_util.flatten_dict
  return flax.traverse_util.unflatten_dict({**flatten(first), **flatten(second)})


def inference_variables(state: TrainState) -> Tree:
  """The variables that a stage is evaluated with: averaged parameters if there are any.

  A weight that is exactly zero has been pruned, and is so in the average too.
  """
  params = state.params if state.ema is None else _averaged(state.params, state.ema)
  return {'params': params, 'batch_stats': state.batch_stats}


@jax.jit
def _averaged(params: Tree, average: Tree) -> Tree:
  flat = flax.traverse_util.flatten_dict(params)
  own = flax.traverse_util.flatten_dict(average)
  kept = {path: jnp.where(flat[path] == 0, 0, x) for path, x in own.items()}
  return flax.traverse_util.unflatten_dict(flat | kept)
