"""Heads that give back what entered the model."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Rate, Size, Sizes


class ConvDecoder(nn.Module):
  """Reconstructs signals from a bottleneck: the encoders' pooled features through few numbers.

  A dense layer to the bottleneck, one to a coarse sequence, and after each doubling of its length a
  convolution.

  Attributes:
    shapes: of each input's examples, (samples, channels).
    bottleneck: numbers that stand for a whole example.
    channels: of each convolution, coarse to fine.
    kernel: width of the convolutions, in samples.
    dropout: rate on the pooled features.
    dtype: of the computation; reconstructions are float32.
  """

  shapes: tuple[tuple[str, tuple[int, ...]], ...]
  bottleneck: Size = 16
  channels: Sizes = (64, 32)
  kernel: Size = 5
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns reconstructions, float32 `[B, T, C]` by input."""
    pooled = jnp.concatenate([features[n].pooled.astype(self.dtype) for n in sorted(features)], -1)
    pooled = dropout(pooled, self.dropout, mode, name='dropout')
    code = nn.Dense(self.bottleneck, dtype=self.dtype, name='bottleneck')(pooled)
    return Outputs(reconstruction={n: self._decode(n, shape, code) for n, shape in self.shapes})

  def _decode(self, name: str, shape: tuple[int, ...], code: jax.Array) -> jax.Array:
    if len(shape) != 2:
      raise UserError(
        f'the decoder reconstructs signals [T, C], but {name} has examples of shape {shape}'
      )
    samples, outputs = shape
    coarse = math.ceil(samples / 2 ** len(self.channels))
    x = nn.Dense(coarse * self.channels[0], dtype=self.dtype, name=f'{name}_start')(code)
    x = nn.relu(x).reshape(-1, coarse, self.channels[0])
    for i, channels in enumerate(self.channels):
      x = jnp.repeat(x, 2, axis=1)
      x = nn.Conv(channels, (self.kernel,), dtype=self.dtype, name=f'{name}_conv_{i}')(x)
      x = nn.relu(x)
    x = nn.Conv(outputs, (self.kernel,), dtype=self.dtype, name=f'{name}_out')(x)
    return x[:, :samples].astype(jnp.float32)
