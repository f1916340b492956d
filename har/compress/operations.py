"""Operations of a traced function, and what is recognised in them."""

import dataclasses
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from har.models.conv2d import conv2d

Path = tuple[str, ...]

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
_PRODUCTS = ('conv_general_dilated', 'dot_general')
_AFFINE = {'add', 'sub', 'mul', 'div'}
POINTWISE = frozenset(
  {
    *('abs', 'add', 'clamp', 'convert_element_type', 'div', 'erf', 'exp', 'floor', 'integer_pow'),
    *('log', 'logistic', 'max', 'min', 'mul', 'neg', 'pow', 'round', 'rsqrt', 'sign', 'sqrt'),
    *('square', 'sub', 'tanh'),
  }
)


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
  """A primitive with its arguments.

  Attributes:
    eqn: what is traced.
    inputs: its arguments.
    outputs: its results.
    loop: what it repeats if it is a `scan`.
    where: the modules that it is in, e.g. 'Recogniser/imu/conv_0'.
  """

  eqn: core.JaxprEqn
  inputs: list[Value]
  outputs: list[Value]
  loop: 'Loop | None' = None
  where: str = ''

  @property
  def name(self) -> str:
    return self.eqn.primitive.name

  def run(self, *args: Any) -> list[Any]:
    """Its results; 2-D convolutions in the form that is fastest."""
    p = self.eqn.params
    if self.name == 'conv_general_dilated' and np.ndim(args[0]) == 4:
      x, kernel = args
      numbers = lax.conv_dimension_numbers(x.shape, kernel.shape, ('NHWC', 'HWIO', 'NHWC'))
      dilations = {*p['lhs_dilation'], *p['rhs_dilation'], p['batch_group_count']}
      if p['dimension_numbers'] == numbers and dilations == {1}:
        rows, columns = p['padding']
        return [conv2d(x, kernel, p['window_strides'], (rows, columns), p['feature_group_count'])]
    out = self.eqn.primitive.bind(*args, **p)
    return list(out) if self.eqn.primitive.multiple_results else [out]


@dataclasses.dataclass(eq=False)
class Loop:
  """What a `scan` does at each step.

  Attributes:
    inputs: the carry and a slice of each sequence; what stays the same is read from outside.
    operations: in order.
    outputs: the new carry and a slice of each result.
    consts: how many of the operation's inputs stay the same; they come first.
    carry: how many are carried on; they come next.
  """

  inputs: list[Value]
  operations: list[Operation]
  outputs: list[Value]
  consts: int
  carry: int


@dataclasses.dataclass(eq=False)
class Layer:
  """A convolution or matrix product with a parameter, and what was found to follow it.

  Attributes:
    name: path of the layer, e.g. 'imu/conv_0'; further uses of its kernel are 'lstm/hh#1'.
    path: of the kernel among the variables.
    operation: the convolution or product.
    affine: arithmetic per output channel behind it, each with its static operand, in order.
    clips: ReLU, or the parts of ReLU6, behind that.
    quantised: it is not one that is left in float.
  """

  name: str
  path: Path
  operation: Operation
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
  def bounds(self) -> list[tuple[str, float]]:
    """'max' or 'min' of each clip, in order, and its bound."""
    literals = [[v.literal for v in op.inputs if v.literal is not None] for op in self.clips]
    return [(op.name, float(given[0])) for op, given in zip(self.clips, literals, strict=True)]

  @property
  def bias(self) -> Path | None:
    """Where `fold` puts what it adds to each output channel; None if there is nothing."""
    adds = any(op.name in ('add', 'sub') for op, _ in self.affine)
    return (*self.path[:-1], 'bias') if adds else None


def constant(value: Any) -> Value:
  return Value(np.shape(value), jnp.result_type(value), literal=value, static=True)


@dataclasses.dataclass(frozen=True)
class Following:
  """An operation that can be folded into a layer: `value` passes through it and meets `other`."""

  operation: Operation
  value: Value
  other: Value
  clips: bool


def identity(value: Value) -> Hashable:
  """Equal for static values that are computed alike from the same parameters and constants."""
  if value.leaf is not None:
    return value.leaf
  if value.source is None:
    array = np.asarray(value.literal)
    return array.dtype.str, array.shape, array.tobytes()
  return (
    value.source.name,
    str(value.source.eqn.params),
    value.source.outputs.index(value),
    *map(identity, value.source.inputs),
  )


