"""Unstructured and 2:4 magnitude pruning, at once or gradually while a stage trains.

A pruned weight is exactly zero, and a kernel's weight that is exactly zero stays zero: so the
parameters are their own mask. Checkpoints, interrupted runs, moving averages and symmetric int8
need no further state. Only kernels are pruned, never biases, norms or embeddings.

(JaxPruner keeps masks in the optimiser's state, and calls `jax.tree_map`, which JAX 0.6 removed.)
"""

import dataclasses
import gzip
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from har.compress.options import Pruning
from har.errors import UserError
from har.models.mode import matches
from har.train.stage import Optimizer, Wrap

Tree = dict[str, Any]
Path = tuple[str, ...]


def kernels(params: Tree, pruning: Pruning, trained: Sequence[str] = ('*',)) -> tuple[Path, ...]:
  """Paths of the kernels, among those that `trained` covers, that can be pruned.

  Kernels that are zero throughout are left out, or they could never be trained, and from 2:4
  pruning those whose input channels are no multiple of four.

  Raises:
    UserError: there are none, or a pattern of `exclude` covers no kernel.
  """
  flat = flax.traverse_util.flatten_dict(params)
  every = [path for path, leaf in flat.items() if path[-1] == 'kernel' and leaf.ndim > 1]
  for pattern in pruning.exclude:
    if not any(matches(path, [pattern]) for path in every):
      raise UserError(f'the pattern {pattern!r} of pruning.exclude matches no kernel')
  found = []
  for path in every:
    groups = pruning.scope != '2:4' or flat[path].shape[-2] % 4 == 0
    chosen = matches(path, trained) and not matches(path, pruning.exclude)
    if groups and chosen and np.any(flat[path]):
      found.append(path)
  if not found:
    raise UserError('there is no kernel to prune: see pruning.exclude and pruning.scope')
  return tuple(found)


def prune(params: Tree, pruning: Pruning, trained: Sequence[str] = ('*',)) -> Tree:
  """Zeroes the smallest magnitudes at once, whatever the schedule.

  Exactly `round(sparsity x n)` of n weights are zero then (groups for 2:4), or as many as were
  zero before if they are more.

  Raises:
    UserError: as `kernels`.
  """
  paths = kernels(params, pruning, trained)
  flat = dict(flax.traverse_util.flatten_dict(params))
  found = {path: jnp.asarray(flat[path]) for path in paths}
  counts = _counts([found[path].shape for path in paths], pruning.scope, pruning.sparsity)
  flat |= _zero_smallest(found, jnp.asarray(counts), pruning.scope)
  return flax.traverse_util.unflatten_dict(flat)


def gradually(params: Tree, pruning: Pruning, trained: Sequence[str] = ('*',)) -> tuple[Tree, Wrap]:
  """Prunes while a stage trains.

  Args:
    params: where the stage starts, at each of its runs.
    pruning: how much and when.
    trained: path patterns of the stage's trained parameters; the others are left alone.

  Returns:
    Where the stage starts instead, and its `har.train.stage.Stage.wrap`.

  Raises:
    UserError: as `kernels`.
  """
  paths = kernels(params, pruning, trained)
  flat = flax.traverse_util.flatten_dict(params)
  shapes = [flat[path].shape for path in paths]
  begins = pruning.schedule == 'one_shot' and not pruning.begin
  start = prune(params, pruning, trained) if begins else params

  def wrap(optimizer: Optimizer, total_steps: int) -> Optimizer:
    # What is to be pruned before a step is pruned after the one before it.
    given = sorted(pruning.events(total_steps).items()) if pruning.sparsity else []
    events = {max(step - 1, 0): share for step, share in given}
    steps = np.array(sorted(events), np.int32)
    table = np.array([_counts(shapes, pruning.scope, events[s]) for s in sorted(events)], np.int32)

    def init(params):
      return _Pruned(optimizer.init(params), jnp.zeros((), jnp.int32))

    def update(grads, state, params, **more):
      held = free(params, paths)
      grads = _where_free(held, grads)
      changes, inner = optimizer.update(grads, state.inner, params, **more)
      changes = _where_free(held, changes)
      if events:
        changes = _pruning_changes(params, changes, state.step)
      return changes, _Pruned(inner, state.step + 1)

    def _pruning_changes(params, changes, step):
      leaves = flax.traverse_util.flatten_dict(params)
      moved = dict(flax.traverse_util.flatten_dict(changes))
      now = jnp.asarray(steps) == step
      counts = jnp.where(now[:, None], table, 0).sum(0)
      after = {path: leaves[path] + moved[path] for path in paths}
      pruned = jax.lax.cond(
        now.any(), lambda x: _zero_smallest(x, counts, pruning.scope), lambda x: x, after
      )
      for path in paths:
        drop = (pruned[path] == 0) & (after[path] != 0)
        moved[path] = jnp.where(drop, -leaves[path], moved[path])
      return flax.traverse_util.unflatten_dict(moved)

    return optax.GradientTransformationExtraArgs(init, update)

  return start, wrap


