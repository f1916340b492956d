"""Training a head that itself tells how unlike an example is to what it was trained on."""

import dataclasses
from typing import Any, ClassVar

import jax

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.objective import Arrays, Metrics
from har.objectives.reconstruct import Reconstruct


@dataclasses.dataclass(frozen=True)
class Familiar(Reconstruct):
  """The anomaly that the head gives, or what it wants lowered in its place; it is the score."""

  anomaly_meaning: ClassVar[str] = 'anomaly, which the model gives itself'
  needs_inputs: ClassVar[bool] = False

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del batch, key, teacher
    return inputs, {}

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    error = self.errors(outputs, targets).mean()
    loss = error if outputs.trained is None else outputs.trained.mean()
    return loss, {'error': error}

  def errors(self, outputs: Outputs, inputs: Arrays) -> jax.Array:
    del inputs
    if outputs.anomaly is None:
      raise UserError('objective: kind familiar needs a head such as head.kind=changes')
    return outputs.anomaly
