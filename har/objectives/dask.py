"""Distilling relations between examples (VSKD: Ni et al., ICASSP 2022): the loss DASK."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from har.models.mode import INFERENCE
from har.models.types import Features, Outputs
from har.objectives.classify import Classifier, cross_entropy, logits_of
from har.objectives.objective import Arrays, Metrics
from har.ranges import Amount, Positive, Rate


@dataclasses.dataclass(frozen=True)
class Dask(Classifier):
  """Cross entropy of labels and of a teacher's probabilities, and distance- and angle-wise losses.

  The latter two are those of Park et al. (CVPR 2019) between the semantic features of teacher and
  student, what their last dense layers see: distances between two examples, each over its batch's
  mean distance, and cosines of the angles among three, compared by a Huber loss. Features may
  differ in width, so neither model needs a projection.

  Of what is open or otherwise than in the paper: semantic features are the pooled features, one
  modality's after the other's, where the paper has a further layer of the size of word vectors; the
  default weights are those of its authors' code, but what weighs the probabilities (0.01 there, for
  logits of another size). Relations to examples that lack a modality of either model are left out.

  Attributes:
    teacher: 'stage:NAME', an earlier stage that classifies; its inputs are read for training alone.
    teacher_model: that stage's model.
    distance: weight of the distance-wise loss.
    angle: weight of the angle-wise loss.
    soft: weight of the cross entropy of the teacher's probabilities.
    temperature: that both models' logits are divided by for `soft`, whose loss is multiplied by its
      square.
    label_smoothing: in [0, 1), the share that a label gives to all classes alike.
  """

  needs_inputs: ClassVar[bool] = True  # The teacher does.
  teacher: str
  teacher_model: Any
  distance: Amount = 1.0
  angle: Amount = 1.0
  soft: Amount = 0.1
  temperature: Positive = 4.0
  label_smoothing: Rate = 0.0

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del key
    outputs = self.teacher_model.apply(teacher, inputs, INFERENCE)
    return inputs, {
      'label': batch['label'],
      'classes': jax.nn.softmax(logits_of(outputs) / self.temperature),
      'semantic': semantic(outputs.features),
      'present': _everything(outputs.features),
    }

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    logits = logits_of(outputs)
    valid = targets['present'] & _everything(outputs.features)
    student, teacher = semantic(outputs.features), targets['semantic']
    two = pairs(valid)
    distance = compare(distances(student, valid), distances(teacher, valid), two)
    triples = two[:, :, None] & two[:, None] & two
    angle = compare(angles(student), angles(teacher), triples)
    soft = optax.softmax_cross_entropy(logits / self.temperature, targets['classes']).mean()
    hard = cross_entropy(logits, targets['label'], self.label_smoothing).mean()
    total = hard + self.soft * self.temperature**2 * soft
    total += self.distance * distance + self.angle * angle
    top1 = (logits.argmax(-1) == targets['label']).mean()
    return total, {'top1': top1, 'distance': distance, 'angle': angle}


def semantic(features: dict[str, Features]) -> jax.Array:
  """The pooled features of all modalities, float32 `[B, D]`."""
  pooled = [features[name].pooled.astype(jnp.float32) for name in sorted(features)]
  return jnp.concatenate(pooled, -1)


def _everything(features: dict[str, Features]) -> jax.Array:
  """bool `[B]`, true for examples that lack no modality."""
  found = jnp.ones(len(next(iter(features.values())).pooled), bool)
  for one in features.values():
    found = found if one.present is None else found & one.present
  return found


def pairs(valid: jax.Array) -> jax.Array:
  """Of `[B]` which two are valid, and not the same, bool `[B, B]`."""
  return valid[:, None] & valid & ~jnp.eye(len(valid), dtype=bool)


def distances(x: jax.Array, valid: jax.Array) -> jax.Array:
  """Between each two of `[B, D]`, over the mean of those of valid pairs, `[B, B]`."""
  found = _length(x[None] - x[:, None])
  mean = jnp.where(pairs(valid), found, 0).sum() / jnp.maximum(pairs(valid).sum(), 1)
  return found / jnp.maximum(mean, 1e-6)


def angles(x: jax.Array) -> jax.Array:
  """Cosines of the angles at i, between j and k: `[i, j, k]` of `[B, D]`; 0 where two are one."""
  differences = x[None] - x[:, None]
  length = _length(differences)[..., None]
  directions = differences / jnp.maximum(length, 1e-6)
  return jnp.einsum('ijd,ikd->ijk', directions, directions)


def _length(x: jax.Array) -> jax.Array:
  """Of the last axis; with a gradient of 0 where it is 0."""
  squares = jnp.square(x).sum(-1)
  some = squares > 1e-12
  return jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)


def compare(student: jax.Array, teacher: jax.Array, counted: jax.Array) -> jax.Array:
  """The mean Huber loss of what is counted; 0 if nothing is."""
  losses = optax.huber_loss(student, jax.lax.stop_gradient(teacher))
  return jnp.where(counted, losses, 0).sum() / jnp.maximum(counted.sum(), 1)
