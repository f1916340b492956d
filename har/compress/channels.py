"""Structured pruning: takes whole channels out of a model, which is smaller and faster then.

The result is the same model with `widths`, and parameters and batch statistics that fit. It works
on the traced computation (see `har.compress.units`) and knows no class of encoders.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from har.compress import units as units_lib
from har.compress.options import Slimming
from har.compress.units import Kept, Unit, Units
from har.errors import UserError
from har.models.mode import INFERENCE, matches

Tree = dict[str, Any]


def shrink(
  model: Any, variables: Tree, inputs: Mapping[str, Any], slimming: Slimming
) -> tuple[Any, Tree]:
  """Takes channels out of a model's encoders until each does a share of its work.

  Args:
    model: `har.models.recogniser.Recogniser`.
    variables: its `params` and `batch_stats`, nested dicts of arrays.
    inputs: shapes and types of one preprocessed example, by name.
    slimming: see there.

  Returns:
    The smaller model and its variables.

  Raises:
    UserError: an encoder has nothing that can be taken out, computes with sizes of its own, or
      cannot be brought to the share of work.
  """
  units = units_lib.find(model, variables, inputs)
  _check_patterns(model, units, slimming.exclude)
  kept: dict[str, np.ndarray] = {}
  for modality in model.encoders:
    if matches((modality,), slimming.exclude):
      continue
    if line := obstacle(model, units, modality):
      raise UserError(f'{line}; leave it as it is by slimming.exclude=({modality!r},)')
    kept |= choose(units, modality, scores_of(units, modality, variables), slimming)
  return _check(model, units, variables, inputs, kept)


def _check_patterns(model: Any, units: Units, patterns: Sequence[str]) -> None:
  for pattern in patterns:
    named = any(matches(path[1:], (pattern,)) for path in units.shapes)
    if '/' in pattern and pattern.split('/')[0] in model.encoders and not named:
      raise UserError(f'slimming.exclude names {pattern!r}, which is no layer of the model')


def obstacle(model: Any, units: Units, modality: str) -> str:
  """Why an encoder has no channels that can be taken out; empty if it has some."""
  if units.of(modality):
    return ''
  opaque = units.opaque(modality)
  reads = f': {", ".join(opaque)} needs all of them' if opaque else ''
  kind = type(model.encoders[modality]).__name__
  return f'no channels of the encoder {kind} of {modality} can be taken out{reads}'


def scores_of(units: Units, modality: str, variables: Tree) -> dict[str, np.ndarray]:
  """Importance of each channel of an encoder's units, by its magnitude.

  It is the size of the batch norm's scale, which makes that of the kernel before it meaningless, or
  of the kernel without one. Of a unit with several layers each counts alike.
  """
  params = flax.traverse_util.flatten_dict({'params': variables['params']})
  return {name: _magnitude(unit, modality, params) for name, unit in units.of(modality).items()}


def _magnitude(unit: Unit, modality: str, params: Mapping[tuple[str, ...], Any]) -> np.ndarray:
  norms = [path for path, _ in unit.places if path[1] == modality and path[-1] == 'scale']
  total = np.zeros(unit.count)
  for path in norms or unit.layers:
    sizes = np.abs(np.asarray(params[path], np.float64)).reshape(-1, params[path].shape[-1])
    channels = unit.places[path, params[path].ndim - 1]
    squares = np.square(sizes).sum(0)[channels >= 0]
    each = np.sqrt(np.bincount(channels[channels >= 0], squares, unit.count))
    total += each / (each.mean() or 1)
  return total


def choose(
  units: Units, modality: str, scores: Mapping[str, np.ndarray], slimming: Slimming
) -> dict[str, np.ndarray]:
  """Channels of an encoder to keep, chosen greedily.

  The least important channels of a unit, as many as bring it to the next lower multiple, go as one;
  from which unit is up to `slimming.policy`. Units are compared by shares of their importance.

  Args:
    units: of the model.
    modality: names the encoder.
    scores: importance of each channel by unit, not negative.
    slimming: see there.

  Returns:
    Rising numbers of channels by unit.

  Raises:
    UserError: the floors of `multiple` and `least` leave more than `slimming.flops`.
  """
  narrow = _Narrowing(units, modality, scores, slimming)
  names = [
    name
    for name, unit in units.of(modality).items()
    if not any(matches(path[1:-1], slimming.exclude) for path in unit.layers)
  ]
  while narrow.left > slimming.flops * narrow.total:
    candidates = [(narrow.price(n), i, n) for i, n in enumerate(names) if narrow.next_count(n)]
    if not candidates:
      whole = [f'; {at} needs all of its channels' for at in units.opaque(modality)]
      raise UserError(
        f'slimming.flops={slimming.flops} cannot be reached: {narrow.left / narrow.total:.2f} of '
        f'the work of {modality} is left with multiple={slimming.multiple} and '
        f'least={slimming.least}; lower those{"".join(whole)}'
      )
    narrow.take(min(candidates)[-1])
  ranked = {n: np.argsort(-np.asarray(s), kind='stable') for n, s in scores.items()}
  return {n: np.sort(ranked[n][:count]) for n, count in narrow.counts.items()}


class _Narrowing:
  """Channel counts on their way down, and the multiply-adds that are left."""

  def __init__(
    self, units: Units, modality: str, scores: Mapping[str, np.ndarray], slimming: Slimming
  ):
    self.units, self.slimming = units, slimming
    self.full = {name: unit.count for name, unit in units.of(modality).items()}
    self.counts = dict(self.full)
    self.scores = {n: np.sort(s)[::-1].astype(np.float64) for n, s in scores.items()}
    kernels = units.kernels(modality)
    # Of each unit, the encoder's kernels that it is on.
    self.kernels = {
      n: kernels & {path for path, _ in unit.places} for n, unit in units.of(modality).items()
    }
    self.total = self.left = units.multiply_adds(kernels)

  def next_count(self, name: str) -> int:
    """The next lower count of a unit; 0 if it may not go lower."""
    multiple = self.slimming.multiple
    # Of groups that are alike, each has its share.
    step = multiple // math.gcd(multiple, *self.units.units[name].repeats.values())
    lower = (self.counts[name] - 1) // step * step
    # With a single channel left, it could be taken for no axis of channels.
    return lower if lower >= max(step, 2, self.slimming.least * self.full[name]) else 0

  def price(self, name: str) -> float:
    """What the unit's next step down costs; the cheapest goes."""
    scores, lower = self.scores[name], self.next_count(name)
    if self.slimming.policy == 'even':
      return float(scores[lower:].sum() / (scores.sum() or 1))
    size = np.sqrt(np.square(scores).sum()) or 1
    return float(scores[lower : self.counts[name]].sum() / size / self._saved(name))

  def take(self, name: str) -> None:
    """Takes the step."""
    self.left -= self._saved(name)
    self.counts[name] = self.next_count(name)

  def _saved(self, name: str) -> int:
    after = self.counts | {name: self.next_count(name)}
    work = (self.units.multiply_adds(self.kernels[name], c) for c in (self.counts, after))
    return next(work) - next(work)


