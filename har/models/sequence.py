"""Encoders of sequences by temporal layers: of signals, or of the features of frames."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.models import temporal
from har.models.imu import Conv1dNet
from har.models.layers import Pooling, masked_pool
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Rate, Size, SizeOrSizes, Sizes

PoolingOrLast = Literal['last', Pooling]
Carry = dict[str, Any]


class _Temporal(nn.Module):
  """A temporal layer, that of the subclass's `_layer()`, pooled.

  Attributes:
    pooling: 'last' (the last real step), 'mean', 'max' or 'mean_max' over time.
    dtype: of the computation; parameters are float32.
  """

  pooling: PoolingOrLast = 'mean'
  dtype: Any = jnp.float32

  def setup(self):
    self.layer = self._layer()

  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """Encodes a batch of sequences.

    Args:
      x: float `[B, T, C]`.
      mask: bool `[B, T]`, true for the first samples and false for padding; None if there is none.
      mode: what runs in training mode.

    Returns:
      `Features` with N = T steps; padded ones are zero.
    """
    y = self.layer(x, mask, mode)
    return Features(y, self._pool(y, mask), mask)

  def _pool(self, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    if self.pooling == 'last' and getattr(self.layer, 'bidirectional', False):
      # The backward direction has read everything at the first step.
      size = y.shape[-1] // 2
      return jnp.concatenate([masked_pool(y[..., :size], mask, 'last'), y[:, 0, size:]], -1)
    return masked_pool(y, mask, self.pooling)

  def initial_carry(self, batch: int, shape: Sequence[int] = ()) -> Carry:
    """Zeros, for `step`; the `shape` of a sample matters to layers that give what they take."""
    channels = getattr(self.layer, 'channels', shape[-1] if shape else 0)
    carry: Carry = {'layer': self.layer.initial_carry(batch)}
    if self.pooling != 'last':
      carry['count'] = jnp.zeros((batch, 1), self.dtype)
      for part in self.pooling.split('_'):
        carry[part] = jnp.zeros((batch, channels), self.dtype)
    return carry

  def step(self, carry: Carry, x: jax.Array) -> tuple[Carry, Features]:
    """Takes one sample more of causal layers.

    Args:
      carry: what `initial_carry` or the step before gave.
      x: float `[B, C]`.

    Returns:
      The new carry, and `Features` of one step, pooled over all samples so far.

    Raises:
      UserError: the layer reads the future.
    """
    state, y = self.layer.step(carry['layer'], x)
    after: Carry = {'layer': state}
    if self.pooling == 'last':
      return after, Features(y[:, None], y)
    count = after['count'] = carry['count'] + 1
    pooled = []
    for part in self.pooling.split('_'):
      before = carry[part]
      if part == 'mean':
        after[part] = before + (y - before) / count
      else:
        after[part] = jnp.where(carry['count'] > 0, jnp.maximum(before, y), y)
      pooled.append(after[part])
    return after, Features(y[:, None], jnp.concatenate(pooled, -1))


class Pool(_Temporal):
  """Nothing but dropout before the pooling: the samples themselves.

  Attributes:
    dropout: rate, one decision for all samples of an example.
  """

  dropout: Rate = 0.0

  def _layer(self) -> nn.Module:
    return temporal.Identity(self.dropout, self.dtype, name='layer')


class LSTM(_Temporal):
  """Long short-term memory.

  Attributes:
    features: of the state of each direction.
    layers: how many, above each other.
    bidirectional: each layer reads the sequence in both directions; this is not causal.
    dropout: rate after each layer, one decision for all samples of an example.
  """

  features: Size = 64
  layers: Size = 2
  bidirectional: bool = False
  dropout: Rate = 0.1
  pooling: PoolingOrLast = 'last'

  _kind: ClassVar[type[nn.Module]] = temporal.LSTM

  def _layer(self) -> nn.Module:
    return self._kind(
      self.features, self.layers, self.bidirectional, self.dropout, self.dtype, name='layer'
    )


class GRU(LSTM):
  """Gated recurrent units, with the attributes of `LSTM`."""

  _kind = temporal.GRU


class TCN(_Temporal):
  """Dilated causal convolutions (see `har.models.temporal.TCN`)."""

  features: Sizes = (64, 64, 64, 64)
  kernel: Size = 5
  dropout: Rate = 0.1
  momentum: Rate = 0.9
  inputs: int | None = None

  def _layer(self) -> nn.Module:
    shape, rest = (self.features, self.kernel), (self.dropout, self.momentum, self.dtype)
    return temporal.TCN(*shape, *rest, self.inputs, name='layer')


class CnnGRU(nn.Module):
  """`Conv1dNet` with strides, then gated recurrent units over its steps.

  Attributes:
    channels: of each convolution; see `Conv1dNet` for these and the next four.
    kernels: width of each convolution, in samples.
    strides: of each convolution; one number stands for all.
    pools: window and stride of the max pool after each.
    conv_dropout: rate after each.
    features: of the state of each direction; see `GRU` for these and the next four.
    layers: of gated recurrent units.
    bidirectional: they read in both directions.
    dropout: rate after each layer of them.
    pooling: over time.
    momentum: of the batch norms' running statistics.
    dtype: of the computation; parameters are float32.
  """

  channels: Sizes = (64, 64, 128)
  kernels: Sizes = (24, 16, 8)
  strides: SizeOrSizes = 2
  pools: SizeOrSizes = 1
  conv_dropout: Rate = 0.1
  features: Size = 64
  layers: Size = 1
  bidirectional: bool = False
  dropout: Rate = 0.1
  pooling: PoolingOrLast = 'mean_max'
  momentum: Rate = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """As `LSTM`, with the steps of the convolutions' output; the convolutions are not causal."""
    steps = Conv1dNet(
      channels=self.channels,
      kernels=self.kernels,
      strides=self.strides,
      pools=self.pools,
      padding='SAME',
      norm=True,
      momentum=self.momentum,
      dropout=self.conv_dropout,
      dtype=self.dtype,
      name='cnn',
    )(x, mask, mode)
    return GRU(
      features=self.features,
      layers=self.layers,
      bidirectional=self.bidirectional,
      dropout=self.dropout,
      pooling=self.pooling,
      dtype=self.dtype,
      name='gru',
    )(steps.sequence, steps.mask, mode)
