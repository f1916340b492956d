"""A trained model with fake quantisation: evaluated, trained further, or exported."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from har.compress import front
from har.compress.graph import Graph
from har.compress.hooks import Dynamic, Hook, Marking, Observer, Static
from har.compress.operations import Layer
from har.compress.options import Scheme
from har.errors import UserError
from har.models.mode import INFERENCE, UNROLLED, Mode
from har.models.types import Outputs

Variables = dict[str, Any]
_BINS = 2048


class FoldedModel:
  """A model whose batch norms are folded into its layers, quantised or not.

  It is called as a Linen module is. Its variables are `params`, by the paths of the original model,
  and `batch_stats`: what is still read of the original ones, and, if it is quantised with static
  ranges, `ranges` `[points, 2]`, the lowest and highest value at each of `graph(...).points`.
  """

  def __init__(self, model: Any, like: Variables, scheme: Scheme | None):
    """Takes a model with the shapes of its variables; a scheme of None leaves values in float."""
    self.model, self.scheme = model, scheme
    self._like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    self._graphs: dict[Any, Graph] = {}  # by shapes: tracing a large model takes a second

  def around(self, model: Any) -> 'FoldedModel':
    """The same for another model of the same parameters."""
    return FoldedModel(model, self._like, self.scheme)

  def graph(self, inputs: Mapping[str, Any], *, unroll: bool = False) -> Graph:
    """The model's operations for inputs of these shapes; loops over time step by step if asked."""
    shapes = {n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in inputs.items()}
    key = (unroll, *sorted((n, x.shape, str(x.dtype)) for n, x in shapes.items()))
    keep = self.scheme.keep_float if self.scheme else ('*',)

    def infer(variables: Variables, x: Mapping[str, Any]) -> Any:
      outputs = self.model.apply(variables, x, UNROLLED if unroll else INFERENCE)
      return outputs.deployed() if isinstance(outputs, Outputs) else outputs

    if key not in self._graphs:
      self._graphs[key] = Graph(infer, self._like, shapes, keep)
    return self._graphs[key]

  def fold(self, variables: Variables, inputs: Mapping[str, Any]) -> Variables:
    """This model's variables from those of the original one; ranges are zero."""
    graph = self.graph(inputs)
    folded = graph.fold(flax.traverse_util.flatten_dict(variables))
    stats = {'ranges': jnp.zeros((len(graph.points), 2))} if self.has_ranges else {}
    kept = flax.traverse_util.unflatten_dict(folded)
    return kept | {'batch_stats': kept.get('batch_stats', {}) | stats}

  def front(
    self,
    variables: Variables,
    example: Mapping[str, jax.ShapeDtypeStruct],
    trained: Sequence[str],
    among: Collection[str],
  ) -> front.FoldedFront:
    """See `har.compress.front.find`."""
    return front.find(self, variables, example, trained, among)

  def init(self, key: jax.Array, inputs: Mapping[str, Any], mode: Mode = INFERENCE) -> Variables:
    """Random variables."""
    return self.fold(dict(self.model.init(key, inputs, mode)), inputs)

  def apply(
    self,
    variables: Variables,
    inputs: Mapping[str, Any],
    mode: Mode = INFERENCE,
    *,
    rngs: Any = None,
    mutable: Any = False,
    mark: bool = False,
  ) -> Any:
    """What is deployed of the model's outputs; it has no dropout and no statistics that change.

    Args:
      variables: see above.
      inputs: as of the original model.
      mode: changes nothing.
      rngs: not used.
      mutable: if true, an empty dict of updates is returned too.
      mark: for exporters: quantise by operations that they recognise, with variables that are
        constants, and write loops over time step by step.
    """
    del mode, rngs
    graph = self.graph(inputs, unroll=mark)
    ranges = None
    if self.has_ranges:
      ranges = ranges_for(graph, self.graph(inputs), variables['batch_stats']['ranges'])
    flat = flax.traverse_util.flatten_dict(dict(variables))
    fixed = mark and self.scheme is not None
    outputs = graph.run(flat, inputs, self._hook(ranges, mark), fixed=fixed)
    return (outputs, {}) if mutable else outputs

  @property
  def has_ranges(self) -> bool:
    return self.scheme is not None and self.scheme.ranges == 'static'

  def _hook(self, ranges: dict[str, Any] | None, mark: bool) -> Hook:
    if self.scheme is None:
      return Hook()
    bits = self.scheme.weights, self.scheme.activations
    if ranges is None:
      return Dynamic(*bits)
    return Marking(ranges) if mark else Static(*bits, ranges)


