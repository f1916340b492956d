"""Rewrites a call's operations into those that mobile runtimes run fast, with equal numbers.

LiteRT and ONNX Runtime fuse a convolution with the bias, the ReLU and the rounding that follow it
only if nothing stands between, and have int8 kernels for 2-D convolutions, matrix products and 2-D
pools. So

* a reshape waits until an operation needs it: biases and ReLUs are applied before it,
* 1- and 3-D convolutions become 2-D, if need be over the frames that they see as channels of one,
* products with a matrix become 2-D,
* 1- and 3-D max pools become 2-D ones.

Where LiteRT's converter takes an operation for another (`rem`, `cbrt`), it is written otherwise.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from har.compress.fake_quant import MARK
from har.compress.operations import POINTWISE, plain_branch
from har.export.values import (
  LAZY,
  Grid,
  Reshaped,
  Spread,
  Weight,
  attributes_of,
  fake_quant,
  force,
  max_pool,
  reshape_to,
  seen_frames,
  together,
)

# Names of outputs are not names of inputs: ONNX has one space of names.
Call = Callable[[dict[str, jax.Array]], dict[str, jax.Array]]

INLINED = ('jit', 'pjit', 'closed_call', 'core_call', 'custom_vjp_call', 'custom_jvp_call')
# What LiteRT moves a rounding before.
_MOVED = ('concatenate', 'reduce_max', 'reshape')
# Larger constants are left to be computed: they would only fill the file.
_FOLDED_SIZE = 4096
# A prime, so that it divides no other size but by a rare chance.
BATCH = 97


def rewrite(call: Call, inputs: Mapping[str, jax.ShapeDtypeStruct]) -> Call:
  """A call of the same numbers for inputs of exactly these shapes.

  Args:
    call: maps inputs to outputs, both by name.
    inputs: shapes and types.
  """
  traced = trace(call, inputs)

  def rewritten(given):
    outs = _run(traced.closed.jaxpr, traced.closed.consts, [given[n] for n in traced.inputs])
    return dict(zip(traced.outputs, map(force, outs), strict=True))

  return rewritten


def batched(inputs: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
  """The inputs in batches of `BATCH`, nothing if they are not in batches of one.

  A file that was made for these shows where the size of the batch stands, and it can be taken out.
  """
  if any(spec.shape[:1] != (1,) for spec in inputs.values()):
    return {}
  return {n: jax.ShapeDtypeStruct((BATCH, *s.shape[1:]), s.dtype) for n, s in inputs.items()}


@dataclasses.dataclass(frozen=True)
class Traced:
  """A call's jaxpr, and the names of what it takes and gives, in its order."""

  closed: Any
  inputs: list[str]
  outputs: list[str]


def trace(call: Call, inputs: Mapping[str, jax.ShapeDtypeStruct]) -> Traced:
  """Traces a call."""
  closed, outputs = jax.make_jaxpr(call, return_shape=True)(dict(inputs))
  return Traced(closed, sorted(inputs), sorted(outputs))


def _constant(x: Any) -> bool:
  return not isinstance(x, (jax.core.Tracer, *LAZY))


def _run(jaxpr, consts, args) -> list[Any]:
  consts = [np.asarray(c) if _constant(c) else c for c in consts]
  values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

  def read(v):
    return np.asarray(v.val, v.aval.dtype) if isinstance(v, core.Literal) else values[v]

  makers = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
  for eqn in jaxpr.eqns:
    operands = [read(v) for v in eqn.invars]
    name = eqn.primitive.name
    if name == 'composite' and _is_joined(jaxpr, makers, values, eqn.invars[0]):
      # LiteRT would round what was joined, also for others who read it in float.
      operands[0] = lax.mul(force(operands[0]), np.float32(1 + 2**-23))
    if (branch := plain_branch(eqn)) is not None:
      outs = _run(branch.jaxpr, branch.consts, operands[1:])
    elif name in INLINED:
      inner = eqn.params.get('jaxpr') or eqn.params['call_jaxpr']
      outs = _run(inner.jaxpr, inner.consts, operands)
    else:
      outs = _RULES.get(name, _pointwise if name in POINTWISE else _plain)(eqn, *operands)
    values.update(zip(eqn.outvars, outs, strict=True))
  return [read(v) for v in jaxpr.outvars]


def _plain(eqn, *given) -> list[Any]:
  """The operation as it is; at once if it is of constants and small."""
  operands = [force(x) for x in given]
  size = sum(math.prod(v.aval.shape) for v in eqn.outvars)
  largest = max((np.size(x) for x in operands), default=0)
  if all(map(_constant, operands)) and size <= max(_FOLDED_SIZE, largest):
    with jax.ensure_compile_time_eval():
      outs = eqn.primitive.bind(*operands, **eqn.params)
    outs = outs if eqn.primitive.multiple_results else [outs]
    return [np.asarray(out) for out in outs]
  outs = eqn.primitive.bind(*operands, **eqn.params)
  return outs if eqn.primitive.multiple_results else [outs]