def hold(params: Tree, pruning: Pruning, trained: Sequence[str] = ('*',)) -> Wrap:
  """As `gradually`, for a stage that starts from pruned parameters and keeps them as sparse."""
  kept = dataclasses.replace(pruning, sparsity=0.0, schedule='one_shot')
  return gradually(params, kept, trained)[1]


class _Pruned(NamedTuple):
  inner: Any
  step: jax.Array


def _where_free(held: Tree, tree: Tree) -> Tree:
  return jax.tree.map(lambda free, x: jnp.where(free, x, 0), held, tree)


def free(params: Tree, paths: Sequence[Path]) -> Tree:
  """Booleans of the parameters' shapes: false where one of these kernels is zero."""
  flat = flax.traverse_util.flatten_dict(params)
  out = {k: v != 0 if k in paths else jnp.ones(v.shape, bool) for k, v in flat.items()}
  return flax.traverse_util.unflatten_dict(out)


def _counts(shapes: Sequence[tuple[int, ...]], scope: str, sparsity: float) -> list[int]:
  """Weights to be zero: one number for all kernels, or one each; groups of four for 2:4."""
  sizes = [math.prod(shape) for shape in shapes]
  if scope == 'global':
    return [round(sparsity * sum(sizes))]
  if scope == '2:4':
    return [round(2 * sparsity * size / 4) for size in sizes]
  return [round(sparsity * size) for size in sizes]


def _zero_smallest(found: Mapping[Path, jax.Array], counts: jax.Array, scope: str) -> Any:
  if scope == '2:4':
    return {k: _two_of_four(x, n) for (k, x), n in zip(found.items(), counts, strict=True)}
  if scope == 'layer':
    return {
      k: jnp.where(_smallest(jnp.abs(x).reshape(-1), n).reshape(x.shape), 0, x)
      for (k, x), n in zip(found.items(), counts, strict=True)
    }
  together = jnp.concatenate([jnp.abs(x).reshape(-1) for x in found.values()])
  drop = jnp.split(
    _smallest(together, counts[0]), np.cumsum([x.size for x in found.values()])[:-1].tolist()
  )
  return {
    k: jnp.where(d.reshape(x.shape), 0, x) for (k, x), d in zip(found.items(), drop, strict=True)
  }


def _smallest(scores: jax.Array, count: jax.Array) -> jax.Array:
  """True for the `count` smallest of a vector; of equal ones, the first."""
  order = jnp.argsort(scores, stable=True)
  return jnp.zeros(scores.shape, bool).at[order].set(jnp.arange(scores.size) < count)


def _two_of_four(kernel: jax.Array, groups: jax.Array) -> jax.Array:
  """Zeroes the two smallest of four input channels in the `groups` groups where they are least."""
  *rest, channels, features = kernel.shape
  fours = jnp.moveaxis(kernel.reshape(*rest, channels // 4, 4, features), -2, -1).reshape(-1, 4)
  magnitude = jnp.abs(fours)
  rank = jnp.argsort(jnp.argsort(magnitude, stable=True), stable=True)
  loss = jnp.where(rank < 2, magnitude, 0).sum(-1)
  fours = jnp.where((rank < 2) & _smallest(loss, groups)[:, None], 0, fours)
  back = jnp.moveaxis(fours.reshape(*rest, channels // 4, features, 4), -1, -2)
  return back.reshape(kernel.shape)


def zeros(params: Tree) -> dict[str, tuple[int, int]]:
  """`(zeros, weights)` of each kernel by its slash-separated path."""
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  return {
    path: (int(np.sum(np.asarray(leaf) == 0)), int(leaf.size))
    for path, leaf in flat.items()
    if path.split('/')[-1] == 'kernel' and leaf.ndim > 1
  }


def sparse_bytes(params: Any) -> dict[str, int]:
  """Sizes of the parameters in bytes.

  Returns:
    `dense`: as they are, 4 bytes for each float32. `compressed`: each array as the smaller of that
    and a bit mask (one bit per weight, rounded up to bytes) with the nonzero values. `gzip`: the
    dense bytes of all arrays in a row through gzip at its highest level.
  """
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]

  def compressed(x: np.ndarray) -> int:
    return min(x.nbytes, -(-x.size // 8) + int(np.count_nonzero(x)) * x.itemsize)

  together = b''.join(x.tobytes() for x in leaves)
  return {
    'dense': sum(x.nbytes for x in leaves),
    'compressed': sum(map(compressed, leaves)),
    'gzip': len(gzip.compress(together, 9, mtime=0)),
  }