def left_in_float(operation: Operation) -> str | None:
  """Names an operation that multiplies by a parameter unseen, such as a loop; None if it is none.

  Args:
    operation: depends on the inputs, and is no layer.
  """
  params = jax.tree.leaves(tuple(operation.eqn.params.values()), is_leaf=_is_jaxpr)
  if not any(map(_is_jaxpr, params)) and operation.name not in _PRODUCTS:
    return None
  # What a loop reads whole is seen at the operations inside.
  inputs = operation.inputs[operation.loop.consts if operation.loop else 0 :]
  kernels = [v for v in inputs if v.static and len(v.shape) > 1 and _leaf(v) is not None]
  if not kernels:
    return None
  leaf = _leaf(kernels[0])
  assert leaf is not None
  return f'{"/".join(leaf[1:])} ({operation.name})'


def _is_jaxpr(x: Any) -> bool:
  return isinstance(x, core.Jaxpr | core.ClosedJaxpr)


def _leaf(value: Value) -> Path | None:
  """A parameter that a static value depends on."""
  if value.leaf is not None or value.source is None:
    return value.leaf
  return next(filter(None, map(_leaf, value.source.inputs)), None)


def called(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """The function that an equation only wraps."""
  if (branch := plain_branch(eqn)) is not None:
    return branch
  if eqn.primitive.name in ('checkpoint', 'remat2'):
    return core.ClosedJaxpr(eqn.params['jaxpr'], ())
  inner = eqn.params.get('jaxpr', eqn.params.get('call_jaxpr'))
  wraps = eqn.primitive.name in ('jit', 'custom_jvp_call', 'custom_vjp_call', 'closed_call')
  return inner if wraps else None


def plain_branch(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """Of a choice between platforms, what is for all that are not named; None if it is none.

  The other branches compute the same in another form. The first operand is the platform's number.
  """
  platforms = eqn.params.get('branches_platforms') if eqn.primitive.name == 'cond' else None
  named = zip(platforms or (), eqn.params.get('branches', ()), strict=False)
  return next((branch for platform, branch in named if platform is None), None)


def kernel_path(operation: Operation) -> Path | None:
  """Where the parameter of a convolution or product is, if it is one in the usual layout."""
  if operation.name not in _PRODUCTS:
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
  return _viewed(kernel, kernel.shape[-1])


def _viewed(view: Value, channels: int) -> Path | None:
  """The parameter that a value is a view of, output channels last; None if it is none."""
  if view.shape[-1:] != (channels,):
    return None
  source = view.source
  if view.leaf is not None or source is None:
    return view.leaf
  if source.name == 'concatenate':  # of the steps of a kernel
    leaves = {_viewed(part, channels) for part in source.inputs}
    return leaves.pop() if len(leaves) == 1 else None
  if source.name not in _MOVING | {'copy', 'convert_element_type'}:
    return None
  if source.name == 'transpose' and source.eqn.params['permutation'][-1] != len(view.shape) - 1:
    return None
  return _viewed(source.inputs[0], channels)


def is_clip(operation: Operation, other: Value) -> bool:
  scalar = other.literal is not None and np.ndim(other.literal) == 0
  return operation.name in ('max', 'min') and scalar and bool(np.isfinite(other.literal))


def is_affine(operation: Operation, value: Value, other: Value, channels: int) -> bool:
  """Whether it adds to or multiplies each channel (the last axis) of `value` by a number."""
  if operation.name not in _AFFINE or not other.static:
    return False
  if operation.name in ('sub', 'div') and operation.inputs[0] is not value:
    return False
  return other.shape == () or other.shape == (1,) * (len(value.shape) - 1) + (channels,)


def number(value: Value) -> Any:
  """A constant, also behind a conversion of its type; None if it is none."""
  while value.source is not None and value.source.name == 'convert_element_type':
    value = value.source.inputs[0]
  return value.literal


def kept(operation: Operation) -> list[Value]:
  """The inputs whose values an operation passes on; none if it computes others."""
  if operation.name not in _KEEPING:
    return []
  if operation.name == 'pad':
    # Zero is a quantised value; minus infinity becomes the lowest one.
    padding = number(operation.inputs[1])
    plain = padding is not None and (padding == 0 or np.isneginf(padding))
    return operation.inputs[:1] if plain else []
  moved = [v for v in operation.inputs if jnp.issubdtype(v.dtype, jnp.floating)]
  return moved if all(not v.static for v in moved) else []