def _check(
  model: Any, units: Units, variables: Tree, inputs: Mapping[str, Any], kept: Kept
) -> tuple[Any, Tree]:
  """The model without channels, if it is what `units` say.

  Raises:
    UserError: it is not; the layers that must stay whole are named.
  """
  small, out, line = _without(model, units, variables, inputs, kept)
  if not line:
    return small, out
  whole = {name: np.arange(units.units[name].count) for name in kept}
  narrower = [name for name, left in kept.items() if len(left) < len(whole[name])]
  wrong = [
    name
    for name in narrower
    if _without(model, units, variables, inputs, whole | {name: kept[name]})[-1]
  ]
  layers = dict.fromkeys('/'.join(units.units[name].layers[0][1:-1]) for name in wrong or narrower)
  kinds = dict.fromkeys(layer.split('/')[0] for layer in layers)
  raise UserError(
    f'channels of {", ".join(f"{type(model.encoders[m]).__name__} of {m}" for m in kinds)} cannot '
    f'be taken out, because its code depends on their number: see {line}; leave its layers as '
    f'they are by slimming.exclude={tuple(layers)}'
  )


def _without(
  model: Any, units: Units, variables: Tree, inputs: Mapping[str, Any], kept: Kept
) -> tuple[Any, Tree, str]:
  """A model without channels, its variables, and where it is not what it is meant to be."""
  widths = dict(model.widths) | dict(units.widths(kept))
  small, out = model.clone(widths=tuple(widths.items())), units.cut(variables, kept)

  def init() -> Any:
    zeros = {name: np.zeros(x.shape, x.dtype) for name, x in inputs.items()}
    return small.init(jax.random.key(0), zeros, INFERENCE)

  try:
    found = flax.traverse_util.flatten_dict(dict(jax.eval_shape(init)))
  except Exception as e:  # Anything that code can raise at sizes that it does not expect.
    return small, out, (str(e).strip() or type(e).__name__).splitlines()[0]
  given = flax.traverse_util.flatten_dict(out)
  for path, x in found.items():
    if path not in given or x.shape != given[path].shape:
      return small, out, '/'.join(path[1:])
  return small, out, units.difference(units_lib.find(small, out, inputs), kept)
