"""A model's inference function as a flat list of operations, for rewriting.

JAX traces any model to a jaxpr. Here it is inlined; each operation that multiplies by a parameter
(convolution, matrix product) is recognised together with what follows it and can be folded into it
(batch norm, bias, ReLU). The result is run again with something done to its values on the way:
they are observed, or quantised. Models need not know of it.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from har.compress.hooks import Hook, run_loop
from har.compress.operations import (
  Following,
  Layer,
  Operation,
  Path,
  Value,
  identity,
  is_affine,
  is_clip,
  kept,
  kernel_path,
  left_in_float,
  number,
)
from har.compress.trace import trace
from har.models.mode import matches

Leaves = Mapping[Path, Any]
STATE = 'carry_'


class Graph:
  """A traced function.

  Attributes:
    layers: what multiplies by a parameter, in order.
    points: where values are quantised, and whose range each place shares because their values meet
      in one array, as the branches of a concatenation do, or because they belong to uses of one
      kernel: {name: first name of its group}. The names are `in:MODALITY`, `out:LAYER` (behind bias
      and ReLU) and `to:LAYER` (what enters a layer and is not quantised yet). Inputs whose names
      start with `STATE` are none: a stream's state keeps its precision.
    unseen: operations with parameters that are no layers and stay in float, such as loops.
  """

  def __init__(
    self,
    fn: Callable[[Any, Any], Any],
    variables: Any,
    inputs: Mapping[str, Any],
    keep_float: Sequence[str] = (),
  ):
    """Traces `fn(variables, inputs)`.

    Args:
      fn: returns an array or a tree of them.
      variables: nested dicts of arrays or `jax.ShapeDtypeStruct`.
      inputs: flat dict of the same.
      keep_float: path patterns (see `har.models.mode.matches`) of layers that are not quantised.
    """
    self._trace = trace(fn, variables, inputs)
    self._operations = tuple(self._trace.everything())
    loops = [one.loop for one in self._operations if one.loop is not None]
    self._ends = {*self._trace.outputs, *(value for loop in loops for value in loop.outputs)}
    self._users: dict[Value, list[Operation]] = {}
    for operation in self._operations:
      for value in operation.inputs:
        self._users.setdefault(value, []).append(operation)
    self.layers = self._find_layers(keep_float)
    self._layer_of = {one.operation: one for one in self.layers}
    self._uses: dict[Path, list[Layer]] = {}
    for layer in self.layers:
      self._uses.setdefault(layer.path, []).append(layer)
    self._absorbed = {
      one.operation: one.value for uses in self._uses.values() for one in self._absorb(uses)
    }
    rest = (op for op in self._operations if not op.outputs[0].static and op not in self._layer_of)
    self.unseen = tuple(filter(None, map(left_in_float, rest)))
    self.points, self._point_of = self._find_points()

  def _find_layers(self, keep_float: Sequence[str]) -> list[Layer]:
    found: list[tuple[Path, Operation]] = []
    for operation in self._operations:
      path = kernel_path(operation)
      if path is not None:
        found.append((path, operation))
    count: dict[Path, int] = {}
    layers = []
    for path, operation in found:
      names = path[1:-1] or path[-1:]
      used = count.get(path, 0)
      count[path] = used + 1
      name = '/'.join(names) + (f'#{used}' if used else '')
      layers.append(Layer(name, path, operation, not matches(names, keep_float)))
    return layers

  def _absorb(self, uses: Sequence[Layer]) -> list[Following]:
    """Finds what can be folded into a kernel, which follows all its uses alike."""
    following = [self._find_following(layer) for layer in uses]
    count = min(map(len, following))
    if len(uses) > 1:
      alike = zip(
        *([(f.operation.name, identity(f.other)) for f in f_] for f_ in following), strict=False
      )
      count = next((i for i, same in enumerate(alike) if len(set(same)) > 1), count)
    absorbed = []
    for layer, found in zip(uses, following, strict=True):
      layer.affine = [(f.operation, f.other) for f in found[:count] if not f.clips]
      layer.clips = [f.operation for f in found[:count] if f.clips]
      absorbed += found[:count]
    return absorbed

  def _find_following(self, layer: Layer) -> list[Following]:
    """What can be folded into one use of a kernel, in order."""
    following: list[Following] = []
    value, channels, clipped = layer.operation.outputs[0], layer.kernel.shape[-1], False
    while value not in self._ends and len(self._users.get(value, ())) == 1:
      (user,) = self._users[value]
      other = next((v for v in user.inputs if v is not value), None)
      if other is not None and user.outputs[0].shape == value.shape:
        clips = is_clip(user, other)
        if clips or (not clipped and is_affine(user, value, other, channels)):
          clipped |= clips
          following.append(Following(user, value, other, clips))
          value = user.outputs[0]
          continue
      if user.name != 'reshape' or user.outputs[0].shape[-1:] != (channels,):
        break
      value = user.outputs[0]
    return following

  def _find_points(self) -> tuple[dict[str, str], dict[Value, str]]:
    parent: dict[str, str] = {}
    point_of: dict[Value, str] = {}
    needed: set[str] = set()
    self._enters: dict[str, str] = {}

    def root(point: str) -> str:
      while parent[point] != point:
        point = parent[point]
      return point

    def new(point: str) -> str:
      parent[point] = point
      return point

    def join(points: Sequence[str]) -> None:
      for point in points[1:]:
        parent[root(point)] = root(points[0])

    for name, value in self._trace.inputs.items():
      if jnp.issubdtype(value.dtype, jnp.floating) and not name.startswith(STATE):
        point_of[value] = new(f'in:{name}')
    for operation in self._operations:
      if operation.outputs[0].static:
        continue
      layer = self._layer_of.get(operation)
      if layer is not None:
        if layer.quantised:
          self._enters[layer.name] = point_of.get(layer.x) or new(f'to:{layer.name}')
          point_of[operation.outputs[0]] = new(f'out:{layer.name}')
          needed |= {self._enters[layer.name], f'out:{layer.name}'}
        continue
      passing = [self._absorbed[operation]] if operation in self._absorbed else kept(operation)
      if passing and all(v in point_of for v in passing):
        join([point_of[v] for v in passing])
        point_of.update((value, point_of[passing[0]]) for value in operation.outputs)
    for uses in self._uses.values():
      join([self._enters[one.name] for one in uses if one.quantised])
      join([f'out:{one.name}' for one in uses if one.quantised])
    used = {root(point) for point in needed}
    first_of: dict[str, str] = {}
    for point in parent:
      first_of.setdefault(root(point), point)
    points = {p: first_of[root(p)] for p in parent if root(p) in used}
    return points, {v: points[p] for v, p in point_of.items() if p in points}

  def entrance(self, layer: Layer) -> str:
    """The point of a quantised layer's input."""
    return self.points[self._enters[layer.name]]

  def reader(self, layer: Layer) -> Layer | None:
    """The layer that alone reads what a layer gives, as it is; None if there is none."""
    value = layer.operation.outputs[0]
    while value not in self._ends and len(self._users.get(value, ())) == 1:
      (user,) = self._users[value]
      if user in self._layer_of:
        return self._layer_of[user]
      if user not in self._absorbed:
        return None
      value = user.outputs[0]
    return None

  def sole(self, layer: Layer) -> bool:
    """Whether nothing else reads a layer's kernel; what hands it to a loop does not."""
    users = self._users[layer.kernel]
    reads = (layer.kernel in op.inputs[op.loop.consts if op.loop else 0 :] for op in users)
    return sum(reads) == 1

  def fold(self, variables: Leaves) -> dict[Path, Any]:
    """Folds what follows each layer into its kernel and bias.

    Args:
      variables: leaves of the traced function's variables by path.

    Returns:
      The leaves that `run` takes: those of folded batch norms are gone, layers have gained biases.
    """
    env: dict[Value, Any] = {}
    get = functools.partial(self._get, env, variables, False)
    out = {}
    for layer in self.layers:
      channels = layer.kernel.shape[-1]
      scale, shift = jnp.ones(channels), jnp.zeros(channels)
      for operation, other in layer.affine:
        by = jnp.broadcast_to(jnp.reshape(get(other), -1), channels)
        if operation.name in ('mul', 'div'):
          by = by if operation.name == 'mul' else 1 / by
          scale, shift = scale * by, shift * by
        else:
          shift = shift + by if operation.name == 'add' else shift - by
      out[layer.path] = variables[layer.path] * scale
      if layer.bias is not None:
        out[layer.bias] = shift
    return {leaf: variables[leaf] for leaf in self._other_leaves() if leaf not in out} | out

  def _other_leaves(self) -> set[Path]:
    """Parameters that are still read when layers are folded."""
    pending = [
      value
      for operation in self._operations
      if not operation.outputs[0].static and operation not in self._absorbed
      for value in operation.inputs
      if value.static
    ]
    leaves, seen = set(), set()
    while pending:
      value = pending.pop()
      if value in seen:
        continue
      seen.add(value)
      if value.leaf is not None:
        leaves.add(value.leaf)
      if value.source is not None:
        pending.extend(value.source.inputs)
    return leaves

  def run(
    self, folded: Leaves, inputs: Mapping[str, Any], hook: Hook, *, fixed: bool = False
  ) -> Any:
    """Computes what the traced function returns.

    Args:
      folded: the result of `fold`.
      inputs: as those that were traced.
      hook: sees and may change values.
      fixed: the parameters are constants, and what depends on nothing else is made one too even
        while all of this is traced.
    """
    env: dict[Value, Any] = {}
    static = functools.partial(self._get, env, folded, fixed)
    # Rounded once for all uses.
    weights = {one.path: self._weights(one, folded, static, hook) for one in self.layers}
    for name, value in self._trace.inputs.items():
      x = inputs[name]
      env[value] = hook.point(f'in:{name}', x) if f'in:{name}' in self.points else x

    def run_all(env: dict[Value, Any], operations: Sequence[Operation]) -> Callable[[Value], Any]:
      get = functools.partial(self._get, env, folded, fixed)
      for operation in operations:
        if operation.outputs[0].static:
          continue
        layer = self._layer_of.get(operation)
        if layer is not None:
          results = [self._run_layer(layer, *weights[layer.path], get, hook)]
        elif operation in self._absorbed:
          results = [get(self._absorbed[operation])]
        elif operation.loop is not None:
          results = run_loop(operation, operation.loop, env, run_all, hook)
        else:
          results = self._run_other(operation, get, hook)
        env.update(zip(operation.outputs, results, strict=True))
      return get

    result = run_all(env, self._trace.operations)
    return jax.tree.unflatten(self._trace.tree, map(result, self._trace.outputs))

  def _weights(self, layer: Layer, folded: Leaves, get, hook: Hook) -> tuple[Any, Any]:
    kernel = get(layer.kernel)
    bias = None if layer.bias is None else folded[layer.bias]
    if not layer.quantised:
      return kernel, bias
    if bias is not None:
      bias = hook.bias(layer, self.entrance(layer), kernel, bias)
    return hook.kernel(layer, kernel), bias

  def _run_layer(self, layer: Layer, kernel, bias, get, hook: Hook) -> jax.Array:
    x, own = get(layer.x), f'to:{layer.name}'
    if own in self.points:
      x = hook.point(own, x)
    y = hook.product(layer, x, kernel)
    if bias is not None:
      y += bias.astype(y.dtype)
    for name, bound in layer.bounds:
      y = jnp.maximum(y, bound) if name == 'max' else jnp.minimum(y, bound)
    return hook.point(f'out:{layer.name}', y) if layer.quantised else y

  def _run_other(self, operation: Operation, get, hook: Hook) -> list[jax.Array]:
    point = self._point_of.get(operation.outputs[0])
    args = [get(v) for v in operation.inputs]
    if point is None:
      return operation.run(*args)
    if operation.name == 'pad' and np.isneginf(number(operation.inputs[1])):
      args[1] = jnp.asarray(hook.lowest(point), args[0].dtype)
    return [hook.kept(point, result) for result in operation.run(*args)]

  def _get(self, env: dict[Value, Any], leaves: Leaves, fixed: bool, value: Value) -> Any:
    """A value that is computed, or can be from constants and parameters alone."""
    if value in env:
      return env[value]
    if value.leaf is not None:
      return leaves[value.leaf]
    if value.source is None:
      return value.literal
    args = [self._get(env, leaves, fixed, v) for v in value.source.inputs]
    # Symbolic sizes are known only later.
    fixed &= all(isinstance(n, int) for v in value.source.outputs for n in v.shape)
    with jax.ensure_compile_time_eval() if fixed else contextlib.nullcontext():
      results = value.source.run(*args)
    env.update(zip(value.source.outputs, results, strict=True))
    return env[value]
