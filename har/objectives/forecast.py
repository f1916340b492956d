"""Saying what comes next: what a model did not expect is unlike what it was trained on."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.objective import Arrays, Selection
from har.objectives.reconstruct import Reconstruct
from har.ranges import Size

# Logarithms of variances: from the noise of a sensor to more than any movement.
_NARROWEST, _WIDEST = -6.0, 4.0


@dataclasses.dataclass(frozen=True)
class Forecast(Reconstruct):
  """Negative log-likelihood of the samples to come, normal and independent; it is the score, too.

  The variance is the model's own: the same surprise weighs less amid movement that it knows to be
  hard to foresee. Encoders must be causal, or they see what they are to say.

  Attributes:
    horizon: samples from what has been read to what is forecast.
    skip: so many samples at the beginning, where little has been read, are forecast and not judged.
  """

  selection: ClassVar[Selection] = Selection('error', 'NLL', maximise=False)
  anomaly_meaning: ClassVar[str] = (
    'the mean over channels and over t from `skip` to T - `horizon` - 1 of ((x[t + horizon] - m)^2 '
    '/ v + log(v)) / 2, m being forecast[t] of that channel and log(v) of the channel C places on, '
    'kept between -6 and 4; recorded samples only; of several inputs the mean of these'
  )
  horizon: Size = 25
  skip: Size = 10

  def errors(self, outputs: Outputs, inputs: Arrays) -> jax.Array:
    if not outputs.forecast:
      raise UserError('objective: kind forecast needs head.kind=forecaster')
    found = []
    for name in sorted(outputs.forecast):
      x, length = inputs[name], inputs[name].shape[1] - self.horizon - self.skip
      if length < 1:
        raise UserError(
          f'objective.horizon={self.horizon} and skip={self.skip} leave nothing of the '
          f'{x.shape[1]} samples of {name}'
        )
      given = outputs.forecast[name][:, self.skip : self.skip + length]
      mean, spread = jnp.split(given, 2, axis=-1)
      spread = jnp.clip(spread, _NARROWEST, _WIDEST)
      later = x[:, self.skip + self.horizon :, : mean.shape[-1]]
      losses = 0.5 * (jnp.square(later - mean) * jnp.exp(-spread) + spread).mean(-1)
      mask = inputs.get(f'{name}_mask')
      weight = jnp.ones(losses.shape)
      if mask is not None:
        weight = mask[:, self.skip + self.horizon :].astype(jnp.float32)
      found.append((losses * weight).sum(1) / jnp.maximum(weight.sum(1), 1))
    return jnp.stack(found).mean(0)
