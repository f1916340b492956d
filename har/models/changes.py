"""An autoencoder of how features change, for encoders that are not trained."""

from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models import temporal
from har.models.layers import dropout, masked_pool
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Number, Rate, Size


class ChangesAutoencoder(nn.Module):
  """Gives back, from few numbers, how an encoder's features change from step to step.

  An LSTM reads the changes, another one is given the few numbers at every step (Srivastava et al.,
  ICML 2015, Section 2.1, unconditioned), and what it cannot give back is the example's anomaly. Of
  a frozen image network with the temporal 'mean' these are the changes of its frames' features: a
  still picture has none, whatever it shows. They are told in units of how much the features vary
  over the whole example, so that what moves steadily, however far, changes little from step to
  step, and what moves to and fro much. Nothing is learnt below the head: an encoder that was would
  make all features alike.

  Attributes:
    floor: variance of features that an example has besides its own, so that what a camera's noise
      does to a still picture is no large change.
    bottleneck: numbers that stand for a whole example.
    features: of the state of both LSTMs.
    layers: how many of each, above each other.
    dropout: rate on the last state that the first one reaches.
    dtype: of the computation; the anomaly is float32.
  """

  floor: Annotated[float, Number(0, 1e6, above=True)] = 1e-3
  bottleneck: Size = 32
  features: Size = 64
  layers: Size = 1
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  reads_sequence: ClassVar[bool] = True

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns `anomaly`: the mean squared error over steps and features, then over inputs.

    Raises:
      UserError: an encoder gives a single step.
    """
    errors, weights = [], []
    for name in sorted(features):
      one = features[name]
      error = self._error(name, one, mode)
      there = jnp.ones(len(error)) if one.present is None else one.present.astype(jnp.float32)
      errors.append(error * there)
      weights.append(there)
    total = jnp.maximum(sum(weights), 1)
    return Outputs(anomaly=sum(errors) / total)

  def _error(self, name: str, one: Features, mode: Mode) -> jax.Array:
    """Of one input, float32 `[B]`."""
    x = jax.lax.stop_gradient(one.sequence).astype(self.dtype)
    if x.shape[1] < 2:
      raise UserError(
        f'head.kind=changes: the encoder of {name} gives {x.shape[1]} step, which has no change'
      )
    mask = None if one.mask is None else one.mask[:, 1:]
    changes = (x[:, 1:] - x[:, :-1]) / self._spread(x, one.mask)
    sizes = {'features': self.features, 'layers': self.layers, 'dtype': self.dtype}
    read = temporal.LSTM(**sizes, name=f'{name}_reader')(changes, mask, mode)
    last = dropout(masked_pool(read, mask, 'last'), self.dropout, mode, name=f'{name}_dropout')
    code = nn.Dense(self.bottleneck, dtype=self.dtype, name=f'{name}_bottleneck')(last)
    steps = jnp.repeat(code[:, None], changes.shape[1], axis=1)
    told = temporal.LSTM(**sizes, name=f'{name}_writer')(steps, None, mode)
    told = nn.Dense(x.shape[-1], dtype=self.dtype, name=f'{name}_out')(told)
    squares = jnp.square((told - changes).astype(jnp.float32)).mean(-1)
    weight = jnp.ones(squares.shape) if mask is None else mask.astype(jnp.float32)
    return (squares * weight).sum(1) / jnp.maximum(weight.sum(1), 1)

  def _spread(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Deviation over steps, one for all features, `[B, 1, 1]`, of what is float32 for that."""
    x = x.astype(jnp.float32)
    there = jnp.ones(x.shape[:2]) if mask is None else mask.astype(jnp.float32)
    weight = (there / jnp.maximum(there.sum(1, keepdims=True), 1))[..., None]
    centred = x - (x * weight).sum(1, keepdims=True)
    variance = (jnp.square(centred).mean(-1, keepdims=True) * weight).sum(1, keepdims=True)
    return jnp.sqrt(variance + self.floor).astype(self.dtype)
