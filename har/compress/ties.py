"""Which channels of a model's parameters can only go together, found in its trace.

Each element along each axis of each parameter starts as a channel of its own. Operations tie them:
what a convolution reads to its kernel's input channels, what is added to what it is added to, a
gate of a recurrent layer to the state that it opens. Channels of the model's inputs and outputs are
fixed.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from har.compress import tie_rules
from har.compress.operations import Operation, Path, Value, kernel_path
from har.compress.tie_rules import FIXED, Axes, Labels, fixed
from har.compress.trace import Trace


@dataclasses.dataclass(frozen=True)
class Product:
  """A use of a kernel, by a convolution or product.

  Attributes:
    kernel: where it is among the variables.
    times: how often each of its elements is multiplied.
  """

  kernel: Path
  times: int


class Ties:
  """The channels of a trace.

  Attributes:
    leaves: the channels along each axis of each parameter that is read, in order: equal numbers
      for what is tied, 0 for what is fixed.
    products: uses of kernels, in order.
    opaque: operations that fix all that they read, each with where it is.
  """

  def __init__(self, trace: Trace):
    self._parents = [FIXED]
    self._axes: dict[Value, Axes] = {}
    self.leaves: dict[Path, tuple[np.ndarray, ...]] = {}
    self.products: list[Product] = []
    self.opaque: list[str] = []
    self._axes.update((value, fixed(value.shape)) for value in trace.inputs.values())
    self._walk(trace.operations, 1)
    for value in trace.outputs:
      self.fix(*self._of(value))
    for path, axes in self.leaves.items():
      self.leaves[path] = tuple(np.array([self._root(i) for i in x.tolist()], int) for x in axes)

  def tie(self, a: Labels, b: Labels) -> Labels:
    """Ties two axes' channels, one by one, and returns them."""
    if a is None or b is None:
      return b if a is None else a
    for i, j in zip(a[a != b].tolist(), b[a != b].tolist(), strict=True):
      low, high = sorted((self._root(i), self._root(j)))
      self._parents[high] = low
    return a

  def fix(self, *axes: Labels) -> None:
    """Fixes all channels of these axes."""
    for labels in axes:
      if labels is not None:
        self.tie(labels, np.full_like(labels, FIXED))

  def _root(self, i: int) -> int:
    while self._parents[i] != i:
      self._parents[i] = self._parents[self._parents[i]]
      i = self._parents[i]
    return i

  def _new(self, count: int) -> np.ndarray:
    start = len(self._parents)
    self._parents.extend(range(start, start + count))
    return np.arange(start, start + count)

  def _of(self, value: Value) -> Axes:
    if value not in self._axes:
      if value.leaf is None:
        return tie_rules.constant(np.asarray(value.literal))
      self._axes[value] = self.leaves[value.leaf] = tuple(map(self._new, value.shape))
    return self._axes[value]

  def _walk(self, operations: Sequence[Operation], times: int) -> None:
    for operation in operations:
      given = [self._of(value) for value in operation.inputs]
      if operation.loop is not None:
        results = self._loop(operation, given, times)
      elif (rule := tie_rules.RULES.get(operation.name)) is not None:
        results = rule(self, operation, *given)
      else:
        results = self._unknown(operation, given)
      if (kernel := kernel_path(operation)) is not None:
        shape = operation.outputs[0].shape
        self.products.append(Product(kernel, times * math.prod(shape) // shape[-1]))
      self._axes.update(zip(operation.outputs, results, strict=True))

  def _unknown(self, operation: Operation, given: list[Axes]) -> list[Axes]:
    axes = [x for axes in given for x in axes if x is not None]
    if not axes:
      return [(None,) * len(value.shape) for value in operation.outputs]
    if any(self._root(i) for x in axes for i in x.tolist()):
      self.opaque.append(f'{operation.name} in {operation.eqn.source_info.name_stack}')
    self.fix(*axes)
    return [fixed(value.shape) for value in operation.outputs]

  def _loop(self, operation: Operation, given: list[Axes], times: int) -> list[Axes]:
    loop, params = operation.loop, operation.eqn.params
    assert loop is not None
    consts, count = loop.consts, loop.carry
    carry = [
      tuple(self._new(n) if x is None else x for x, n in zip(axes, value.shape, strict=True))
      for axes, value in zip(given[consts : consts + count], loop.inputs, strict=False)
    ]
    slices = [axes[1:] for axes in given[consts + count :]]
    self._axes.update(zip(loop.inputs, [*carry, *slices], strict=True))
    self._walk(loop.operations, times * params['length'])
    results = [self._of(value) for value in loop.outputs]
    for before, after in zip(carry, results, strict=False):
      for a, b in zip(before, after, strict=True):
        self.tie(a, b)
    steps = np.full(params['length'], FIXED)
    return [*carry, *((steps, *axes) for axes in results[count:])]
