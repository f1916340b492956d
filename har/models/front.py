"""A model's frozen front: what its encoders compute before anything that trains.

It is a function of the example alone, so it need not be computed twice. Where it ends follows from
the patterns of what trains: modules are called in the order of computation, and of each encoder
those belong to it that nothing trained lies in or was called before. Of their outputs, only those
count that the rest of the model reads.
"""

import collections
import contextlib
import dataclasses
import fnmatch
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.extend.core
import jax.numpy as jnp

from har.errors import UserError
from har.models.mode import INFERENCE, Mode, matches
from har.models.types import Outputs

Path = tuple[str, ...]
Variables = Mapping[str, Any]
Call = tuple[Path, int]  # a module, and its how manieth call
Handle = Callable[[Call, Callable[[], Any]], Any]


@dataclasses.dataclass(frozen=True)
class Leaf:
  """An array that a frozen module gives for N examples, `[N * rows, *shape]`.

  Attributes:
    rows: of one example, which follow one another: frames that are folded into the batch.
    shape: of a row.
    dtype: of its values.
  """

  rows: int
  shape: tuple[int, ...]
  dtype: Any

  @property
  def one(self) -> jax.ShapeDtypeStruct:
    """That of one example, as it is kept."""
    return jax.ShapeDtypeStruct((self.rows, *self.shape), self.dtype)


