"""Bringing the channels between two layers to like sizes, so that 8 bits serve all of them.

A tensor has one step for all channels. One whose values are a hundredth of another's is told by two
or three numbers, and what the next layer makes of these, multiplied by a hundred, is mostly
rounding: networks of depthwise convolutions lose much by it (Nagel et al., ICCV 2019, Section 4.1).
A layer's output channels can be multiplied by numbers, and the next one's input channels divided by
them: behind ReLU nothing else changes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from har.compress.graph import Graph
from har.compress.operations import Layer, Path
from har.models.mode import matches

MOST = 256.0
"""What a channel is multiplied by at most: one that examples hardly used may be used by others."""


def factors(
  graph: Graph, seen: Mapping[str, np.ndarray], keep: Sequence[str] = ()
) -> dict[str, np.ndarray]:
  """What output channels are to be multiplied by, at least 1, float32 `[C]` by layer.

  Of layers that a quantised one alone reads. Channels grow to the size of the largest, behind ReLU6
  to 6: beyond what is given as seen they are cut off, as by ranges that are found on examples.

  Args:
    graph: of the model.
    seen: lowest and highest value of each channel, `[2, C]` by point.
    keep: path patterns (see `har.models.mode.matches`) of layers that are left as they are.
  """
  found = {}
  for layer in graph.layers:
    reader = graph.reader(layer)
    if reader is None or not (graph.sole(layer) and graph.sole(reader)):
      continue
    if not (layer.quantised and reader.quantised and _scales(layer) and _divides(reader)):
      continue
    if any(matches(one.path[1:], keep) for one in (layer, reader)):
      continue
    sizes = np.abs(seen[f'out:{layer.name}']).max(0)
    ceiling = _ceiling(layer)
    largest = ceiling if ceiling < np.inf else sizes.max()
    factor = np.clip(largest / np.maximum(sizes, 1e-12), 1, MOST)
    found[layer.name] = np.where(sizes > 0, factor, 1).astype(np.float32)
  return found


def apply(
  graph: Graph, folded: Mapping[Path, Any], by: Mapping[str, np.ndarray]
) -> dict[Path, Any]:
  """A folded model's leaves, channels multiplied by `factors` and divided where they are read."""
  out = dict(folded)
  for layer in graph.layers:
    if layer.name not in by:
      continue
    reader, factor = graph.reader(layer), by[layer.name]
    assert reader is not None
    for path in filter(None, (layer.path, layer.bias)):
      out[path] = out[path] * factor
    out[reader.path] = out[reader.path] / (factor if _depthwise(reader) else factor[:, None])
  return out


def grown(
  graph: Graph, seen: Mapping[str, np.ndarray], by: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """What was seen of channels, the last axis, by point, once they are multiplied by `factors`."""
  out = dict(seen)
  for layer in graph.layers:
    if layer.name in by:
      larger = seen[f'out:{layer.name}'] * by[layer.name]
      out[f'out:{layer.name}'] = np.minimum(larger, _ceiling(layer))
  return out


def _ceiling(layer: Layer) -> float:
  """What clips leave at most, such as 6."""
  return min((bound for name, bound in layer.bounds if name == 'min'), default=np.inf)


def _scales(layer: Layer) -> bool:
  """Whether larger kernels and biases give nothing but larger outputs."""
  whole = layer.kernel.leaf is not None
  return whole and all(name == 'min' or bound == 0 for name, bound in layer.bounds)


def _divides(layer: Layer) -> bool:
  """Whether the kernel's last axis but one, or the last of a depthwise one, is of what is read."""
  params, last = layer.operation.eqn.params, len(layer.kernel.shape) - 1
  if layer.kernel.leaf is None or _depthwise(layer):
    return layer.kernel.leaf is not None
  if layer.operation.name == 'dot_general':
    (read, of_kernel), _ = params['dimension_numbers']
    return (len(layer.x.shape) - 1, last - 1) in zip(read, of_kernel, strict=True)
  numbers = params['dimension_numbers']
  plain = (numbers.lhs_spec[1], numbers.rhs_spec[1]) == (last, last - 1)
  return plain and params['feature_group_count'] == 1


def _depthwise(layer: Layer) -> bool:
  params = layer.operation.eqn.params
  groups = params.get('feature_group_count', 1)
  return groups > 1 and groups == layer.kernel.shape[-1] == layer.x.shape[-1]