def _pointwise(eqn, *operands) -> list[Any]:
  """Before the reshape that waits on an operand, if the other operands allow it."""
  waiting = [x for x in operands if isinstance(x, Reshaped)]
  if not waiting:
    return _plain(eqn, *operands)
  base, shape = waiting[0].base.shape, waiting[0].shape
  moved = [_before_reshape(x, base, shape) for x in operands]
  if any(x is None for x in moved):
    return _plain(eqn, *operands)
  return [Reshaped(eqn.primitive.bind(*moved, **eqn.params), shape)]


def _before_reshape(x: Any, base: tuple[int, ...], shape: tuple[int, ...]) -> Any:
  if isinstance(x, Reshaped):
    return x.base if (x.base.shape, x.shape) == (base, shape) else None
  if isinstance(x, Spread) and x.shape == shape and base[-1] == shape[-1]:  # Not of size 1.
    return jnp.broadcast_to(x.vector, base)
  if _constant(x) and np.ndim(x) == 0:
    return x
  if _constant(x) and np.size(x) == np.shape(x)[-1] == shape[-1] == base[-1]:
    return jnp.broadcast_to(np.reshape(x, -1), base)
  return None


def _reshape(eqn, x, *_) -> list[Any]:
  shape = tuple(eqn.outvars[0].aval.shape)
  if isinstance(x, Weight):
    x = x.reshape(shape) or x
    if x.shape == shape:
      return [x]
  if _constant(x):
    return _plain(eqn, x)
  base = x.base if isinstance(x, Reshaped) else force(x)
  base = base if not isinstance(base, Reshaped) else base.base
  return [Reshaped(base, shape, getattr(x, 'grid', None))]


def _broadcast_in_dim(eqn, x, *_) -> list[Any]:
  shape, dims = eqn.params['shape'], eqn.params['broadcast_dimensions']
  if math.prod(shape) == math.prod(np.shape(x) if _constant(x) else x.shape):
    return _reshape(eqn, x)
  if _constant(x) and np.ndim(x) == 0:
    return [x if len(shape) == 0 else Spread(jnp.broadcast_to(x, shape[-1:]), shape)]
  if _constant(x) and dims[-1] == len(shape) - 1 and np.size(x) == np.shape(x)[-1] == shape[-1]:
    return [Spread(np.reshape(x, -1), shape)]
  return _plain(eqn, x)


def _composite(eqn, *operands) -> list[Any]:
  if eqn.params['name'] != MARK:
    return _plain(eqn, *operands)
  attributes = attributes_of(eqn)
  (x,) = operands
  if _constant(x):
    return [Weight(np.asarray(x), attributes)]
  if _same_grid(getattr(x, 'grid', None), attributes):
    return [x]
  x = x if isinstance(x, Reshaped) else Reshaped(force(x), x.shape)
  return [Reshaped(fake_quant(x.base, attributes), x.shape, attributes)]


def _is_joined(jaxpr, makers, values, variable) -> bool:
  """Whether a value is joined or the greatest of what is not rounded and others read too."""
  name = makers[variable].primitive.name if variable in makers else ''
  if name not in _MOVED:
    return False
  parts = [v for v in makers[variable].invars if not isinstance(v, core.Literal)]
  parts = [v for v in parts if getattr(values.get(v), 'grid', None) is None]
  read = [*jaxpr.outvars, *(x for e in jaxpr.eqns for x in e.invars)]
  uses = [sum(v is x for x in read) for v in parts]
  shared = name != 'reshape' and max(uses, default=0) > 1
  return shared or any(_is_joined(jaxpr, makers, values, v) for v in parts)


def _same_grid(a: Grid | None, b: Grid) -> bool:
  return a is not None and a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def _unit_axes(x: Any, shape: tuple[int, ...]) -> Any:
  view = x.reshape(shape) if isinstance(x, Weight) else None
  if view is not None:
    return view.force()
  return jnp.reshape(force(x), shape)


