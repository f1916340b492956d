"""A model's inference function as a flat list of operations, for rewriting.

JAX traces any model to a jaxpr. Here it is inlined; each operation that multiplies by a parameter
(convolution, matrix product) is recognised together with what follows it and can be folded into it
(batch norm, bias, ReLU). The result is run again with something done to its values on the way:
they are observed, or quantised. Models need not know of it.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from har.models.mode import matches

Path = tuple[str, ...]
Leaves = Mapping[Path, Any]

# Operations whose output consists of values of their input, so that quantised values stay so.
_MOVING = {'reshape', 'transpose', 'squeeze', 'expand_dims', 'slice', 'broadcast_in_dim', 'rev'}
_KEEPING = _MOVING | {
  'reduce_max',
  'reduce_window_max',
  'max',
  'min',
  'pad',
  'concatenate',
  'split',
}
_AFFINE = {'add', 'sub', 'mul', 'div'}


@dataclasses.dataclass(eq=False)
class Value:
  """An input, a parameter, a constant or an intermediate result.

  Attributes:
    shape: of the array.
    dtype: of the array.
    literal: the value of a constant.
    leaf: where a parameter is among the variables, or the name of an input.
    source: the operation that computes it.
    static: it does not depend on the inputs.
  """

  shape: tuple[Any, ...]
  dtype: Any
  literal: Any = None
  leaf: Path | None = None
  source: 'Operation | None' = None
  static: bool = False


@dataclasses.dataclass(eq=False)
class Operation:
  """A primitive with its arguments."""

  eqn: core.JaxprEqn
  inputs: list[Value]
  outputs: list[Value]

  @property
  def name(self) -> str:
    return self.eqn.primitive.name

  def run(self, *args: Any) -> list[Any]:
    out = self.eqn.primitive.bind(*args, **self.eqn.params)
    return list(out) if self.eqn.primitive.multiple_results else [out]


@dataclasses.dataclass(eq=False)
class Layer:
  """A convolution or matrix product with a parameter, and what was found to follow it.

  Attributes:
    name: path of the layer, e.g. 'imu/conv_0'; further uses of its kernel are 'lstm/hh#1'.
    path: of the kernel among the variables.
    operation: the convolution or product.
    affine: arithmetic per output channel behind it, each with its static operand, in order.
    clips: ReLU, or the parts of ReLU6, behind that.
    shared: other operations use the same kernel; nothing is folded into such a layer.
    quantised: it is not one that is left in float.
  """

  name: str
  path: Path
  operation: Operation
  shared: bool
  quantised: bool
  affine: list[tuple[Operation, Value]] = dataclasses.field(default_factory=list)
  clips: list[Operation] = dataclasses.field(default_factory=list)

  @property
  def x(self) -> Value:
    return self.operation.inputs[0]

  @property
  def kernel(self) -> Value:
    return self.operation.inputs[1]

  @property
  def bias(self) -> Path | None:
    """Where `fold` puts what it adds to each output channel; None if there is nothing."""
    adds = any(op.name in ('add', 'sub') for op, _ in self.affine)
    return (*self.path[:-1], 'bias') if adds else None


class Hook:
  """What is done to values while a graph runs; this one leaves them alone."""

  def point(self, name: str, x: jax.Array) -> jax.Array:
    """Values at one of `Graph.points`."""
    return x

  def kernel(self, layer: Layer, kernel: jax.Array) -> jax.Array:
    """The parameter of a quantised layer, output channels last."""
    return kernel

  def kept(self, name: str, x: jax.Array) -> jax.Array:
    """Values of the point `name` after they have been moved, selected or joined with others."""
    return x

  def lowest(self, name: str) -> float:
    """Takes the place of minus infinity, a max pool's padding, among the values of a point."""
    return -np.inf


