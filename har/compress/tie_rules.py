"""How operations tie the channels of what they read: one rule by each primitive."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from har.compress.operations import POINTWISE, Operation

# Of an axis: a channel for each element; None fits any.
Labels = np.ndarray | None
Axes = tuple[Labels, ...]
FIXED = 0


class Ties(Protocol):
  """See `har.compress.ties.Ties`."""

  def new(self, count: int) -> np.ndarray: ...

  def tie(self, a: Labels, b: Labels) -> Labels: ...

  def fix(self, *axes: Labels) -> None: ...


Rule = Callable[..., list[Axes]]


def fixed(shape: tuple[int, ...]) -> Axes:
  """Axes of this shape whose channels are fixed."""
  return tuple(np.full(n, FIXED) for n in shape)


def constant(x: np.ndarray) -> Axes:
  """Axes of a constant: along which it does not vary, it fits any."""
  varies = [bool(np.any(x != np.take(x, [0], axis))) for axis in range(x.ndim)]
  return tuple(np.full(n, FIXED) if v else None for n, v in zip(x.shape, varies, strict=True))


def _pointwise(ties: Ties, operation: Operation, *given: Axes) -> list[Axes]:
  shape = operation.outputs[0].shape
  out: list[Labels] = [None] * len(shape)
  for value, axes in zip(operation.inputs, given, strict=True):
    for i, labels in enumerate(axes):  # Sizes of one are repeated.
      out[i] = ties.tie(out[i], labels) if value.shape[i] == shape[i] else out[i]
  return [tuple(out)]


def _broadcast(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  shape = operation.outputs[0].shape
  out: list[Labels] = [None] * len(shape)
  places = operation.eqn.params['broadcast_dimensions']
  for size, place, labels in zip(operation.inputs[0].shape, places, x, strict=True):
    out[place] = labels if size == shape[place] else None
  return [tuple(out)]


def _reshape(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  """Axes that are cut or joined, group by group; sizes of one belong to none."""
  before, after = operation.inputs[0].shape, operation.outputs[0].shape
  out: list[Labels] = [None if all(a is None for a in x) else np.full(n, FIXED) for n in after]
  reads = [i for i, n in enumerate(before) if n != 1]
  writes = [i for i, n in enumerate(after) if n != 1]
  while reads and writes:
    taken, given = [reads.pop(0)], [writes.pop(0)]
    while (a := math.prod(before[i] for i in taken)) != (b := math.prod(after[i] for i in given)):
      (taken if a < b else given).append((reads if a < b else writes).pop(0))
    labels = _joined(ties, [x[i] for i in taken], [before[i] for i in taken])
    for i, part in zip(given, _cut(ties, labels, [after[i] for i in given]), strict=True):
      out[i] = part
  return [tuple(out)]


def _joined(ties: Ties, axes: list[Labels], sizes: list[int]) -> Labels:
  """Labels of all elements of some axes, of which only one may have channels that can go."""
  known = {i: x for i, x in enumerate(axes) if x is not None and x.any()}
  if not known and all(x is None for x in axes):
    return None
  if not known and axes[-1] is None:  # Repeats, as often as what they meet has channels.
    known = {len(axes) - 1: ties.new(sizes[-1])}
  if not known:
    return np.full(math.prod(sizes), FIXED)
  if len(known) > 1:
    ties.fix(*axes)
    return np.full(math.prod(sizes), FIXED)
  ((at, labels),) = known.items()
  shape = [n if i == at else 1 for i, n in enumerate(sizes)]
  return np.broadcast_to(np.reshape(labels, shape), sizes).reshape(-1)


def _cut(ties: Ties, labels: Labels, sizes: list[int]) -> list[Labels]:
  """The labels of an axis that becomes several."""
  if labels is None or len(sizes) == 1:
    return [labels] * len(sizes)
  cube = labels.reshape(sizes)
  out: list[Labels] = list(fixed(tuple(sizes)))
  along = next((i for i in range(len(sizes)) if _only_along(cube, i)), len(sizes) - 1)
  rows = np.moveaxis(cube, along, -1)
  out[along] = _group(ties, rows, rows.size // sizes[along])
  return out


def _only_along(cube: np.ndarray, axis: int) -> bool:
  rows = np.moveaxis(cube, axis, -1).reshape(-1, cube.shape[axis])
  return bool((rows == rows[:1]).all())


def _transpose(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  return [tuple(x[i] for i in operation.eqn.params['permutation'])]


def _squeeze(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  return [tuple(a for i, a in enumerate(x) if i not in operation.eqn.params['dimensions'])]


def _rev(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  turned = operation.eqn.params['dimensions']
  return [tuple(a if a is None or i not in turned else a[::-1] for i, a in enumerate(x))]


def _reduce(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  return [tuple(a for i, a in enumerate(x) if i not in operation.eqn.params['axes'])]


def _argument(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  ties.fix(*(x[i] for i in operation.eqn.params['axes']))  # It gives their numbers.
  return _reduce(ties, operation, x)


def _cumulate(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  ties.fix(x[operation.eqn.params['axis']])
  return [x]


def _window(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  p, out = operation.eqn.params, list(x)
  for i, size in enumerate(operation.outputs[0].shape):
    if (p['window_dimensions'][i], p['window_strides'][i]) != (1, 1) or any(p['padding'][i]):
      ties.fix(x[i])
      out[i] = np.full(size, FIXED)
  return [tuple(out)]


def _concatenate(ties: Ties, operation: Operation, *given: Axes) -> list[Axes]:
  along = operation.eqn.params['dimension']
  out: list[Labels] = [None] * len(given[0])
  for axes in given:
    out = [
      ties.tie(a, b) if i != along else None for i, (a, b) in enumerate(zip(out, axes, strict=True))
    ]
  parts = [axes[along] for axes in given]
  if any(labels is not None for labels in parts):
    sizes = [value.shape[along] for value in operation.inputs]
    filled = [np.full(n, FIXED) if x is None else x for x, n in zip(parts, sizes, strict=True)]
    out[along] = np.concatenate(filled)
  return [tuple(out)]


def _slice(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  p = operation.eqn.params
  strides = p['strides'] or (1,) * len(x)
  cuts = [
    slice(*each) for each in zip(p['start_indices'], p['limit_indices'], strides, strict=True)
  ]
  return [tuple(a if a is None else a[cut] for a, cut in zip(x, cuts, strict=True))]


def _dynamic_slice(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  out = list(x)
  for i, size in enumerate(operation.outputs[0].shape):
    if size != operation.inputs[0].shape[i]:
      ties.fix(x[i])
      out[i] = np.full(size, FIXED)
  return [tuple(out)]


def _split(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  p = operation.eqn.params
  labels, ends = x[p['axis']], np.cumsum(p['sizes'])
  parts = [None] * len(ends) if labels is None else np.split(labels, ends[:-1])
  return [tuple(part if i == p['axis'] else a for i, a in enumerate(x)) for part in parts]


def _stack(ties: Ties, operation: Operation, *given: Axes) -> list[Axes]:
  out: list[Labels] = [None] * len(given[0])
  for axes in given:
    out = [ties.tie(a, b) for a, b in zip(out, axes, strict=True)]
  out.insert(operation.eqn.params['axis'], np.full(len(given), FIXED))
  return [tuple(out)]


def _tile(ties: Ties, operation: Operation, x: Axes) -> list[Axes]:
  reps = operation.eqn.params['reps']
  return [tuple(a if a is None else np.tile(a, n) for a, n in zip(x, reps, strict=True))]


def _gather(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  """Axes that are taken whole keep their channels."""
  numbers, sizes = (operation.eqn.params[k] for k in ('dimension_numbers', 'slice_sizes'))
  out = list(fixed(operation.outputs[0].shape))
  gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
  left = iter(numbers.offset_dims)
  for i, size in enumerate(operation.inputs[0].shape):
    place = None if i in gone else next(left)
    if operation.inputs[0].static and place is None:
      ties.tie(x[i], np.full(size, FIXED))  # The rows of a table.
    elif place is None or sizes[i] != size:
      ties.fix(x[i])
    else:
      out[place] = x[i]
  return [tuple(out)]


def _pad(ties: Ties, operation: Operation, x: Axes, *_: Axes) -> list[Axes]:
  out = list(x)
  for i, (low, high, inner) in enumerate(operation.eqn.params['padding_config']):
    labels = x[i]
    if labels is None or low == high == inner == 0:
      continue
    if inner or min(low, high) < 0:
      ties.fix(labels)
      out[i] = np.full(operation.outputs[0].shape[i], FIXED)
    else:
      out[i] = np.pad(labels, (low, high), constant_values=FIXED)
  return [tuple(out)]


def _conv(ties: Ties, operation: Operation, x: Axes, kernel: Axes) -> list[Axes]:
  p = operation.eqn.params
  numbers, groups = p['dimension_numbers'], p['feature_group_count']
  batch, read = (x[i] for i in numbers.lhs_spec[:2])
  features, inputs = (kernel[i] for i in numbers.rhs_spec[:2])
  ties.fix(*(x[i] for i in numbers.lhs_spec[2:]))
  for i in numbers.rhs_spec[2:]:
    ties.tie(kernel[i], np.full(operation.inputs[1].shape[i], FIXED))
  if p['batch_group_count'] != 1:
    ties.fix(batch, read, features, inputs)
  elif groups == 1:
    ties.tie(read, inputs)
  elif operation.inputs[1].shape[numbers.rhs_spec[1]] == 1:
    # Depthwise: each input channel has its own output channels.
    count = operation.outputs[0].shape[numbers.out_spec[1]] // groups
    features = ties.tie(features, None if read is None else np.repeat(read, count))
  else:  # All groups alike.
    ties.tie(_group(ties, read, groups), inputs)
    _group(ties, features, groups)
  out: list[Labels] = list(fixed(operation.outputs[0].shape))
  out[numbers.out_spec[0]], out[numbers.out_spec[1]] = batch, features
  return [tuple(out)]


def _group(ties: Ties, labels: Labels, groups: int) -> Labels:
  """The labels of one of several groups of channels that are alike."""
  if labels is None:
    return None
  rows = labels.reshape(groups, -1)
  for row in rows[1:]:
    ties.tie(rows[0], row)
  return rows[0]


def _dot(ties: Ties, operation: Operation, x: Axes, y: Axes) -> list[Axes]:
  contracted, batches = operation.eqn.params['dimension_numbers']
  for i, j in zip(*contracted, strict=True):
    ties.tie(x[i], y[j])
  shared = [ties.tie(x[i], y[j]) for i, j in zip(*batches, strict=True)]
  free = [
    a
    for axes, gone, both in zip((x, y), contracted, batches, strict=True)
    for i, a in enumerate(axes)
    if i not in (*gone, *both)
  ]
  return [(*shared, *free)]


ELEMENTWISE = POINTWISE | {
  *('acos', 'acosh', 'and', 'asin', 'asinh', 'atan', 'atan2', 'atanh', 'cbrt', 'ceil', 'copy'),
  *('cos', 'cosh', 'eq', 'erf_inv', 'erfc', 'exp2', 'expm1', 'ge', 'gt', 'is_finite', 'le'),
  *('log1p', 'lt', 'ne', 'nextafter', 'not', 'or', 'reduce_precision', 'rem', 'select_n', 'sin'),
  *('sinh', 'stop_gradient', 'tan', 'xor'),
}
_REDUCED = ('and', 'max', 'min', 'or', 'prod', 'sum')
_WINDOWS = ('', '_max', '_min', '_sum')

RULES: dict[str, Rule] = {
  **dict.fromkeys(ELEMENTWISE, _pointwise),
  **dict.fromkeys((f'reduce_{name}' for name in _REDUCED), _reduce),
  **dict.fromkeys(('argmax', 'argmin'), _argument),
  **dict.fromkeys((f'reduce_window{name}' for name in _WINDOWS), _window),
  **dict.fromkeys(('cumsum', 'cumprod', 'cummax', 'cummin'), _cumulate),
  'broadcast_in_dim': _broadcast,
  'concatenate': _concatenate,
  'conv_general_dilated': _conv,
  'dot_general': _dot,
  'dynamic_slice': _dynamic_slice,
  'gather': _gather,
  'pad': _pad,
  'reshape': _reshape,
  'rev': _rev,
  'slice': _slice,
  'split': _split,
  'squeeze': _squeeze,
  'stack': _stack,
  'tile': _tile,
  'transpose': _transpose,
}