def ranges_for(graph: Graph, calibrated: Graph, ranges: Any) -> dict[str, Any]:
  """Ranges of another graph of the same layers, such as one whose loops are unrolled.

  Args:
    graph: whose points they are for.
    calibrated: the graph of `ranges`.
    ranges: `[points, 2]`.
  """
  known = dict(zip(calibrated.points, ranges, strict=True))
  enters = {one.path: calibrated.entrance(one) for one in calibrated.layers if one.quantised}
  out = {}
  for layer in (one for one in graph.layers if one.quantised):
    out[f'to:{layer.name}'] = known[enters[layer.path]]
    out[f'out:{layer.name}'] = known[f'out:{layer.name.split("#")[0]}']
  return {name: out[name] if name in out else known[name] for name in graph.points}


def calibrate(
  model: FoldedModel, variables: Variables, batches: Iterable[Mapping[str, np.ndarray]]
) -> Variables:
  """The variables with ranges found on examples; nothing changes if ranges are dynamic.

  Args:
    model: quantised.
    variables: of the model, folded.
    batches: preprocessed inputs of examples, all of one shape.

  Raises:
    UserError: there are no examples.
  """
  if not model.has_ranges:
    return variables
  assert model.scheme is not None
  batches = list(batches)
  if not batches:
    raise UserError('config.compress.int8.examples: calibration needs at least one example')
  graph = model.graph(batches[0])
  if not graph.points:
    return variables
  flat = flax.traverse_util.flatten_dict(dict(variables))

  def observe(inputs, measure, combine) -> list[jax.Array]:
    hook = Observer(measure, combine)
    graph.run(flat, inputs, hook)
    return [hook.seen[name] for name in graph.points]

  @jax.jit
  def extremes(inputs):
    return jnp.stack(observe(inputs, lambda _, x: jnp.stack([x.min(), x.max()]), _widest))

  seen = np.stack([extremes(inputs) for inputs in batches])
  ranges = np.stack([seen[..., 0].min(0), seen[..., 1].max(0)], -1)
  ranges = np.stack([np.minimum(ranges[:, 0], 0), np.maximum(ranges[:, 1], 0)], -1)
  if not np.isfinite(ranges).all():
    bad = list(graph.points)[int(np.argmin(np.isfinite(ranges).all(-1)))]
    raise UserError(f'calibration met values that are not finite at {bad}: look at the stage')
  if model.scheme.calibration == 'percentile':
    wide = dict(zip(graph.points, ranges, strict=True))

    @jax.jit
    def histograms(inputs):
      def count(name, x):
        return jnp.histogram(x, _BINS, tuple(wide[name]))[0]

      return jnp.stack(observe(inputs, count, lambda counts: counts.sum(0)))

    counts = np.sum([np.asarray(histograms(inputs), np.float64) for inputs in batches], 0)
    ranges = np.stack(
      [_covering(c, r, model.scheme.percentile) for c, r in zip(counts, ranges, strict=True)]
    )
  found = {'ranges': jnp.asarray(_shared(graph.points, ranges))}
  return {**variables, 'batch_stats': variables['batch_stats'] | found}


def _widest(ranges: jax.Array) -> jax.Array:
  return jnp.stack([ranges[:, 0].min(), ranges[:, 1].max()])


def _covering(counts: np.ndarray, wide: np.ndarray, percentile: float) -> np.ndarray:
  """The range between the two tails that a histogram leaves out; it holds zero."""
  edges = np.linspace(wide[0], wide[1], len(counts) + 1)
  below = np.cumsum(counts) / max(counts.sum(), 1)
  tail = 1 - percentile / 100
  low = edges[np.searchsorted(below, tail, side='right')] if wide[0] < 0 else 0.0
  high = edges[1 + np.searchsorted(below, 1 - tail, side='left')]
  return np.array([min(low, 0.0), max(high, 0.0)])


def _shared(groups: Mapping[str, str], ranges: np.ndarray) -> np.ndarray:
  """Each point with the range of its whole group."""
  names = list(groups)
  out = np.empty_like(ranges, np.float32)
  for first in set(groups.values()):
    members = [i for i, name in enumerate(names) if groups[name] == first]
    out[members] = ranges[members, 0].min(), ranges[members, 1].max()
  return out


def float_layers(model: FoldedModel, inputs: Mapping[str, Any]) -> Sequence[str]:
  """Names of layers and other operations with parameters that stay in float."""
  graph = model.graph(inputs)
  return [*(one.name for one in graph.layers if not one.quantised), *graph.unseen]


def count_bytes(model: FoldedModel, variables: Variables, inputs: Mapping[str, Any]) -> int:
  """Size of the parameters as they are deployed.

  Quantised kernels take their bits per weight and a float32 step per output channel; all else,
  biases included (int32 in int8 models), 4 bytes a number.
  """
  graph = model.graph(inputs)
  flat = flax.traverse_util.flatten_dict({'params': variables['params']})
  bits: dict[tuple[str, ...], Layer] = {one.path: one for one in graph.layers if one.quantised}
  total = 0
  for path, leaf in flat.items():
    if path in bits and model.scheme is not None:
      total += -(-leaf.size * model.scheme.weights // 8) + 4 * bits[path].kernel.shape[-1]
    else:
      total += 4 * leaf.size
  return total