class Graph:
  """A traced function.

  Attributes:
    layers: what multiplies by a parameter, in order.
    points: where values are quantised, and whose range each place shares because their values meet
      in one array, as the branches of a concatenation do: {name: first name of its group}. The
      names are `in:MODALITY`, `out:LAYER` (behind bias and ReLU) and `to:LAYER` (what enters a
      layer and is not quantised yet).
  """

  def __init__(
    self,
    fn: Callable[[Any, Any], jax.Array],
    variables: Any,
    inputs: Mapping[str, Any],
    keep_float: Sequence[str] = (),
  ):
    """Traces `fn(variables, inputs)`.

    Args:
      fn: returns one array.
      variables: nested dicts of arrays or `jax.ShapeDtypeStruct`.
      inputs: flat dict of the same.
      keep_float: path patterns (see `har.models.mode.matches`) of layers that are not quantised.
    """
    self._leaves: list[Value] = []
    self._inputs: dict[str, Value] = {}
    self._operations: list[Operation] = []
    self._output = self._trace(fn, variables, inputs)
    self._users: dict[Value, list[Operation]] = {}
    for operation in self._operations:
      for value in operation.inputs:
        self._users.setdefault(value, []).append(operation)
    self.layers = self._find_layers(keep_float)
    self._layer_of = {one.operation: one for one in self.layers}
    self._absorbed = {op: value for one in self.layers for op, value in self._find_following(one)}
    self.points, self._point_of = self._find_points()

  def _trace(self, fn, variables, inputs) -> Value:
    closed = jax.make_jaxpr(fn)(variables, inputs)
    flat, _ = jax.tree_util.tree_flatten_with_path((variables, inputs))
    env: dict[core.Var, Value] = {}
    for (path, _), var in zip(flat, closed.jaxpr.invars, strict=True):
      leaf = tuple(str(k.key) for k in path[1:])
      is_input = path[0].idx == 1
      env[var] = Value(var.aval.shape, var.aval.dtype, leaf=leaf, static=not is_input)
      if is_input:
        self._inputs[leaf[0]] = env[var]
      else:
        self._leaves.append(env[var])
    (output,) = self._inline(closed.jaxpr, closed.consts, env)
    return output

  def _inline(self, jaxpr, consts, env) -> list[Value]:
    env.update(zip(jaxpr.constvars, map(_constant, consts), strict=True))

    def read(atom) -> Value:
      return _constant(atom.val) if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
      args = [read(atom) for atom in eqn.invars]
      inner = _called(eqn)
      if inner is not None:
        bound = dict(zip(inner.jaxpr.invars, args, strict=True))
        results = self._inline(inner.jaxpr, inner.consts, bound)
      else:
        static = all(a.static for a in args)
        results = [Value(v.aval.shape, v.aval.dtype, static=static) for v in eqn.outvars]
        operation = Operation(eqn, args, results)
        for result in results:
          result.source = operation
        self._operations.append(operation)
      env.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]

  def _find_layers(self, keep_float: Sequence[str]) -> list[Layer]:
    found: list[tuple[Path, Operation]] = []
    for operation in self._operations:
      path = _kernel_path(operation)
      if path is not None:
        found.append((path, operation))
    count: dict[Path, int] = {}
    layers = []
    for path, operation in found:
      names = path[1:-1] or path[-1:]
      used = count.get(path, 0)
      count[path] = used + 1
      name = '/'.join(names) + (f'#{used}' if used else '')
      shared = sum(path == other for other, _ in found) > 1
      layers.append(Layer(name, path, operation, shared, not matches(names, keep_float)))
    return layers

  def _find_following(self, layer: Layer) -> list[tuple[Operation, Value]]:
    """What can be folded into the layer: each operation with the value that passes through it."""
    following: list[tuple[Operation, Value]] = []
    value, channels = layer.operation.outputs[0], layer.kernel.shape[-1]
    while not layer.shared and value is not self._output and len(self._users.get(value, ())) == 1:
      (user,) = self._users[value]
      other = next((v for v in user.inputs if v is not value), None)
      if other is not None and user.outputs[0].shape == value.shape:
        if _is_clip(user, other):
          layer.clips.append(user)
          following.append((user, value))
          value = user.outputs[0]
          continue
        if not layer.clips and _is_affine(user, value, other, channels):
          layer.affine.append((user, other))
          following.append((user, value))
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

    def root(point: str) -> str:
      while parent[point] != point:
        point = parent[point]
      return point

    def new(point: str) -> str:
      parent[point] = point
      return point

    for name, value in self._inputs.items():
      if jnp.issubdtype(value.dtype, jnp.floating):
        point_of[value] = new(f'in:{name}')
    for operation in self._operations:
      if operation.outputs[0].static:
        continue
      layer = self._layer_of.get(operation)
      if layer is not None:
        if layer.quantised:
          needed.add(point_of.get(layer.x) or new(f'to:{layer.name}'))
          needed.add(new(f'out:{layer.name}'))
          point_of[operation.outputs[0]] = f'out:{layer.name}'
        continue
      passing = [self._absorbed[operation]] if operation in self._absorbed else _kept(operation)
      if passing and all(v in point_of for v in passing):
        first, *others = [root(point_of[v]) for v in passing]
        for other in others:
          parent[root(other)] = root(first)
        point_of.update((value, first) for value in operation.outputs)
    used = {root(point) for point in needed}
    first_of: dict[str, str] = {}
    for point in parent:
      first_of.setdefault(root(point), point)
    points = {p: first_of[root(p)] for p in parent if root(p) in used}
    return points, {v: points[p] for v, p in point_of.items() if p in points}

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
    self, folded: Leaves, inputs: Mapping[str, Any], hook: Hook, *, constant: bool = False
  ) -> jax.Array:
    """Computes the output.

    Args:
      folded: the result of `fold`.
      inputs: as those that were traced.
      hook: sees and may change values.
      constant: the parameters are constants, and what depends on nothing else is made one too even
        while all of this is traced.
    """
    env: dict[Value, Any] = {}
    get = functools.partial(self._get, env, folded, constant)
    for name, value in self._inputs.items():
      x = inputs[name]
      env[value] = hook.point(f'in:{name}', x) if f'in:{name}' in self.points else x
    for operation in self._operations:
      if operation.outputs[0].static:
        continue
      layer = self._layer_of.get(operation)
      if layer is not None:
        results = [self._run_layer(layer, folded, get, hook)]
      elif operation in self._absorbed:
        results = [get(self._absorbed[operation])]
      else:
        results = self._run_other(operation, get, hook)
      env.update(zip(operation.outputs, results, strict=True))
    return get(self._output)

  def _run_layer(self, layer: Layer, folded: Leaves, get, hook: Hook) -> jax.Array:
    x, kernel = get(layer.x), get(layer.kernel)
    if layer.quantised:
      x = hook.point(f'to:{layer.name}', x) if f'to:{layer.name}' in self.points else x
      kernel = hook.kernel(layer, kernel)
    (y,) = layer.operation.run(x, kernel)
    if layer.bias is not None:
      y += folded[layer.bias].astype(y.dtype)
    for clip in layer.clips:
      bound = next(v.literal for v in clip.inputs if v.literal is not None)
      y = jnp.maximum(y, bound) if clip.name == 'max' else jnp.minimum(y, bound)
    return hook.point(f'out:{layer.name}', y) if layer.quantised else y

  def _run_other(self, operation: Operation, get, hook: Hook) -> list[jax.Array]:
    point = self._point_of.get(operation.outputs[0])
    args = [get(v) for v in operation.inputs]
    if point is None:
      return operation.run(*args)
    if operation.name == 'pad' and np.isneginf(_number(operation.inputs[1])):
      args[1] = jnp.asarray(hook.lowest(point), args[0].dtype)
    return [hook.kept(point, result) for result in operation.run(*args)]

  def _get(self, env: dict[Value, Any], leaves: Leaves, constant: bool, value: Value) -> Any:
    """A value that is computed, or can be from constants and parameters alone."""
    if value in env:
      return env[value]
    if value.leaf is not None:
      return leaves[value.leaf]
    if value.source is None:
      return value.literal
    args = [self._get(env, leaves, constant, v) for v in value.source.inputs]
    # Symbolic sizes are known only later.
    constant &= all(isinstance(n, int) for v in value.source.outputs for n in v.shape)
    with jax.ensure_compile_time_eval() if constant else contextlib.nullcontext():
      results = value.source.run(*args)
    env.update(zip(value.source.outputs, results, strict=True))
    return env[value]


