"""Structured pruning: takes whole channels out of an encoder, which is smaller and faster then.

The result is an encoder of the same class whose `channels` say its sizes, with parameters and
batch statistics that fit. What reads its features in the head is sliced alike.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from har.compress import units as units_lib
from har.errors import UserError
from har.models.fusion import Attention
from har.models.mode import matches

Tree = dict[str, Any]
Kept = dict[str, np.ndarray]

POLICIES = ('work', 'even')


@dataclasses.dataclass(frozen=True)
class Slimming:
  """How much of each encoder goes.

  Attributes:
    flops: share of the multiply-adds of its convolutions that an encoder keeps, at most.
    policy: from which unit the next channels go: 'work' takes those that lose least importance per
      multiply-add saved, mostly from the early, costly units; 'even' takes them from the unit that
      has lost the least share of its importance, so that all become narrower, which saves memory
      traffic too and so more time.
    multiple: channel counts become multiples of it.
    least: share of its channels that every unit keeps.
    exclude: path patterns (see `har.models.mode.matches`) of units, modality first, that keep all
      channels, e.g. 'depth/Mixed_5c'; a modality alone leaves out its encoder.
  """

  flops: float = 0.5
  policy: str = 'work'
  multiple: int = 8
  least: float = 0.5
  exclude: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if not 0 < self.flops <= 1:
      raise UserError(f'slimming.flops={self.flops} is not in (0, 1]')
    if self.policy not in POLICIES:
      raise UserError(f'slimming.policy={self.policy!r} is none of {", ".join(POLICIES)}')
    if self.multiple < 1 or not 0 <= self.least <= 1:
      raise UserError(
        f'slimming.multiple={self.multiple} must be positive and least={self.least} in [0, 1]'
      )


def magnitude(encoder: nn.Module, variables: Tree) -> dict[str, np.ndarray]:
  """Importance of each channel: the size of its batch norm's scale, or of its kernel without one.

  A batch norm makes the scale of the kernel before it meaningless.
  """
  params = flax.traverse_util.flatten_dict(variables['params'])
  out = {}
  for unit in units_lib.units(encoder)[0]:
    if unit.norm is not None:
      scores = np.abs(np.asarray(params[(*unit.norm, 'scale')], np.float64))
    else:
      kernel = np.asarray(params[(*unit.conv, 'kernel')], np.float64)
      scores = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
    out[unit.name] = scores
  return out


def choose(
  encoder: nn.Module,
  scores: Mapping[str, np.ndarray],
  slimming: Slimming,
  *,
  input_shape: Sequence[int],
  excluded: Sequence[str] = (),
) -> Kept:
  """Channels to keep, chosen greedily.

  The least important channels of a unit, as many as bring it to the next lower multiple, go as one;
  from which unit is up to `slimming.policy`. Units are compared by shares of their importance.

  Args:
    encoder: S3D, or one of the 1-D networks.
    scores: importance of each channel by unit, not negative.
    slimming: see there.
    input_shape: of one preprocessed example.
    excluded: names of units that keep everything.

  Returns:
    Rising indices by unit.

  Raises:
    UserError: the floors of `multiple` and `least` leave more than `slimming.flops`.
  """
  narrow = _Narrowing(encoder, scores, slimming, input_shape)
  names = [n for n in narrow.full if n not in excluded]
  while narrow.left > slimming.flops * narrow.total:
    candidates = [(narrow.price(n), i, n) for i, n in enumerate(names) if narrow.next_count(n)]
    if not candidates:
      raise UserError(
        f'slimming.flops={slimming.flops} cannot be reached: {narrow.left / narrow.total:.2f} of '
        f'the work is left with multiple={slimming.multiple} and least={slimming.least}; lower '
        'those'
      )
    narrow.take(min(candidates)[-1])
  ranked = {n: np.argsort(-np.asarray(s), kind='stable') for n, s in scores.items()}
  return {n: np.sort(ranked[n][:count]) for n, count in narrow.counts.items()}


class _Narrowing:
  """Channel counts on their way down, and the multiply-adds that are left."""

  def __init__(
    self,
    encoder: nn.Module,
    scores: Mapping[str, np.ndarray],
    slimming: Slimming,
    input_shape: Sequence[int],
  ):
    order, _ = units_lib.units(encoder)
    self.slimming = slimming
    self.units = {u.name: u for u in order}
    self.readers = {u.name: [r for r in order if u.name in r.sources] for u in order}
    self.work = units_lib.work_of(encoder, input_shape)
    self.full = units_lib.unit_channels(encoder)
    self.counts = dict(self.full)
    self.scores = {n: np.sort(s)[::-1].astype(np.float64) for n, s in scores.items()}
    self.total = self.left = units_lib.multiply_adds(order, self.work, self.counts)

  def next_count(self, name: str) -> int:
    """The next lower count of a unit; 0 if it may not go lower."""
    step = self.slimming.multiple
    lower = (self.counts[name] - 1) // step * step
    return lower if lower >= max(step, self.slimming.least * self.full[name]) else 0

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
    unit, goes = self.units[name], self.counts[name] - self.next_count(name)
    own = self.work[name].each * units_lib.inputs_of(unit, self.work, self.counts)
    read = sum(self.work[r.name].each * self.counts[r.name] for r in self.readers[name])
    return goes * (own + read)


def keep(encoder: nn.Module, variables: Tree, kept: Kept) -> tuple[nn.Module, Tree]:
  """Slices an encoder to the kept channels.

  Args:
    encoder: S3D, or one of the 1-D networks.
    variables: `params` and `batch_stats` of the encoder.
    kept: rising indices by unit; a unit that is missing keeps everything.

  Returns:
    An encoder of the same class, and its variables.

  Raises:
    UserError: indices that a unit does not have, or none.
  """
  order, _ = units_lib.units(encoder)
  counts = units_lib.unit_channels(encoder)
  every = {n: np.asarray(kept.get(n, np.arange(c))) for n, c in counts.items()}
  for name, index in every.items():
    if not len(index) or index.min() < 0 or index.max() >= counts[name]:
      raise UserError(f'{name} has {counts[name]} channels and cannot keep those asked for')
  flat = {k: dict(flax.traverse_util.flatten_dict(v)) for k, v in variables.items()}
  for unit in order:
    index = every[unit.name]
    for tree in flat.values():
      for path in tree:
        if path[:-1] in (unit.conv, unit.norm):
          tree[path] = np.asarray(tree[path])[..., index]
    path = (*unit.conv, 'kernel')
    if unit.sources:
      rows = _concatenated(unit.sources, every, counts)
      flat['params'][path] = flat['params'][path][..., rows, :]
  slim = {k: flax.traverse_util.unflatten_dict(v) for k, v in flat.items()}
  return units_lib.with_channels(encoder, {n: len(i) for n, i in every.items()}), slim


def _concatenated(names: Sequence[str], kept: Kept, counts: Mapping[str, int]) -> np.ndarray:
  """Indices into the concatenation of these units' outputs."""
  starts = np.cumsum([0, *(counts[n] for n in names)])
  return np.concatenate([kept[n] + start for n, start in zip(names, starts, strict=False)])


