"""The frozen front of a folded model: what it computes of an example before anything that trains.

What `har.models.front` is for Linen models, by the operations of a trace in place of modules.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from har.compress.operations import Operation, Path, Value
from har.compress.trace import Trace, trace
from har.models.front import Leaf, leaf, zeros
from har.models.mode import INFERENCE, Mode, matches

Variables = Mapping[str, Any]
Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class FoldedFront:
  """The frozen front of some inputs; see `har.models.front.Front`, which it stands in for.

  Attributes:
    names: of those inputs.
    example: shapes and types of a batch of one example of all inputs.
    trained: path patterns of what trains.
    kept: what is kept of an example, by name.
  """

  names: tuple[str, ...]
  example: Shapes
  trained: tuple[str, ...]
  kept: Mapping[str, Leaf]

  def shapes(self) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """What is kept of one example, by input and name; all under the first input."""
    found: dict[str, dict[str, jax.ShapeDtypeStruct]] = {name: {} for name in self.names}
    found[self.names[0]] = {name: one.one for name, one in self.kept.items()}
    return found

  def compute(
    self, model: Any, variables: Variables, inputs: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """What is kept of a batch, `[B, rows, ...]` by name.

    Args:
      model: a `har.compress.quantise.FoldedModel`.
      variables: of it.
      inputs: preprocessed, those that have a front.
    """
    given = {**zeros(self.example, len(inputs[self.names[0]])), **inputs}
    given = {name: given[name] for name in self.example}  # There may be masks that say nothing.
    split = _split(model, variables, given, self.trained)
    env = split.environment(variables, given)
    run(split.early, env)
    values = (read(env, value) for value in split.between)
    pairs = zip(self.kept.items(), values, strict=True)
    return {name: x.reshape(-1, *one.one.shape) for (name, one), x in pairs}

  def rest(self, model: Any) -> 'FoldedRest':
    """What is left of the model."""
    return FoldedRest(model, self)

  def frozen(self, variables: Variables) -> Variables:
    """The variables that what is kept may depend on."""
    flat = flax.traverse_util.flatten_dict(dict(variables))
    kept = {path: x for path, x in flat.items() if not _trains(path, self.trained)}
    return flax.traverse_util.unflatten_dict(kept)


@dataclasses.dataclass(frozen=True)
class FoldedRest:
  """What is left of a folded model without its frozen front; it is applied as the model is."""

  model: Any
  front: FoldedFront

  def apply(
    self,
    variables: Variables,
    inputs: Mapping[str, jax.Array],
    mode: Mode = INFERENCE,
    *,
    rngs: Any = None,
    mutable: Any = False,
  ) -> Any:
    """`model.apply`, of what `FoldedFront.compute` gave and the inputs that have no front."""
    del mode, rngs
    examples = len(inputs[next(iter(self.front.kept))])
    given = {**zeros(self.front.example, examples), **inputs}
    given = {name: given[name] for name in self.front.example}
    split = _split(self.model, variables, given, self.front.trained)
    env = split.environment(variables, given)
    for value, (name, one) in zip(split.between, self.front.kept.items(), strict=True):
      env[value] = inputs[name].reshape(examples * one.rows, *one.shape)
    run(split.late, env)
    outputs = [read(env, value) for value in split.traced.outputs]
    found = jax.tree.unflatten(split.traced.tree, outputs)
    return (found, {}) if mutable else found


@dataclasses.dataclass(frozen=True)
class Split:
  """A traced model in two.

  Attributes:
    traced: all of it.
    early: operations that nothing trained comes before.
    late: what the outputs need besides `between` and the inputs.
    between: values of examples behind frozen parameters that the late ones, or the outputs, read.
    raw: names of the inputs that the late ones read.
    reads: names of the inputs that `between` depends on.
  """

  traced: Trace
  early: Sequence[Operation]
  late: Sequence[Operation]
  between: Sequence[Value]
  raw: frozenset[str]
  reads: frozenset[str]

  def environment(
    self, variables: Variables, inputs: Mapping[str, jax.Array]
  ) -> dict[Value | Path, Any]:
    """What operations start from: variables by path, inputs by value."""
    env: dict[Value | Path, Any] = dict(flax.traverse_util.flatten_dict(dict(variables)))
    env.update((value, inputs[name]) for name, value in self.traced.inputs.items())
    return env


def find(
  model: Any, variables: Variables, example: Shapes, trained: Sequence[str], among: Collection[str]
) -> FoldedFront:
  """The frozen front of a folded model; of no inputs if there is none.

  Args:
    model: a `har.compress.quantise.FoldedModel`.
    variables: shapes and types.
    example: shapes and types of a batch of one example, preprocessed.
    trained: path patterns of what trains.
    among: inputs that may have a front.
  """
  two = {name: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype) for name, x in example.items()}
  splits = [_split(model, variables, shapes, trained) for shapes in (example, two)]
  one = splits[0]
  names = tuple(name for name in among if name in one.reads and name not in one.raw)
  # What is kept must not depend on an input that has no front.
  alone = one.between and not one.reads & one.raw & frozenset(among)
  pairs = zip(*(split.between for split in splits), strict=True)
  kept = {f'{names[0]}_front{i}': leaf(a, b) for i, (a, b) in enumerate(pairs)} if names else {}
  return FoldedFront(names if alone else (), example, tuple(trained), kept)


def run(operations: Iterable[Operation], env: dict[Value | Path, Any]) -> None:
  """Runs operations; their results join what they start from."""
  for operation in operations:
    results = operation.run(*(read(env, value) for value in operation.inputs))
    env.update(zip(operation.outputs, results, strict=True))


def read(env: Mapping[Value | Path, Any], value: Value) -> Any:
  """A value that is known or constant."""
  if value in env:
    return env[value]
  return env[value.leaf] if value.leaf is not None else value.literal


def _split(model: Any, variables: Variables, inputs: Any, trained: Sequence[str]) -> Split:
  traced = trace(lambda v, x: model.apply(v, x), _shapes(dict(variables)), _shapes(dict(inputs)))
  reads = {value: frozenset((name,)) for name, value in traced.inputs.items()}
  after, weighed = set[Value](), set[Value]()
  for operation in traced.operations:
    given = operation.inputs
    if any(value in after or _trains(value.leaf, trained) for value in given):
      after.update(operation.outputs)
      continue
    if any(value in weighed or _trains(value.leaf, ('*',)) for value in given):
      weighed.update(operation.outputs)
    found = frozenset[str]().union(*(reads.get(value, ()) for value in given))
    reads.update((value, found) for value in operation.outputs if found)
  # An input that was rounded and nothing else is none of what is worth keeping.
  front = {value for value in weighed if value in reads}
  wanted, late = set(traced.outputs), []
  for operation in reversed(traced.operations):
    if wanted.intersection(operation.outputs) and not front.intersection(operation.outputs):
      late.append(operation)
      wanted.update(operation.inputs)
  early = [one for one in traced.operations if not after.intersection(one.outputs)]
  between = [value for one in early for value in one.outputs if value in front and value in wanted]
  return Split(
    traced,
    early,
    late[::-1],
    between,
    frozenset(name for name, value in traced.inputs.items() if value in wanted),
    frozenset[str]().union(*(reads[value] for value in between)),
  )


def _trains(path: Path | None, trained: Sequence[str]) -> bool:
  return path is not None and path[0] == 'params' and matches(path[1:], trained)


def _shapes(tree: Any) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), tree)
