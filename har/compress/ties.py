"""Which channels of a model's parameters can only go together, found in its trace.

Each element along each axis of each parameter starts as a channel of its own. Operations tie them:
what a convolution reads to its kernel's input channels, what is added to what it is added to, a
gate of a recurrent layer to the state that it opens. Channels of the model's inputs and outputs are
fixed.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
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


@dataclasses.dataclass(frozen=True)
class Result:
  """What an operation gives.

  Attributes:
    name: of the operation.
    where: the modules that it is in.
    axes: the channels along each axis.
    constants: arrays that it reads and that depend on nothing but shapes, such as positions.
  """

  name: str
  where: str
  axes: Axes
  constants: Sequence[np.ndarray]


class Ties:
  """The channels of a trace.

  Attributes:
    leaves: the channels along each axis of each parameter that is read, in order: equal numbers
      for what is tied, 0 for what is fixed.
    products: uses of kernels, in order.
    opaque: operations that fix channels that they read, each with where it is.
    results: what operations give, in order.
  """

  def __init__(self, trace: Trace):
    self._parents = [FIXED]
    self._axes: dict[Value, Axes] = {}
    self.leaves: dict[Path, tuple[np.ndarray, ...]] = {}
    self.products: list[Product] = []
    self.opaque: list[str] = []
    self.results: list[Result] = []
    self._at: str | None = None
    self._known: dict[Value, bool] = {}
    self._arrays: dict[Value, Any] = {}
    self._axes.update((value, fixed(value.shape)) for value in trace.inputs.values())
    self._walk(trace.operations, 1)
    self._at = None
    for value in trace.outputs:
      self.fix(*self._of(value))
    roots = np.array([self._root(i) for i in range(len(self._parents))])
    self.leaves = {p: tuple(roots[x] for x in axes) for p, axes in self.leaves.items()}
    self.results = [
      dataclasses.replace(r, axes=tuple(x if x is None else roots[x] for x in r.axes))
      for r in self.results
    ]

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
    known = [labels for labels in axes if labels is not None]
    if self._at and any(self._root(i) for labels in known for i in labels.tolist()):
      self.opaque.append(self._at)
    for labels in known:
      self.tie(labels, np.full_like(labels, FIXED))

  def _root(self, i: int) -> int:
    while self._parents[i] != i:
      self._parents[i] = self._parents[self._parents[i]]
      i = self._parents[i]
    return i

  def new(self, count: int) -> np.ndarray:
    """Channels that are tied to none."""
    start = len(self._parents)
    self._parents.extend(range(start, start + count))
    return np.arange(start, start + count)

  def _of(self, value: Value) -> Axes:
    if value not in self._axes:
      if value.leaf is None:
        return tie_rules.constant(np.asarray(value.literal))
      self._axes[value] = self.leaves[value.leaf] = tuple(map(self.new, value.shape))
    return self._axes[value]

  def _walk(self, operations: Sequence[Operation], times: int) -> None:
    for operation in operations:
      self._at = f'{operation.name} in {operation.where}'
      given, constants = self._given(operation)
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
      self.results.extend(
        Result(operation.name, operation.where, axes, constants) for axes in results
      )

  def _given(self, operation: Operation) -> tuple[list[Axes], list[np.ndarray]]:
    """Axes of what an operation reads, and arrays among it that are computed of nothing.

    Element by element their axes fit any; in other operations they are fixed where they vary.
    """
    given = [self._of(value) for value in operation.inputs]
    apart = [v.source is not None and self._apart(v) and _is_array(v) for v in operation.inputs]
    if all(self._apart(v) for v in operation.inputs) or not any(apart):
      return given, []
    arrays = {i: np.asarray(self._run(operation.inputs[i])) for i, yes in enumerate(apart) if yes}
    if operation.name in tie_rules.ELEMENTWISE:
      return given, [x for x in arrays.values() if x.size > 1]
    return [tie_rules.constant(arrays[i]) if i in arrays else x for i, x in enumerate(given)], []

  def _apart(self, value: Value) -> bool:
    """Whether it depends on neither inputs nor parameters."""
    if value.source is None or not value.static:
      return value.static and value.leaf is None
    if value not in self._known:
      self._known[value] = all(map(self._apart, value.source.inputs))
    return self._known[value]

  def _run(self, value: Value) -> Any:
    """Computes what depends on nothing."""
    if value.source is None:
      return value.literal
    if value not in self._arrays:
      results = value.source.run(*map(self._run, value.source.inputs))
      self._arrays.update(zip(value.source.outputs, results, strict=True))
    return self._arrays[value]

  def _unknown(self, operation: Operation, given: list[Axes]) -> list[Axes]:
    axes = [x for axes in given for x in axes if x is not None]
    if not axes:
      return [(None,) * len(value.shape) for value in operation.outputs]
    self.fix(*axes)
    return [fixed(value.shape) for value in operation.outputs]

  def _loop(self, operation: Operation, given: list[Axes], times: int) -> list[Axes]:
    loop, params = operation.loop, operation.eqn.params
    assert loop is not None
    consts, count = loop.consts, loop.carry
    carry = [
      tuple(self.new(n) if x is None else x for x, n in zip(axes, value.shape, strict=True))
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


def _is_array(value: Value) -> bool:
  return not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)  # no random key
