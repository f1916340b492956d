"""A trained model with fake quantisation: evaluated, trained further, or exported."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from har.compress import equalise, front
from har.compress.graph import Graph
from har.compress.hooks import Dynamic, Errors, Hook, Marking, Observer, Static
from har.compress.operations import Layer, Path
from har.compress.options import Scheme
from har.errors import UserError
from har.models.mode import INFERENCE, UNROLLED, Mode
from har.models.types import Outputs

Variables = dict[str, Any]
_FEW = 16  # Examples that say what rounding adds on average.


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
  model: FoldedModel,
  variables: Variables,
  batches: Iterable[Mapping[str, np.ndarray]],
  trained: Sequence[str] = (),
) -> Variables:
  """The variables with ranges found on examples, and channels brought to like sizes, see
  `har.compress.equalise`; nothing changes if ranges are dynamic.

  Args:
    model: quantised.
    variables: of the model, folded.
    batches: preprocessed inputs of examples, all of one shape.
    trained: path patterns of layers that are trained on, whose channels keep the sizes that rates
      of learning are for.

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

  seen = _extremes(graph, flat, batches)
  share = model.scheme.percentile / 100 if model.scheme.calibration == 'percentile' else 1.0
  if model.scheme.equalise:
    by = equalise.factors(graph, {n: _covering(x, share) for n, x in seen.items()}, trained)
    flat, seen = equalise.apply(graph, flat, by), equalise.grown(graph, seen, by)
  # Of all channels together; zero is always covered.
  ends = [_covering(np.stack([x[0].min(-1), x[1].max(-1)]), share) for x in seen.values()]
  ranges = _shared(graph.points, np.stack([[min(low, 0.0), max(high, 0.0)] for low, high in ends]))
  if model.scheme.equalise:
    flat |= _corrected(model.scheme, graph, flat, batches, ranges)
  kept = flax.traverse_util.unflatten_dict(flat)
  return {**kept, 'batch_stats': kept['batch_stats'] | {'ranges': jnp.asarray(ranges)}}


def _extremes(
  graph: Graph, flat: Mapping[Path, Any], batches: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
  """Lowest and highest value of each channel in each example, `[2, N, C]` by point."""

  def by_channel(_, x):
    # In a loop over examples there is one at a time.
    x = x.reshape(len(x) if x.ndim > 1 else 1, -1, x.shape[-1])
    return jnp.stack([x.min(1), x.max(1)])

  @jax.jit
  def observe(inputs):
    hook = Observer(by_channel, lambda x: jnp.stack([x[:, 0].min(0), x[:, 1].max(0)]))
    graph.run(flat, inputs, hook)
    return [hook.seen[name] for name in graph.points]

  each = zip(*(jax.device_get(observe(inputs)) for inputs in batches), strict=True)
  seen = {n: np.concatenate(found, 1) for n, found in zip(graph.points, each, strict=True)}
  for name, x in seen.items():
    if not np.isfinite(x).all():
      raise UserError(f'calibration met values that are not finite at {name}: look at the stage')
  return seen


def _corrected(
  scheme: Scheme,
  graph: Graph,
  flat: Mapping[Path, Any],
  batches: Sequence[Mapping[str, np.ndarray]],
  ranges: np.ndarray,
) -> dict[Path, Any]:
  """Biases without what rounding adds to each channel on average (Nagel et al., Section 4.2).

  Where much of a picture is alike, all of it is rounded the same way: that does not average out.
  """
  known = dict(zip(graph.points, ranges, strict=True))
  batches = batches[: -(-_FEW // len(next(iter(batches[0].values()))))]
  static = Static(scheme.weights, scheme.activations, known)
  entrances = {one.path: graph.entrance(one) for one in graph.layers if one.quantised}

  @jax.jit
  def errors(inputs):
    hook = Errors(static, entrances)
    graph.run(flat, inputs, hook)
    return hook.seen

  each = [jax.device_get(errors(inputs)) for inputs in batches]
  mean = {name: np.mean([one[name] for one in each], 0) for name in each[0]}
  by_path: dict[Path, list[np.ndarray]] = {}
  for layer in graph.layers:
    if layer.bias is not None and layer.name in mean:
      by_path.setdefault(layer.bias, []).append(mean[layer.name])
  return {path: flat[path] - np.mean(found, 0) for path, found in by_path.items()}


def _covering(ends: np.ndarray, share: float) -> np.ndarray:
  """`[2, ...]`: what a share of N examples stays within, given lowest and highest `[2, N, ...]`."""
  return np.stack([np.quantile(ends[0], 1 - share, axis=0), np.quantile(ends[1], share, axis=0)])


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