@dataclasses.dataclass(frozen=True)
class Front:
  """The frozen front of some encoders.

  Attributes:
    names: of those encoders.
    example: shapes and types of a batch of one example, preprocessed, of all encoders.
    trained: path patterns of what trains.
    owned: paths of all parameters.
    outputs: trees of `Leaf`, of each frozen module's call.
    kept: names by call and number of leaf, of the leaves that the rest of the model reads:
      `NAME_front0`, `NAME_front1`...
  """

  names: tuple[str, ...]
  example: Mapping[str, jax.ShapeDtypeStruct]
  trained: tuple[str, ...]
  owned: frozenset[Path]
  outputs: Mapping[Call, Any]
  kept: Mapping[tuple[Call, int], str]

  def shapes(self) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """What is kept of one example, by input and name."""
    found: dict[str, dict[str, jax.ShapeDtypeStruct]] = {name: {} for name in self.names}
    for (call, number), name in self.kept.items():
      found[call[0][0]][name] = jax.tree.leaves(self.outputs[call])[number].one
    return found

  def rest(self, model: Any) -> 'Rest':
    """What is left of the model."""
    return Rest(model, self)

  def frozen(self, variables: Variables) -> Variables:
    """The variables that what is kept may depend on."""
    flat = flax.traverse_util.flatten_dict(dict(variables))
    kept = {
      path: x
      for path, x in flat.items()
      if path[1] in self.names and not matches(path[1:], self.trained)
    }
    return flax.traverse_util.unflatten_dict(kept)

  def compute(
    self, model: nn.Module, variables: Variables, inputs: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """What is kept of a batch, `[B, rows, ...]` by name.

    Args:
      model: a `har.models.recogniser.Recogniser`.
      variables: of it.
      inputs: preprocessed, of the encoders that have a front.
    """
    others = {k: x for k, x in self.example.items() if k not in inputs}
    given = {**zeros(others, len(inputs[self.names[0]])), **inputs}
    found = _call(model, variables, given, self)
    kept = {}
    for (call, number), name in self.kept.items():
      leaf = jax.tree.leaves(self.outputs[call])[number]
      kept[name] = jax.tree.leaves(found[call])[number].reshape(-1, *leaf.one.shape)
    return kept


@dataclasses.dataclass(frozen=True)
class Rest:
  """What is left of a model without its frozen front; it is applied as the model is.

  Attributes:
    model: a `har.models.recogniser.Recogniser`.
    front: of it.
  """

  model: Any
  front: Front

  def apply(
    self, variables: Variables, inputs: Mapping[str, jax.Array], mode: Mode = INFERENCE, **rest: Any
  ) -> Any:
    """`model.apply`, of inputs with what `Front.compute` gave in place of what it was given.

    The outputs' features are left out: what nothing reads is not kept.
    """
    examples = len(next(inputs[name] for name in self.front.kept.values()))
    given = zeros({name: self.front.example[name] for name in self.front.names}, examples)

    def handle(call: Call, run: Callable[[], Any]) -> Any:
      del run
      leaves, tree = jax.tree.flatten(self.front.outputs[call])
      arrays = []
      for number, leaf in enumerate(leaves):
        shape = (examples * leaf.rows, *leaf.shape)
        name = self.front.kept.get((call, number))
        # Whatever is not kept is read by nothing that is computed.
        arrays.append(jnp.zeros(shape, leaf.dtype) if name is None else inputs[name].reshape(shape))
      return jax.tree.unflatten(tree, arrays)

    with _intercepted(self.front, handle):
      found = self.model.apply(variables, {**inputs, **given}, mode, **rest)
    if isinstance(found, Outputs):
      return dataclasses.replace(found, features={})
    outputs, updates = found
    return dataclasses.replace(outputs, features={}), updates


def find(
  model: Any,
  variables: Variables,
  example: Mapping[str, jax.ShapeDtypeStruct],
  trained: Sequence[str],
  among: Collection[str],
) -> Front:
  """The frozen front of a model.

  Args:
    model: a `har.models.recogniser.Recogniser`, or one that has a method `front` of its own.
    variables: shapes and types.
    example: shapes and types of a batch of one example, preprocessed.
    trained: path patterns of what trains.
    among: inputs whose encoders may have a front; those that have none are left out.
  """
  if hasattr(model, 'front'):
    return model.front(variables, example, trained, among)
  owned = frozenset(flax.traverse_util.flatten_dict(variables['params']))
  front = Front(tuple(among), example, tuple(trained), owned, {}, {})
  one, two = (_shapes(model, variables, front, size) for size in (1, 2))
  outputs = {call: jax.tree.map(leaf, one[call], two[call]) for call in one}
  counts: collections.Counter[str] = collections.Counter()
  every: dict[tuple[Call, int], str] = {}
  for call, tree in outputs.items():
    name = call[0][0]
    for number in range(len(jax.tree.leaves(tree))):
      every[call, number] = f'{name}_front{counts[name]}'
      counts[name] += 1
  names = tuple(name for name in among if counts[name])
  front = dataclasses.replace(front, names=names, outputs=outputs, kept=every)
  return dataclasses.replace(front, kept=_read(model, variables, front)) if names else front


def leaf(one: Any, two: Any) -> Leaf:
  """A leaf by its shapes for one example and for two.

  Raises:
    UserError: none of its axes is that of the examples.
  """
  if not one.shape or two.shape != (2 * one.shape[0], *one.shape[1:]):
    raise UserError(f'a frozen module gives {one.shape}, in which no axis is that of the examples')
  return Leaf(one.shape[0], one.shape[1:], one.dtype)


def zeros(example: Mapping[str, jax.ShapeDtypeStruct], size: int) -> dict[str, jax.Array]:
  """A batch of `size` examples that say nothing."""
  return {k: jnp.zeros((size, *x.shape[1:]), x.dtype) for k, x in example.items()}


def _shapes(model: Any, variables: Variables, front: Front, size: int) -> dict[Call, Any]:
  """Shapes of what each frozen module gives for a batch."""
  order: list[Call] = []

  def calls(variables):
    found = _call(model, variables, zeros(front.example, size), front)
    order.extend(found)
    return list(found.values())

  found = jax.eval_shape(calls, variables)
  return dict(zip(order, found, strict=True))


def _call(
  model: Any, variables: Variables, inputs: Mapping[str, jax.Array], front: Front
) -> dict[Call, Any]:
  """What each frozen module gives, in the order of calls."""
  found: dict[Call, Any] = {}

  def handle(call: Call, run: Callable[[], Any]) -> Any:
    found[call] = run()
    return found[call]

  with _intercepted(front, handle):
    model.apply(variables, inputs, INFERENCE, method='encode')
  return found


def _read(model: Any, variables: Variables, front: Front) -> dict[tuple[Call, int], str]:
  """The leaves that the model's outputs depend on, while it trains and while it does not."""
  rest = Rest(model, front)
  others = {k: x for k, x in front.example.items() if k not in front.names}
  batch = {
    name: jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
    for shapes in front.shapes().values()
    for name, x in shapes.items()
  }

  def run(leaves, variables):
    inputs = {**zeros(others, 1), **leaves}
    training = {'rngs': {'dropout': jax.random.key(0)}, 'mutable': ['batch_stats']}
    trained = rest.apply(variables, inputs, Mode(True, front.trained), **training)
    return trained, rest.apply(variables, inputs)

  jaxpr = jax.make_jaxpr(run)(batch, variables).jaxpr
  needed = {v for v in jaxpr.outvars if not isinstance(v, jax.extend.core.Literal)}
  for equation in reversed(jaxpr.eqns):
    if needed.intersection(equation.outvars):
      needed |= {v for v in equation.invars if not isinstance(v, jax.extend.core.Literal)}
  # A dict's leaves are flattened in the order of its sorted keys, and come first.
  live = {name for name, v in zip(sorted(batch), jaxpr.invars, strict=False) if v in needed}
  return {place: name for place, name in front.kept.items() if name in live}


@contextlib.contextmanager
def _intercepted(front: Front, handle: Handle) -> Iterator[None]:
  """A context in which `handle(call, run)` answers calls of the frozen front's modules."""
  counts: collections.Counter[Path] = collections.Counter()
  reached: set[str] = set()  # encoders that have come to what trains
  inside: list[Path] = []

  def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    path = context.module.path
    asked = context.method_name == '__call__' and path and path[0] in front.names
    if not asked or inside or path[0] in reached:
      return call(*args, **kwargs)
    if _reaches(front.trained, path):
      if matches(path, front.trained) or _owns_trained(path, front):
        reached.add(path[0])
      return call(*args, **kwargs)
    place = path, counts[path]
    counts[path] += 1
    inside.append(path)
    try:
      return handle(place, lambda: call(*args, **kwargs))
    finally:
      inside.pop()

  with nn.intercept_methods(intercept):
    yield


def _reaches(patterns: Sequence[str], path: Path) -> bool:
  """Whether a pattern may name the module at `path`, what is in it or what it is in."""
  named = (zip(path, pattern.split('/'), strict=False) for pattern in patterns)
  return any(all(fnmatch.fnmatchcase(*pair) for pair in pairs) for pairs in named)


def _owns_trained(path: Path, front: Front) -> bool:
  """Whether a parameter that trains is the module's own."""
  return any(one[:-1] == path and matches(one, front.trained) for one in front.owned)


def size(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> int:
  """Bytes of one example."""
  return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in shapes.values())
