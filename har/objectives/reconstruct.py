"""Giving back what was put in: what a model cannot reconstruct is unlike what it was trained on."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.errors import UserError
from har.metrics.detection import Detections
from har.models.types import Outputs
from har.objectives.objective import Arrays, Metrics, Objective, Selection


@dataclasses.dataclass(frozen=True)
class Reconstruct(Objective):
  """Mean squared error of the model's inputs, normalised as they enter it; it is the score, too.

  Attributes:
    normal_only: examples of abnormal classes are not trained on.
  """

  selection: ClassVar[Selection] = Selection('error', 'error', maximise=False)
  anomaly_meaning: ClassVar[str] = (
    'the mean of (reconstruction - input)^2 over channels and recorded samples; of several inputs '
    'the mean of these'
  )
  needs_inputs: ClassVar[bool] = True
  normal_only: bool = False

  def trains_on(self, labels: np.ndarray) -> np.ndarray:
    if not self.normal_only:
      return super().trains_on(labels)
    if not self.facts.abnormal:
      raise UserError('objective.normal_only: the dataset names no abnormal class')
    return ~np.isin(self.facts.class_names, self.facts.abnormal)[labels]

  def errors(self, outputs: Outputs, inputs: Arrays) -> jax.Array:
    """Of each example, `[B]`."""
    return errors(outputs, inputs)

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del batch, key, teacher
    return inputs, inputs

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    error = self.errors(outputs, targets).mean()
    return error, {'error': error}

  def scores(self, outputs: Outputs, inputs: Arrays) -> Arrays:
    return {'error': self.errors(outputs, inputs)}

  def anomaly(self, scores: dict[str, np.ndarray]) -> np.ndarray | None:
    return scores['error']

  def validate(self, scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    known = self.trains_on(labels)
    if not known.any():
      raise UserError('objective.normal_only: every validation example is of an abnormal class')
    error = float(scores['error'][known].mean())
    return {'loss': error, 'error': error}

  def evaluate(
    self, scores: dict[str, np.ndarray], keys: tuple[str, ...], labels: np.ndarray
  ) -> Detections:
    facts = self.facts
    return Detections(keys, labels, scores['error'], facts.class_names, facts.abnormal)


def errors(outputs: Outputs, inputs: Arrays) -> jax.Array:
  """Mean squared error of each example over samples and channels, `[B]`; the mean over inputs.

  Padding does not count.
  """
  if not outputs.reconstruction:
    raise UserError('objective: kind reconstruct needs a head such as head.kind=decoder')
  found = []
  for name in sorted(outputs.reconstruction):
    x = inputs[name]
    squares = jnp.square(outputs.reconstruction[name] - x).mean(tuple(range(2, x.ndim)))
    mask = inputs.get(f'{name}_mask')
    weight = jnp.ones(x.shape[:2]) if mask is None else mask.astype(jnp.float32)
    found.append((squares * weight).sum(1) / jnp.maximum(weight.sum(1), 1))
  return jnp.stack(found).mean(0)
