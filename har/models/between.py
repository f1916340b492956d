"""How little a sample is what others let one expect."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models import temporal
from har.models.layers import dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Positive, Rate, Size, Sizes, WholeNumber

# Logarithms of variances, before the floor is added: from nothing to more than any movement.
_NARROWEST, _WIDEST = -6.0, 4.0


class Between(nn.Module):
  """Tells each sample from all others around it, and how sure that is; the worst miss counts.

  Two stacks of causal convolutions, one of which reads backwards, know what comes before and after
  a sample and not itself. From both come a mean and a variance of each channel. A sample's surprise
  is its negative log-likelihood, normal and independent, less the least that there can be. The
  anomaly of an example is its greatest surprise: an impact is short, and a mean would drown it.
  What is trained is the mean. The variance of a sensor's own noise is added to the model's, or
  the smallest movement amid stillness would be as surprising as a fall.

  Nothing is learnt below the head: an encoder that was would make all samples alike.

  Attributes:
    features: channels of each block of either stack, see `har.models.temporal.TCN`.
    kernel: width of the convolutions.
    hidden: features of the layer before the outputs.
    channels: of each input, the first so many are told; 0 for all.
    floor: the variance that is added, in squared units of what enters.
    skip: so many samples at either end, around which little is known, are not judged.
    dropout: rate in the stacks.
    momentum: of the batch norms' running statistics.
    dtype: of the computation; the anomaly is float32.
  """

  features: Sizes = (32, 32, 32)
  kernel: Size = 5
  hidden: Size = 64
  channels: WholeNumber = 0
  floor: Positive = 0.1
  skip: WholeNumber = 5
  dropout: Rate = 0.0
  momentum: Rate = 0.9
  dtype: Any = jnp.float32

  reads_sequence: ClassVar[bool] = True

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns `anomaly` and `trained`, `[B]`: the greatest and the mean surprise, of several inputs
    the mean of these. It is 0 where nothing is judged.

    Raises:
      UserError: an encoder gives too few samples, or something else than samples.
    """
    greatest, means, weights = [], [], []
    for name in sorted(features):
      one = features[name]
      surprise = self._surprise(name, one, mode)
      heard = jnp.ones(surprise.shape)
      if one.mask is not None:
        heard = one.mask[:, self._judged(one.mask.shape[1])].astype(jnp.float32)
      there = jnp.ones(len(heard)) if one.present is None else one.present.astype(jnp.float32)
      surprise = surprise * heard
      greatest.append(surprise.max(1) * there)
      means.append(surprise.sum(1) / jnp.maximum(heard.sum(1), 1) * there)
      weights.append(there)
    total = jnp.maximum(sum(weights), 1)
    return Outputs(anomaly=sum(greatest) / total, trained=sum(means) / total)

  def _reach(self) -> str:
    return f'skip={self.skip}'

  def _judged(self, length: int) -> slice:
    """The samples that are told."""
    return slice(self.skip + 1, length - self.skip - 1)

  def _around(self, name: str, one: Features, mode: Mode) -> jax.Array:
    """What is known of the judged samples, `[B, K, F]`."""
    x = jax.lax.stop_gradient(one.sequence)
    before = self._stack(f'{name}_before')(x, one.mask, mode)
    mask = None if one.mask is None else jnp.flip(one.mask, 1)
    after = jnp.flip(self._stack(f'{name}_after')(jnp.flip(x, 1), mask, mode), 1)
    first, last = self.skip + 1, x.shape[1] - self.skip - 1
    return jnp.concatenate([before[:, first - 1 : last - 1], after[:, first + 1 : last + 1]], -1)

  def _surprise(self, name: str, one: Features, mode: Mode) -> jax.Array:
    """Of one input's judged samples, float32 `[B, K]`."""
    x = jax.lax.stop_gradient(one.sequence)
    if x.ndim != 3 or not len(range(*self._judged(x.shape[1]).indices(x.shape[1]))):
      raise UserError(
        f'the head cannot judge any of the {x.shape[1]} samples that {name} gives; {self._reach()}'
      )
    y = nn.Dense(self.hidden, dtype=self.dtype, name=f'{name}_hidden')(
      self._around(name, one, mode)
    )
    y = dropout(nn.relu(y), self.dropout, mode, name=f'{name}_dropout')
    count = min(self.channels or x.shape[-1], x.shape[-1])
    mean = nn.Dense(count, dtype=self.dtype, name=f'{name}_mean')(y).astype(jnp.float32)
    spread = nn.Dense(count, dtype=self.dtype, name=f'{name}_spread')(y).astype(jnp.float32)
    own = jnp.exp(jnp.clip(spread, _NARROWEST, _WIDEST)) / self.floor + 1
    judged = x[:, self._judged(x.shape[1]), :count].astype(jnp.float32)
    miss = jnp.square(judged - mean) / self.floor
    return 0.5 * (miss / own + jnp.log(own)).mean(-1)

  def _stack(self, name: str) -> temporal.TCN:
    return temporal.TCN(
      self.features, self.kernel, self.dropout, self.momentum, self.dtype, name=name
    )


class Forecaster(Between):
  """Tells each sample from those up to `horizon` before it alone; the worst miss counts.

  Attributes:
    horizon: samples from the last that is read to the one that is told.
  """

  horizon: Size = 25

  def _reach(self) -> str:
    return f'skip={self.skip}, horizon={self.horizon}'

  def _judged(self, length: int) -> slice:
    return slice(self.skip + self.horizon, length)

  def _around(self, name: str, one: Features, mode: Mode) -> jax.Array:
    x = jax.lax.stop_gradient(one.sequence)
    before = self._stack(f'{name}_before')(x, one.mask, mode)
    return before[:, self.skip : x.shape[1] - self.horizon]
