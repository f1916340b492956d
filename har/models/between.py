"""How little a sample is what those before and after it let one expect."""

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
        heard = one.mask[:, self._first : -self._first].astype(jnp.float32)
      there = jnp.ones(len(heard)) if one.present is None else one.present.astype(jnp.float32)
      surprise = surprise * heard
      greatest.append(surprise.max(1) * there)
      means.append(surprise.sum(1) / jnp.maximum(heard.sum(1), 1) * there)
      weights.append(there)
    total = jnp.maximum(sum(weights), 1)
    return Outputs(anomaly=sum(greatest) / total, trained=sum(means) / total)

  @property
  def _first(self) -> int:
    """The first sample that is judged."""
    return self.skip + 1

  def _surprise(self, name: str, one: Features, mode: Mode) -> jax.Array:
    """Of one input's judged samples, float32 `[B, T - 2 first]`."""
    x = jax.lax.stop_gradient(one.sequence)
    first, last = self._first, x.shape[1] - self._first
    if x.ndim != 3 or last <= first:
      raise UserError(
        f'head.kind=between: {name} gives {x.shape[1]} samples, and skip={self.skip} leaves none'
      )
    before = self._stack(f'{name}_before')(x, one.mask, mode)
    mask = None if one.mask is None else jnp.flip(one.mask, 1)
    after = jnp.flip(self._stack(f'{name}_after')(jnp.flip(x, 1), mask, mode), 1)
    around = [before[:, first - 1 : last - 1], after[:, first + 1 : last + 1]]
    y = nn.Dense(self.hidden, dtype=self.dtype, name=f'{name}_hidden')(jnp.concatenate(around, -1))
    y = dropout(nn.relu(y), self.dropout, mode, name=f'{name}_dropout')
    count = min(self.channels or x.shape[-1], x.shape[-1])
    mean = nn.Dense(count, dtype=self.dtype, name=f'{name}_mean')(y).astype(jnp.float32)
    spread = nn.Dense(count, dtype=self.dtype, name=f'{name}_spread')(y).astype(jnp.float32)
    own = jnp.exp(jnp.clip(spread, _NARROWEST, _WIDEST)) / self.floor + 1
    miss = jnp.square(x[:, first:last, :count].astype(jnp.float32) - mean) / self.floor
    return 0.5 * (miss / own + jnp.log(own)).mean(-1)

  def _stack(self, name: str) -> temporal.TCN:
    return temporal.TCN(
      self.features, self.kernel, self.dropout, self.momentum, self.dtype, name=name
    )