def features(encoder: nn.Module, kept: Kept) -> tuple[np.ndarray, np.ndarray]:
  """Indices that are left of `Features.sequence`'s and `Features.pooled`'s last axis."""
  _, outputs = units_lib.units(encoder)
  counts = units_lib.unit_channels(encoder)
  index = _concatenated(outputs, kept, counts)
  if getattr(encoder, 'pooling', None) != 'mean_max':
    return index, index
  return index, np.concatenate([index, index + sum(counts[n] for n in outputs)])


def slice_head(
  head: nn.Module,
  params: Tree,
  encoders: Mapping[str, nn.Module],
  kept: Mapping[str, Kept],
) -> Tree:
  """The head's parameters for features of which only some are left.

  Args:
    head: of a `Recogniser`.
    params: the head's.
    encoders: all of the model's by modality, as they were.
    kept: by modality, of those that were shrunk; each unit must be named.
  """
  at = 0 if isinstance(head, Attention) else 1
  left = {m: features(encoders[m], k)[at] for m, k in kept.items()}
  flat = dict(flax.traverse_util.flatten_dict(params))
  for m, index in left.items():
    for path in flat:
      if path == (m, 'kernel') or path[0] in (f'norm_{m}', f'{m}_norm'):
        flat[path] = np.asarray(flat[path])[index]
  if ('hidden', 'kernel') in flat:
    rows, start = [], 0
    for m in sorted(encoders):
      size = features(encoders[m], _everything(encoders[m]))[1].size
      rows.append(start + left.get(m, np.arange(size)))
      start += size
    flat[('hidden', 'kernel')] = np.asarray(flat[('hidden', 'kernel')])[np.concatenate(rows)]
  return flax.traverse_util.unflatten_dict(flat)


def _everything(encoder: nn.Module) -> Kept:
  return {n: np.arange(c) for n, c in units_lib.unit_channels(encoder).items()}


def shrink(
  encoder: nn.Module,
  variables: Tree,
  slimming: Slimming,
  *,
  input_shape: Sequence[int],
  scores: Mapping[str, np.ndarray] | None = None,
  excluded: Sequence[str] = (),
) -> tuple[nn.Module, Tree, Kept]:
  """Takes channels out of an encoder until it does a share of its work.

  Args:
    encoder: S3D, or one of the 1-D networks.
    variables: `params` and `batch_stats` of the encoder.
    slimming: see there.
    input_shape: of one preprocessed example.
    scores: importance as for `choose`; `magnitude` if not given.
    excluded: names of units that keep all channels.

  Returns:
    The smaller encoder, its variables, and what was kept.

  Raises:
    UserError: as `choose` and `units`.
  """
  scores = magnitude(encoder, variables) if scores is None else scores
  kept = choose(encoder, scores, slimming, input_shape=input_shape, excluded=excluded)
  return *keep(encoder, variables, kept), kept


def excluded_units(modality: str, encoder: nn.Module, patterns: Sequence[str]) -> list[str]:
  """Names of the encoder's units that patterns with the modality in front cover."""
  names = [u.name for u in units_lib.units(encoder)[0]]
  return [n for n in names if matches((modality, *n.split('/')), patterns)]
