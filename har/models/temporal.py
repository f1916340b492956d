"""Recurrent and temporal convolutional layers over sequences `[B, T, C]`.

Masks are bool `[B, T]`, true for the first n samples of an example: what comes after them has no
influence on the outputs of the others, and its own outputs are zero. The causal layers can also be
run on one sample after the other: `carry = module.apply(variables, batch, method='initial_carry')`
gives zeros, and `carry, y = module.apply(variables, carry, x, method='step')` takes `[B, C]` to
`[B, D]`, equal to what the whole clip gives.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import batch_norm, dropout
from har.models.mode import INFERENCE, Mode

# Saturates a sigmoid: it is 0 or 1 exactly, also in bfloat16.
_SATURATED = 1e4


class _Weights(nn.Module):
  """A kernel `[inputs, features]` and a bias, for loops, in which Linen can create nothing."""

  features: int
  kernel_init: Callable[..., jax.Array]
  bias_init: Callable[..., jax.Array] | None
  dtype: Any

  @nn.compact
  def __call__(self, inputs: int) -> Callable[[jax.Array], jax.Array]:
    kernel = self.param('kernel', self.kernel_init, (inputs, self.features)).astype(self.dtype)
    if self.bias_init is None:
      return lambda x: x @ kernel
    bias = self.param('bias', self.bias_init, (self.features,)).astype(self.dtype)
    return lambda x: x @ kernel + bias


class _Cell(nn.Module):
  """One recurrent layer in one direction."""

  features: int
  dtype: Any = jnp.float32

  gates = 0

  def setup(self):
    size, zeros = self.gates * self.features, nn.initializers.zeros
    inputs = nn.initializers.glorot_uniform()
    self.input = _Weights(size, inputs, self._bias, self.dtype)
    bias = zeros if self.gates == 3 else None
    self.recurrent = _Weights(size, nn.initializers.orthogonal(), bias, self.dtype)

  def __call__(
    self, x: jax.Array, mask: jax.Array | None, mode: Mode, *, reverse: bool = False
  ) -> jax.Array:
    batch, length, channels = x.shape
    gates = self.input(channels)(x.astype(self.dtype))
    features = gates.shape[-1] // self.gates  # may be fewer than `self.features`
    if mask is not None and reverse:
      # Padding comes first then, and leaves the zeros of the start as they are.
      gates = jnp.where(mask[..., None], gates, self._idle(features))
    recurrent, carry = self.recurrent(features), self.initial_carry(batch)

    def advance(carry, gates):
      return self._advance(recurrent, carry, gates)

    if not mode.unroll:
      xs = jnp.moveaxis(gates, 1, 0)
      _, ys = jax.lax.scan(advance, carry, xs, reverse=reverse)
      return jnp.moveaxis(ys, 0, 1)
    # Sliced and joined along the last axis, which takes no reshape for each step.
    size, flat, ys = gates.shape[-1], gates.reshape(batch, -1), [x] * length
    for t in reversed(range(length)) if reverse else range(length):
      carry, ys[t] = advance(carry, flat[:, t * size : (t + 1) * size])
    return jnp.concatenate(ys, -1).reshape(batch, length, features)

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    gates = self.input(x.shape[-1])(x.astype(self.dtype))
    return self._advance(self.recurrent(gates.shape[-1] // self.gates), carry, gates)

  @property
  def size(self) -> int:
    """Features of the state."""
    return self.variables['params']['recurrent']['kernel'].shape[0]


class _LSTMCell(_Cell):
  """Gates in the order input, forget, output, candidate."""

  gates = 4

  @staticmethod
  def _bias(key, shape, dtype=jnp.float32):
    del key
    # The forget gates start open (Jozefowicz et al., 2015).
    quarter = jnp.arange(shape[0]) // (shape[0] // 4)
    return (quarter == 1).astype(dtype)

  def _idle(self, size: int) -> jax.Array:
    return jnp.where(jnp.arange(4 * size) < size, -_SATURATED, 0.0).astype(self.dtype)

  def initial_carry(self, batch: int) -> Any:
    zeros = jnp.zeros((batch, self.size), self.dtype)
    return zeros, zeros

  def _advance(self, recurrent, carry, gates):
    h, c = carry
    size = h.shape[-1]
    gates = gates + recurrent(h)
    opened = nn.sigmoid(gates[:, : 3 * size])
    keep, out = opened[:, size : 2 * size], opened[:, 2 * size :]
    c = keep * c + opened[:, :size] * jnp.tanh(gates[:, 3 * size :])
    h = out * jnp.tanh(c)
    return (h, c), h


class _GRUCell(_Cell):
  """Gates in the order reset, update, candidate."""

  gates = 3
  _bias = staticmethod(nn.initializers.zeros)

  def _idle(self, size: int) -> jax.Array:
    part = jnp.arange(3 * size) // size
    return jnp.where(part == 1, _SATURATED, 0.0).astype(self.dtype)

  def initial_carry(self, batch: int) -> Any:
    return jnp.zeros((batch, self.size), self.dtype)

  def _advance(self, recurrent, carry, gates):
    size, h = carry.shape[-1], carry
    before = recurrent(h)
    opened = nn.sigmoid(gates[:, : 2 * size] + before[:, : 2 * size])
    new = jnp.tanh(gates[:, 2 * size :] + opened[:, :size] * before[:, 2 * size :])
    h = new + opened[:, size:] * (h - new)
    return h, h


class _Recurrent(nn.Module):
  """Recurrent layers above each other.

  Attributes:
    features: of the state of each direction.
    layers: how many.
    bidirectional: each layer reads the sequence in both directions; `[B, T, 2 features]` then.
    dropout: rate after each layer, one decision for all samples of an example.
    dtype: of the computation; parameters are float32.
  """

  features: int
  layers: int = 1
  bidirectional: bool = False
  dropout: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    self.forward = [self._cell(self.features, self.dtype) for _ in range(self.layers)]
    count = self.layers if self.bidirectional else 0
    self.backward = [self._cell(self.features, self.dtype) for _ in range(count)]
    self.drop = [Dropout(self.dropout) for _ in range(self.layers)]

  @property
  def channels(self) -> int:
    """Features of the output."""
    return sum(cells[-1].size for cells in (self.forward, self.backward) if cells)

  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> jax.Array:
    """`[B, T, C]` -> `[B, T, channels]`, zero in padding."""
    for i, forward in enumerate(self.forward):
      y = forward(x, mask, mode)
      if self.bidirectional:
        y = jnp.concatenate([y, self.backward[i](x, mask, mode, reverse=True)], -1)
      x = self.drop[i](y, mode)
    return x if mask is None else jnp.where(mask[..., None], x, 0)

  def initial_carry(self, batch: int) -> Any:
    """Zeros, for `step`."""
    return [cell.initial_carry(batch) for cell in self.forward]

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    """`x` `[B, C]` -> the new carry and `[B, features]`.

    Raises:
      UserError: the layer reads the future.
    """
    if self.bidirectional:
      raise UserError(f'{"/".join(self.path)} is bidirectional: it cannot run on a stream')
    after = []
    for cell, before in zip(self.forward, carry, strict=True):
      state, x = cell.step(before, x)
      after.append(state)
    return after, x


class Dropout(nn.Module):
  """`har.models.layers.dropout` for modules with a `setup`; the same for all samples."""

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    return dropout(x, self.rate, mode, name='dropout', broadcast=(1,))


class Identity(nn.Module):
  """Samples as they come, with dropout of `rate`, one decision for all samples of an example."""

  rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> jax.Array:
    """`[B, T, C]` -> the same, zero in padding."""
    x = dropout(x.astype(self.dtype), self.rate, mode, name='dropout', broadcast=(1,))
    return x if mask is None else jnp.where(mask[..., None], x, 0)

  def initial_carry(self, batch: int) -> Any:
    """Nothing is carried."""
    del batch
    return ()

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    """`x` `[B, C]` as it comes."""
    return carry, x.astype(self.dtype)


class LSTM(_Recurrent):
  """Long short-term memory (Hochreiter and Schmidhuber, 1997; with forget gates)."""

  _cell = _LSTMCell


class GRU(_Recurrent):
  """Gated recurrent units (Cho et al., 2014), the reset gate behind the product as in cuDNN."""

  _cell = _GRUCell


class TCN(nn.Module):
  """Residual blocks of two dilated causal convolutions (Bai et al., 2018, Section 3).

  Batch norm stands where they have weight normalisation: it folds into the convolutions.

  Attributes:
    features: channels of each block.
    kernel: width of the convolutions; block i has the dilation 2^i.
    dropout: rate after each convolution, one decision for all samples of an example.
    momentum: of the batch norms' running statistics.
    dtype: of the computation; parameters are float32.
    inputs: channels of the samples where slimming can take some out; None if it cannot.
  """

  features: tuple[int, ...]
  kernel: int = 3
  dropout: float = 0.0
  momentum: float = 0.9
  dtype: Any = jnp.float32
  inputs: int | None = None

  def setup(self):
    self.block = [
      _Block(n, before, self.kernel, 2**i, self.dropout, self.momentum, self.dtype)
      for i, (before, n) in enumerate(
        zip((self.inputs, *self.features), self.features, strict=False)
      )
    ]

  @property
  def channels(self) -> int:
    """Features of the output."""
    return self._kernel(len(self.features) - 1, 'conv_1').shape[-1]

  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> jax.Array:
    """`[B, T, C]` -> `[B, T, channels]`, zero in padding."""
    for block in self.block:
      _, x = block(None, x, mask, mode)
    return x if mask is None else jnp.where(mask[..., None], x, 0)

  def initial_carry(self, batch: int) -> Any:
    """Zeros, for `step`: the inputs of each convolution that it still needs."""
    carry = []
    for i in range(len(self.features)):
      sizes = [self._kernel(i, f'conv_{j}').shape[1] for j in range(2)]
      span = (self.kernel - 1) * 2**i
      carry.append([jnp.zeros((batch, span, n), self.dtype) for n in sizes])
    return carry

  def _kernel(self, block: int, layer: str) -> jax.Array:
    return self.variables['params'][f'block_{block}'][layer]['kernel']

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    """`x` `[B, C]` -> the new carry and `[B, channels]`."""
    after, x = [], x[:, None]
    for block, before in zip(self.block, carry, strict=True):
      state, x = block(before, x, None, INFERENCE)
      after.append(state)
    return after, x[:, 0]


class _Block(nn.Module):
  features: int
  before: int | None  # features of the block before; None if they cannot become fewer
  kernel: int
  dilation: int
  dropout: float
  momentum: float
  dtype: Any

  @nn.compact
  def __call__(
    self, carry: Any, x: jax.Array, mask: jax.Array | None, mode: Mode
  ) -> tuple[Any, jax.Array]:
    """The output, and what each convolution has to know of its past after one sample more."""
    x = x.astype(self.dtype)
    y, after, seen = x, [], None if mask is None else mask[..., None]
    span = (self.kernel - 1) * self.dilation
    norm = {'momentum': self.momentum, 'dtype': self.dtype, 'mask': seen}
    for i in range(2):
      if carry is not None:
        y = jnp.concatenate([carry[i], y], 1)
        after.append(y[:, 1:])
      y = self._conv(self.kernel, 0 if after else span, f'conv_{i}')(y)
      y = nn.relu(batch_norm(y, mode, name=f'bn_{i}', **norm))
      y = dropout(y, self.dropout, mode, name=f'dropout_{i}', broadcast=(1,))
    if (x.shape[-1] if self.before is None else self.before) != self.features:
      x = batch_norm(self._conv(1, 0, 'conv_skip')(x), mode, name='bn_skip', **norm)
    return after, nn.relu(x + y)

  def _conv(self, kernel: int, padding: int, name: str) -> nn.Module:
    return nn.Conv(
      self.features,
      (kernel,),
      kernel_dilation=self.dilation,
      padding=[(padding, 0)],
      use_bias=False,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name=name,
    )