def _conv(eqn, x, kernel) -> list[Any]:
  p = eqn.params
  numbers, rank = p['dimension_numbers'], len(eqn.invars[0].aval.shape)
  last = (0, rank - 1, *range(1, rank - 1))
  plain = p['batch_group_count'] == 1 and set(p['lhs_dilation']) == {1}
  if numbers != (last, (rank - 1, rank - 2, *range(rank - 2)), last) or not plain:
    return _plain(eqn, x, kernel)
  shape, window = x.shape, tuple(kernel.shape)
  strides, pads, dilation = p['window_strides'], p['padding'], p['rhs_dilation']
  axes: tuple[int | None, ...] = (0, None)
  if rank == 4:
    axes, shape4 = (0, 1), shape
  elif rank == 3:
    shape4 = (*shape[:2], 1, shape[2])
  elif window[0] == strides[0] == 1 and pads[0] == (0, 0):
    axes, shape4 = (1, 2), (shape[0] * shape[1], *shape[2:])
  elif window[1:3] == strides[1:] == (1, 1) and pads[1:] == ((0, 0), (0, 0)):
    shape4 = (*shape[:2], shape[2] * shape[3], shape[4])
  elif p['feature_group_count'] == dilation[0] == 1:
    x, kernel = seen_frames(x, window[0], strides[0], pads[0]), together(kernel)
    window = (1, *window[1:3], *kernel.shape[-2:])
    axes, shape4 = (1, 2), (x.shape[0] * x.shape[1], *x.shape[2:])
  else:
    return _plain(eqn, x, kernel)
  taken = [
    ((window[a], strides[a], pads[a], dilation[a]) if a is not None else (1, 1, (0, 0), 1))
    for a in axes
  ]
  sizes, strides, pads, dilation = zip(*taken, strict=True)
  y = lax.conv_general_dilated(
    reshape_to(x, shape4),
    _unit_axes(kernel, (*sizes, *window[-2:])),
    strides,
    pads,
    rhs_dilation=dilation,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=p['feature_group_count'],
    precision=p['precision'],
  )
  return [Reshaped(y, eqn.outvars[0].aval.shape)]


def _dot(eqn, x, matrix) -> list[Any]:
  (left, right), batch = eqn.params['dimension_numbers']
  rank = len(x.shape)
  simple = left == (rank - 1,) and right == (0,) and len(matrix.shape) == 2 and not any(batch)
  if not simple or rank < 2 or _constant(x):
    return _plain(eqn, x, matrix)
  rows = math.prod(x.shape[:-1])
  y = lax.dot(reshape_to(x, (rows, x.shape[-1])), force(matrix))
  return [Reshaped(y, eqn.outvars[0].aval.shape)]


def _reduce_window_max(eqn, x) -> list[Any]:
  p = eqn.params
  plain = {*p['base_dilation'], *p['window_dilation']} == {1} and not _constant(x)
  sizes, strides, pads = p['window_dimensions'], p['window_strides'], p['padding']
  pools = {
    i: (n, s, *pad)
    for i, (n, s, pad) in enumerate(zip(sizes, strides, pads, strict=True))
    if (n, s, pad) != (1, 1, (0, 0))
  }
  rank = len(sizes)
  inner = {3: {1}, 4: {1, 2}, 5: {1, 2, 3}}
  if not plain or not pools or not set(pools) <= inner.get(rank, set()):
    return _plain(eqn, x)
  return [max_pool(x, pools, getattr(x, 'grid', None))]


def _reduce_window(eqn, *operands) -> list[Any]:
  """Whether any of a window of `[B, T]` is true, as the maximum of zeros and ones."""
  p = eqn.params
  inner = [e.primitive.name for e in p['jaxpr'].eqns]
  window, stride, pad = (p[n] for n in ('window_dimensions', 'window_strides', 'padding'))
  plain = {*p['base_dilation'], *p['window_dilation']} == {1} and not np.any(operands[1])
  if plain and window == stride == (1, 1) and not np.any(pad):
    return [operands[0]]
  if inner != ['or'] or len(window) != 2 or window[0] != 1 or not plain:
    return _plain(eqn, *operands)
  numbers = force(operands[0]).astype(jnp.float32)[..., None]
  pooled = max_pool(numbers, {1: (window[1], stride[1], *pad[1])})
  return [Reshaped(force(pooled) > 0.5, eqn.outvars[0].aval.shape)]


def _odd(eqn, *operands) -> list[Any]:
  """A remainder or a cube root, of absolute values: LiteRT's are wrong where one is negative.

  Both are odd functions of the first operand, and the sign of a divisor has no influence.
  """
  if all(map(_constant, operands)):
    return _plain(eqn, *operands)
  arrays = [force(x) for x in operands]
  y = eqn.primitive.bind(*map(lax.abs, arrays), **eqn.params)
  return [lax.mul(lax.sign(arrays[0]), y)]


def _platform(eqn, *_) -> list[Any]:
  """Chooses a branch, which `plain_branch` does here."""
  return [np.int32(0)]


_RULES: dict[str, Callable[..., list[Any]]] = {
  'platform_index': _platform,
  'reshape': _reshape,
  'squeeze': _reshape,
  'expand_dims': _reshape,
  'broadcast_in_dim': _broadcast_in_dim,
  'composite': _composite,
  'conv_general_dilated': _conv,
  'dot_general': _dot,
  'reduce_window_max': _reduce_window_max,
  'reduce_window': _reduce_window,
  'rem': _odd,
  'cbrt': _odd,
}


def marked_layers(closed: Any) -> int:
  """How many convolutions and products have a marked constant as their second operand."""
  count = 0
  made = {v: e for e in closed.jaxpr.eqns for v in e.outvars}
  for eqn in closed.jaxpr.eqns:
    if eqn.primitive.name in ('conv_general_dilated', 'dot_general'):
      kernel = eqn.invars[1]
      source = None if isinstance(kernel, core.Literal) else made.get(kernel)
      count += source is not None and source.params.get('name') == MARK
  return count