def _constant(value: Any) -> Value:
  return Value(np.shape(value), jnp.result_type(value), literal=value, static=True)


def _called(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """The function that an equation only wraps."""
  inner = eqn.params.get('jaxpr', eqn.params.get('call_jaxpr'))
  wraps = eqn.primitive.name in ('jit', 'custom_jvp_call', 'custom_vjp_call', 'closed_call')
  return inner if wraps else None


def _kernel_path(operation: Operation) -> Path | None:
  """Where the parameter of a convolution or product is, if it is one in the usual layout."""
  if operation.name not in ('conv_general_dilated', 'dot_general'):
    return None
  x, kernel = operation.inputs
  if x.static or not kernel.static:
    return None
  if operation.name == 'conv_general_dilated':
    numbers = operation.eqn.params['dimension_numbers']
    last = kernel.shape and len(kernel.shape) - 1
    if numbers.rhs_spec[0] != last or numbers.out_spec[1] != last:
      return None
  else:
    (_, contracted), (_, batch) = operation.eqn.params['dimension_numbers']
    if batch or len(kernel.shape) - len(contracted) != 1 or len(kernel.shape) - 1 in contracted:
      return None
  # Views that leave the output channels last.
  channels = kernel.shape[-1]
  while kernel.leaf is None:
    source = kernel.source
    if source is None or source.name not in _MOVING | {'copy', 'convert_element_type'}:
      return None
    if source.name == 'transpose' and source.eqn.params['permutation'][-1] != len(kernel.shape) - 1:
      return None
    kernel = source.inputs[0]
    if kernel.shape[-1:] != (channels,):
      return None
  return kernel.leaf


def _is_clip(operation: Operation, other: Value) -> bool:
  scalar = other.literal is not None and np.ndim(other.literal) == 0
  return operation.name in ('max', 'min') and scalar and bool(np.isfinite(other.literal))


def _is_affine(operation: Operation, value: Value, other: Value, channels: int) -> bool:
  """Whether it adds to or multiplies each channel (the last axis) of `value` by a number."""
  if operation.name not in _AFFINE or not other.static:
    return False
  if operation.name in ('sub', 'div') and operation.inputs[0] is not value:
    return False
  return other.shape == () or other.shape == (1,) * (len(value.shape) - 1) + (channels,)


def _number(value: Value) -> Any:
  """A constant, also behind a conversion of its type; None if it is none."""
  while value.source is not None and value.source.name == 'convert_element_type':
    value = value.source.inputs[0]
  return value.literal


def _kept(operation: Operation) -> list[Value]:
  """The inputs whose values an operation passes on; none if it computes others."""
  if operation.name not in _KEEPING:
    return []
  if operation.name == 'pad':
    # Zero is a quantised value; minus infinity becomes the lowest one.
    number = _number(operation.inputs[1])
    plain = number is not None and (number == 0 or np.isneginf(number))
    return operation.inputs[:1] if plain else []
  moved = [v for v in operation.inputs if jnp.issubdtype(v.dtype, jnp.floating)]
  return moved if all(not v.static for v in moved) else []
