"""Heads that give back what entered the model."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models import temporal
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
    code = _bottleneck(self, features, mode)
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


def _bottleneck(decoder: Any, features: dict[str, Features], mode: Mode) -> jax.Array:
  """The few numbers that stand for each example, `[B, bottleneck]`; of a decoder's own layers."""
  dtype = decoder.dtype
  pooled = jnp.concatenate([features[n].pooled.astype(dtype) for n in sorted(features)], -1)
  pooled = dropout(pooled, decoder.dropout, mode, name='dropout')
  return nn.Dense(decoder.bottleneck, dtype=dtype, name='bottleneck')(pooled)


class RecurrentDecoder(nn.Module):
  """Reconstructs signals by an LSTM that is given the same few numbers at every sample.

  With `lstm` as encoder this is an LSTM autoencoder (Srivastava et al., ICML 2015, Section 2.1),
  unconditioned: it never sees what it has to give back.

  Attributes:
    shapes: of each input's examples, (samples, channels).
    bottleneck: numbers that stand for a whole example.
    features: of the LSTM's state.
    layers: how many LSTMs, above each other.
    dropout: rate on the pooled features.
    dtype: of the computation; reconstructions are float32.
  """

  shapes: tuple[tuple[str, tuple[int, ...]], ...]
  bottleneck: Size = 16
  features: Size = 64
  layers: Size = 1
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns reconstructions, float32 `[B, T, C]` by input."""
    code = _bottleneck(self, features, mode)
    found = {}
    for name, (samples, *channels) in self.shapes:
      size = math.prod(channels)
      x = jnp.repeat(code[:, None], samples, axis=1)
      lstm = temporal.LSTM(self.features, self.layers, dtype=self.dtype, name=f'{name}_lstm')
      x = nn.Dense(size, dtype=self.dtype, name=f'{name}_out')(lstm(x, None, mode))
      found[name] = x.reshape(-1, samples, *channels).astype(jnp.float32)
    return Outputs(reconstruction=found)
