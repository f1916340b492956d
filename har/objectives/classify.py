"""Telling which class an example is of."""

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from har.errors import UserError
from har.metrics.classification import Predictions
from har.models.fusion import NEVER
from har.models.types import Outputs
from har.objectives import mixup
from har.objectives.objective import Arrays, Metrics, Objective, Selection
from har.ranges import Amount, Rate


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
  """Cross entropy of each example, `[B]`, with label smoothing in [0, 1)."""
  return optax.softmax_cross_entropy(logits, _one_hot(logits.shape[-1], labels, smoothing))


def _one_hot(classes: int, labels: jax.Array, smoothing: float) -> jax.Array:
  return optax.smooth_labels(jax.nn.one_hot(labels, classes), smoothing)


def logits_of(outputs: Outputs) -> jax.Array:
  """The logits `[B, C]`; UserError if the stage's head gives none."""
  if outputs.logits is None:
    raise UserError('objective: this kind needs a head that gives logits, such as head.kind=linear')
  return outputs.logits


class Classifier(Objective):
  """What all objectives share whose model gives logits: scores and figures."""

  selection = Selection('top1', 'Top-1', maximise=True)

  anomaly_meaning: ClassVar[str] = (
    'log(p / (1 - p)), p being the sum of the probabilities (softmax of logits) of the classes '
    'under `abnormal`'
  )

  def scores(self, outputs: Outputs, inputs: Arrays) -> Arrays:
    """`logits`; and, if some of the classes are abnormal, `abnormal`, the log-odds of those.

    A probability would be 1 for many. Classes that the stage cannot know get `NEVER`.
    """
    del inputs
    logits = logits_of(outputs)
    if self.facts.unknown is not None:
      logits = jnp.where(self.facts.unknown, NEVER, logits)
    flagged = np.isin(self.facts.class_names, self.facts.abnormal)
    if flagged.all() or not flagged.any():
      return {'logits': logits}
    sums = [jax.nn.logsumexp(logits[:, np.flatnonzero(f)], axis=-1) for f in (flagged, ~flagged)]
    return {'logits': logits, 'abnormal': sums[0] - sums[1]}

  def anomaly(self, scores: dict[str, np.ndarray]) -> np.ndarray | None:
    return scores.get('abnormal')

  def validate(self, scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    logits = scores['logits']
    loss = float(np.mean(cross_entropy(jnp.asarray(logits), jnp.asarray(labels))))
    return {'loss': loss, 'top1': float((logits.argmax(-1) == labels).mean())}

  def evaluate(
    self, scores: dict[str, np.ndarray], keys: tuple[str, ...], labels: np.ndarray
  ) -> Predictions:
    return Predictions.from_scores(keys, labels, scores['logits'], self.facts.class_names)


@dataclasses.dataclass(frozen=True)
class Classify(Classifier):
  """Cross entropy of labels.

  Attributes:
    label_smoothing: in [0, 1), the share that a label gives to all classes alike.
    mixup: how evenly training examples are blended (see `har.objectives.mixup`); 0 for not at all.
    auxiliary: weight of each modality's own cross entropy over the examples that have it, where the
      head gives logits of each; 0 for none.
    class_weights: what an example's loss weighs: 'none' (all alike), 'balanced' (N / (C n) for a
      class with n of N training examples), or a weight for each class.
  """

  label_smoothing: Rate = 0.0
  mixup: Amount = 0.0
  auxiliary: Amount = 0.0
  class_weights: Literal['none', 'balanced'] | tuple[Amount, ...] = 'none'

  def __post_init__(self) -> None:
    self.weights()

  def weights(self) -> np.ndarray | None:
    """float32 [C]; None if all are alike.

    Raises:
      UserError: they are no number for each class, or all 0; or a class to balance has no example.
    """
    given, counts = self.class_weights, self.facts.counts
    if given == 'none':
      return None
    if given == 'balanced':
      if not counts.all():
        lacking = self.facts.class_names[int(np.argmin(counts))]
        raise UserError(
          f"objective.class_weights='balanced': no training example is of the class {lacking!r}"
        )
      return (counts.sum() / (len(counts) * counts)).astype(np.float32)
    if len(given) != len(counts) or not any(given):
      raise UserError(
        f'objective.class_weights={given!r}: must be a number for each of {len(counts)} classes, '
        'not all 0'
      )
    return np.array(given, np.float32)

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del teacher
    targets = _one_hot(len(self.facts.class_names), batch['label'], self.label_smoothing)
    weights = self.weights()
    weight = None if weights is None else jnp.asarray(weights)[batch['label']]
    present = {name: x for name, x in inputs.items() if name.endswith('_present')}
    if self.mixup:
      share = mixup.draw_shares(key, inputs, self.mixup)
      inputs = {name: mixup.blend(x, share) for name, x in inputs.items()}
      targets = mixup.blend(targets, share)
      weight = None if weight is None else mixup.blend(weight, share)
      present = {name: inputs[name] for name in present}
    return inputs, {
      'label': batch['label'],
      'classes': targets,
      'weight': weight,
      'present': present,
    }

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    def losses(logits):
      each = optax.softmax_cross_entropy(logits, targets['classes'])
      return each if targets['weight'] is None else each * targets['weight']

    logits = logits_of(outputs)
    loss = losses(logits).mean()
    if self.auxiliary:
      for name in sorted(outputs.own_logits):
        own = losses(outputs.own_logits[name])
        loss += self.auxiliary * _mean_present(own, targets['present'].get(f'{name}_present'))
    return loss, {'top1': (logits.argmax(-1) == targets['label']).mean()}


def _mean_present(values: jax.Array, present: jax.Array | None) -> jax.Array:
  """The mean of `[B]` where `present`; 0 where nothing is."""
  if present is None:
    return values.mean()
  return jnp.where(present, values, 0).sum() / jnp.maximum(present.sum(), 1)
