"""What can be taken out of a model, and the work of what is left: from its traced computation."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import numpy as np

from har.compress.operations import Path
from har.compress.tie_rules import FIXED
from har.compress.ties import Product, Ties
from har.compress.trace import trace

Tree = dict[str, Any]
Kept = Mapping[str, np.ndarray]
Place = tuple[Path, int]


@dataclasses.dataclass(frozen=True)
class Unit:
  """Channels of an encoder, each of which can be taken out.

  Attributes:
    name: path of the first layer that computes them, modality first, e.g. 'imu/conv_0'.
    count: how many there are.
    places: for each axis of each variable that they are on, the channel of each element; -1 for
      what is not of this unit.
    layers: kernels whose outputs they are; several if those are added or multiplied.
  """

  name: str
  count: int
  places: Mapping[Place, np.ndarray]
  layers: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Units:
  """The units of a model's encoders.

  Attributes:
    units: by name, in the order of computation.
    shapes: of the variables that are read.
    products: uses of kernels, in order.
    opaque: operations that fix all channels that they read, each with where it is.
  """

  units: Mapping[str, Unit]
  shapes: Mapping[Path, tuple[int, ...]]
  products: Sequence[Product]
  opaque: Sequence[str]

  def of(self, modality: str) -> dict[str, Unit]:
    """Those of one encoder."""
    return {n: unit for n, unit in self.units.items() if n.split('/')[0] == modality}

  def kernels(self, modality: str) -> set[Path]:
    """Paths of an encoder's kernels."""
    return {p.kernel for p in self.products if p.kernel[1] == modality}

  def multiply_adds(self, kernels: Iterable[Path], counts: Mapping[str, int] | None = None) -> int:
    """Of one example, by some kernels.

    Products with the zeros of the padding count; norms, activations and pools do not.

    Args:
      kernels: their paths.
      counts: channels that are left of units; a unit that is missing keeps all.
    """
    sizes = {path: math.prod(self._shape(path, counts or {})) for path in kernels}
    return sum(p.times * sizes[p.kernel] for p in self.products if p.kernel in sizes)

  def _shape(self, path: Path, counts: Mapping[str, int]) -> list[int]:
    shape = list(self.shapes[path])
    for name, count in counts.items():
      unit = self.units[name]
      for axis in range(len(shape)):
        channels = unit.places.get((path, axis))
        if channels is not None:
          shape[axis] -= int((channels == 0).sum()) * (unit.count - count)
    return shape

  def cut(self, variables: Tree, kept: Kept) -> Tree:
    """A model's variables without the channels that go.

    Args:
      variables: nested dicts.
      kept: rising numbers of the channels that stay, by unit; a unit that is missing keeps all.
    """
    stay: dict[Place, np.ndarray] = {}
    for name, left in kept.items():
      for place, channels in self.units[name].places.items():
        stay[place] = np.isin(channels, (-1, *left)) & stay.get(place, np.True_)
    flat = dict(flax.traverse_util.flatten_dict(variables))
    for (path, axis), rows in stay.items():
      flat[path] = np.compress(rows, flat[path], axis)
    return flax.traverse_util.unflatten_dict(flat)

  def widths(self, kept: Kept) -> tuple[tuple[str, int], ...]:
    """Features of the layers that have fewer; see `har.models.widths`."""
    counts = {name: len(left) for name, left in kept.items()}
    layers = dict.fromkeys(path for name in kept for path in self.units[name].layers)
    sizes = ((path, self._shape(path, counts)[-1]) for path in layers)
    return tuple(('/'.join(p[1:-1]), n) for p, n in sizes if n != self.shapes[p][-1])


def find(model: Any, variables: Tree, inputs: Mapping[str, Any]) -> Units:
  """Finds the units of a recogniser's encoders.

  Args:
    model: `har.models.recogniser.Recogniser`.
    variables: of the model, or their shapes and types.
    inputs: of one example, likewise.
  """

  def infer(variables: Tree, inputs: Mapping[str, Any]) -> Any:
    return model.apply(variables, inputs).deployed()

  ties = Ties(trace(infer, variables, dict(inputs)))
  kernels = {product.kernel for product in ties.products}
  units = {}
  for channels in _alike(ties):
    unit = _unit(ties, channels, kernels)
    owners = {path[1] for path in unit.layers}
    # What several encoders or the head compute stays whole.
    if len(owners) == 1 and owners <= set(model.encoders):
      units[unit.name] = unit
  shapes = {path: tuple(map(len, axes)) for path, axes in ties.leaves.items()}
  return Units(units, shapes, ties.products, ties.opaque)


def _alike(ties: Ties) -> list[list[int]]:
  """Channels that are on the same axes of the same variables, equally often."""
  where: dict[int, list[tuple[Path, int, int]]] = collections.defaultdict(list)
  for path, axes in ties.leaves.items():
    for axis, labels in enumerate(axes):
      for channel, times in zip(*np.unique(labels, return_counts=True), strict=True):
        where[int(channel)].append((path, axis, int(times)))
  where.pop(FIXED, None)
  groups: dict[tuple, list[int]] = collections.defaultdict(list)
  for channel in sorted(where):
    groups[tuple(where[channel])].append(channel)
  return list(groups.values())


def _unit(ties: Ties, channels: Sequence[int], kernels: set[Path]) -> Unit:
  number = {channel: i for i, channel in enumerate(channels)}
  places = {}
  for path, axes in ties.leaves.items():
    for axis, labels in enumerate(axes):
      if channels[0] in labels:
        places[path, axis] = np.array([number.get(i, -1) for i in labels.tolist()])
  last = ((path, axis) for path, axis in places if axis == len(ties.leaves[path]) - 1)
  layers = tuple(path for path, _ in last if path in kernels)
  name = '/'.join(layers[0][1:-1]) if layers else ''
  return Unit(name, len(channels), places, layers)
