"""What can be taken out of a model, and the work of what is left: from its traced computation."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import numpy as np

from har.compress.operations import Path
from har.compress.tie_rules import FIXED, Axes, Labels
from har.compress.ties import Ties
from har.compress.trace import trace

Tree = dict[str, Any]
Kept = Mapping[str, np.ndarray]
Place = tuple[Path, int]


@dataclasses.dataclass(frozen=True)
class Unit:
  """Channels of an encoder, each of which can be taken out.

  Attributes:
    name: path of the first layer that computes them, modality first, e.g. 'imu/conv_0'; further
      units of that layer are 'imu/conv_0#1'.
    count: how many there are.
    places: for each axis of each variable that they are on, the channel of each element; -1 for
      what is not of this unit.
    layers: kernels whose outputs they are; several if those are added or multiplied.
  """

  name: str
  count: int
  places: Mapping[Place, np.ndarray]
  layers: tuple[Path, ...]

  @functools.cached_property
  def repeats(self) -> dict[Place, int]:
    """How many elements each channel has along those axes."""
    return {place: int((channels == 0).sum()) for place, channels in self.places.items()}


@dataclasses.dataclass(frozen=True)
class Units:
  """The units of a model's encoders.

  Attributes:
    units: by name, in the order of computation.
    shapes: of the variables that are read.
    ties: that they are found from.
  """

  units: Mapping[str, Unit]
  shapes: Mapping[Path, tuple[int, ...]]
  ties: Ties

  def of(self, modality: str) -> dict[str, Unit]:
    """Those of one encoder."""
    return {n: unit for n, unit in self.units.items() if n.split('/')[0] == modality}

  def kernels(self, modality: str) -> set[Path]:
    """Paths of an encoder's kernels."""
    return {p.kernel for p in self.ties.products if p.kernel[1] == modality}

  def opaque(self, modality: str) -> list[str]:
    """Operations of an encoder that fix channels that they read, each with where it is."""
    return [at for at in dict.fromkeys(self.ties.opaque) if modality in at.split('/')]

  def multiply_adds(self, kernels: Iterable[Path], counts: Mapping[str, int] | None = None) -> int:
    """Of one example, by some kernels.

    Products with the zeros of the padding count; norms, activations and pools do not.

    Args:
      kernels: their paths.
      counts: channels that are left of units; a unit that is missing keeps all.
    """
    sizes = {path: math.prod(self._shape(path, counts or {})) for path in kernels}
    return sum(p.times * sizes[p.kernel] for p in self.ties.products if p.kernel in sizes)

  def _shape(self, path: Path, counts: Mapping[str, int]) -> list[int]:
    shape = list(self.shapes[path])
    for unit, axis, repeats in self._on.get(path, ()):
      shape[axis] -= repeats * (unit.count - counts.get(unit.name, unit.count))
    return shape

  @functools.cached_property
  def _on(self) -> dict[Path, list[tuple[Unit, int, int]]]:
    """Units by variable, each with its axis and how often its channels are on it."""
    found = collections.defaultdict(list)
    for unit in self.units.values():
      for (path, axis), repeats in unit.repeats.items():
        found[path].append((unit, axis, repeats))
    return found

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
    # A model without batch norms has an empty `batch_stats`.
    return {tree: {} for tree in variables} | flax.traverse_util.unflatten_dict(flat)

  def difference(self, other: 'Units', kept: Kept) -> str:
    """Where another model does not compute with the channels that are left of this one.

    A model's code can depend on sizes: skip a sum when they differ, or pair other channels.

    Args:
      other: units of this model with the `widths` of `kept`.
      kept: as for `cut`.

    Returns:
      A variable, or an operation and the modules that it is in; empty if there is none.
    """
    alike = _Alike(self._gone(kept))
    if self.ties.leaves.keys() != other.ties.leaves.keys():
      return '/'.join(min(self.ties.leaves.keys() ^ other.ties.leaves.keys())[1:])
    for path, axes in self.ties.leaves.items():
      if not alike.axes(axes, other.ties.leaves[path]):
        return '/'.join(path[1:])
    for a, b in itertools.zip_longest(self.ties.results, other.ties.results):
      if a is None or b is None or a.name != b.name or not alike.axes(a.axes, b.axes):
        return f'{(a or b).name} in {(a or b).where}'
      if not all(map(functools.partial(alike.arrays, a.axes), a.constants, b.constants)):
        return f'{a.name} in {a.where}'
    return ''

  def _gone(self, kept: Kept) -> np.ndarray:
    gone = [np.array([], int)]
    for name, left in kept.items():
      (path, axis), channels = next(iter(self.units[name].places.items()))
      gone.append(self.ties.leaves[path][axis][~np.isin(channels, (-1, *left))])
    return np.concatenate(gone)

  def widths(self, kept: Kept) -> tuple[tuple[str, int], ...]:
    """Features of layers; see `har.models.widths`.

    Also of those that keep all, because code may derive them from the channels that come in.
    """
    counts = {name: len(left) for name, left in kept.items()}
    layers = dict.fromkeys(path for name in kept for path in self.units[name].layers)
    return tuple(('/'.join(path[1:-1]), self._shape(path, counts)[-1]) for path in layers)


class _Alike:
  """Which channel of a model is which of a smaller one."""

  def __init__(self, gone: np.ndarray):
    self._gone = gone
    self._there, self._back = {FIXED: FIXED}, {FIXED: FIXED}

  def axes(self, a: Axes, b: Axes) -> bool:
    """Whether the channels along axes can be the same."""
    return len(a) == len(b) and all(map(self._labels, a, b))

  def _labels(self, a: Labels, b: Labels) -> bool:
    if a is None or b is None:
      return True
    a = a[~np.isin(a, self._gone)]
    return len(a) == len(b) and all(
      self._there.setdefault(i, j) == j and self._back.setdefault(j, i) == i
      for i, j in set(zip(a.tolist(), b.tolist(), strict=True))
    )

  def arrays(self, axes: Axes, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether an array along axes is the other one, with more channels."""
    for i, labels in enumerate(axes):
      if labels is None:
        a, b = (x.take([0], i) if (x == x.take([0], i)).all() else x for x in (a, b))
      elif len(labels) == a.shape[i]:
        a = np.compress(~np.isin(labels, self._gone), a, i)
    return np.array_equal(a, b, equal_nan=True)


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
  units: dict[str, Unit] = {}
  for channels in _alike(ties):
    unit = _unit(ties, channels, kernels)
    owners = {path[1] for path in unit.layers}
    # What several encoders or the head compute stays whole.
    if len(owners) == 1 and owners <= set(model.encoders):
      again = sum(other.layers[0] == unit.layers[0] for other in units.values())
      name = f'{unit.name}#{again}' if again else unit.name
      units[name] = dataclasses.replace(unit, name=name)
  shapes = {path: tuple(map(len, axes)) for path, axes in ties.leaves.items()}
  return Units(units, shapes, ties)


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
