"""Contrast between modalities: what belongs to one example lies together (CMC).

Contrastive multiview coding (Tian, Krishnan and Isola, ECCV 2020), with each modality as a view, as
Brinzea, Khaertdinov and Asteriadis (IJCNN 2022) have it.
"""

import dataclasses
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.errors import UserError
from har.metrics.detection import Detections
from har.models.types import Outputs
from har.objectives.objective import Arrays, Metrics, Objective, Selection
from har.ranges import Positive

# Of examples that are validated against each other, so that memory does not grow with their square.
_GROUP = 512


class Pretraining(Objective):
  """What objectives on the embeddings of a head such as `projections` share."""

  selection: ClassVar[Selection] = Selection('retrieval', 'retrieval', maximise=True)
  deployed: ClassVar[bool] = False

  def scores(self, outputs: Outputs, inputs: Arrays) -> Arrays:
    """The embeddings `[B, E]`, and which examples have the modality, bool `[B]` by `_present`."""
    found = embeddings_of(outputs)
    present = {f'{name}_present': there for name, there in presence(inputs, found).items()}
    return {**found, **present}

  def evaluate(
    self, scores: dict[str, np.ndarray], keys: tuple[str, ...], labels: np.ndarray
  ) -> Detections:
    raise TypeError('a stage that only pretrains is not evaluated')


@dataclasses.dataclass(frozen=True)
class Contrast(Pretraining):
  """NT-Xent of each pair of modalities, in both directions; the sum over the pairs.

  Examples that lack a modality of a pair have no part in it. The figure `retrieval` is the share of
  embeddings whose nearest one of the other modality, in the batch or among 512 examples of a
  validation split, is of the same example.

  Attributes:
    temperature: that cosine similarities are divided by.
  """

  temperature: Positive = 0.1

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del batch, key, teacher
    names = sorted(n.removesuffix('_present') for n in inputs if n.endswith('_present'))
    return inputs, {'present': {name: inputs[f'{name}_present'] for name in names}, 'near': {}}

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    return self.between(embeddings_of(outputs), targets['present'], targets['near'])

  def between(self, embeddings: Arrays, present: Arrays, near: Arrays) -> tuple[jax.Array, Metrics]:
    """Sum over the pairs of modalities, and the mean of `retrieval`."""
    if len(embeddings) < 2:
      raise UserError('objective: contrast is between modalities, and this stage has one')
    losses, right = [], []
    for a, b in itertools.combinations(sorted(embeddings), 2):
      size = len(embeddings[a])
      valid = present.get(a, jnp.ones(size, bool)) & present.get(b, jnp.ones(size, bool))
      for one, other in ((a, b), (b, a)):
        x, y = unit(embeddings[one]), unit(embeddings[other])
        loss, hit = one_way(x, y, near.get(one), near.get(other), valid, self.temperature)
        losses.append(loss / 2)
        right.append(hit)
    return jnp.stack(losses).sum(), {'retrieval': jnp.stack(right).mean()}

  def validate(self, scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Means over groups of at most 512 examples, the larger weighing more."""
    names = [name for name in scores if not name.endswith('_present')]
    found = []
    for start in range(0, len(labels), _GROUP):
      group = {name: jnp.asarray(x[start : start + _GROUP]) for name, x in scores.items()}
      present = {name: group[f'{name}_present'] for name in names if f'{name}_present' in group}
      loss, metrics = self.between({name: group[name] for name in names}, present, {})
      size = len(group[names[0]])
      found.append((size, float(loss), float(metrics['retrieval'])))
    sizes, losses, right = np.array(found).T
    mean = {'loss': losses, 'retrieval': right}
    return {name: float(np.average(x, weights=sizes)) for name, x in mean.items()}


def embeddings_of(outputs: Outputs) -> Arrays:
  """The embeddings `[B, E]` by modality; UserError if the stage's head gives none."""
  if not outputs.embeddings:
    raise UserError('objective: this kind needs head.kind=projections')
  return outputs.embeddings


def presence(inputs: Arrays, names: Any) -> Arrays:
  """Of the modalities that examples may lack, bool `[B]`."""
  found = {name: inputs.get(f'{name}_present') for name in names}
  return {name: there for name, there in found.items() if there is not None}


def unit(x: jax.Array) -> jax.Array:
  """`[B, E]` of length 1, in float32; zeros stay zeros."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))


def one_way(
  x: jax.Array,
  other: jax.Array,
  near: jax.Array | None,
  near_other: jax.Array | None,
  valid: jax.Array,
  temperature: float,
) -> tuple[jax.Array, jax.Array]:
  """NT-Xent of examples of one modality against those of another.

  An example's own embedding of the other modality is its positive, all others are negatives. With
  further positives (see `har.objectives.cmkm`) these are positives, too, and the modality's own
  embeddings are counted.

  Args:
    x: `[B, E]` of length 1.
    other: those of the other modality.
    near: bool `[B, B]`, of row i the examples that are like it in its own modality, never itself;
      None if no positives are mined.
    near_other: the same of the other modality.
    valid: bool `[B]`, false for what has no part in it.
    temperature: that similarities are divided by.

  Returns:
    The mean of the losses of valid rows, and the share of those whose nearest is their own.
  """
  itself = jnp.eye(len(x), dtype=bool)
  counted = valid | itself  # Of a row that is not valid something has to be finite.
  across = x @ other.T / temperature
  positives = itself if near_other is None else itself | (near_other & valid)
  everything = [(across, counted, positives)]
  if near is not None:
    within = x @ x.T / temperature
    everything.append((within, valid & ~itself, near & valid))
  similarities, counted, positives = (jnp.concatenate(p, 1) for p in zip(*everything, strict=True))
  losses = _log_sum(similarities, counted) - _log_sum(similarities, positives)
  nearest = jnp.where(valid, across, -jnp.inf).argmax(1) == jnp.arange(len(x))
  return mean_of(losses, valid), mean_of(nearest.astype(jnp.float32), valid)


def _log_sum(x: jax.Array, counted: jax.Array) -> jax.Array:
  """The logarithm of the sum of exponentials of each row, of what is counted."""
  return jax.nn.logsumexp(x, axis=1, where=counted)


def mean_of(x: jax.Array, valid: jax.Array) -> jax.Array:
  """The mean of `[B]` where `valid`; 0 where nothing is."""
  return jnp.where(valid, x, 0).sum() / jnp.maximum(valid.sum(), 1)
