"""Layers that ask a `Mode` whether they train, and pooling that leaves padding out."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from har.models.mode import Mode


def batch_norm(
  x: jax.Array,
  mode: Mode,
  *,
  name: str,
  momentum: float = 0.9,
  epsilon: float = 1e-5,
  dtype: Any = None,
  mask: jax.Array | None = None,
  scale: bool = True,
) -> jax.Array:
  """Batch normalisation over all axes but the last; to be called inside a compact method.

  Args:
    x: `[B, ..., C]`.
    mode: decides between batch and running statistics for the layer at this path.
    name: the layer's name within the calling module.
    momentum: share of the old running statistics that is kept at each step.
    epsilon: added to the variance.
    dtype: of the result; statistics and parameters stay float32.
    mask: bool, broadcastable to `x`; false elements do not count in the batch statistics.
    scale: whether it multiplies by a parameter.

  Returns:
    `[B, ..., C]`.
  """
  options = {'momentum': momentum, 'epsilon': epsilon, 'dtype': dtype, 'use_scale': scale}
  layer = BatchNorm(**options, name=name)
  active = mode.active(layer.path)
  if active and mask is None:
    return layer.in_training(x)
  return layer(x, use_running_average=not active, mask=mask)


class BatchNorm(nn.BatchNorm):
  """Flax's, over all axes but the last, and one whose gradient is written out."""

  @nn.compact
  def in_training(self, x: jax.Array) -> jax.Array:
    """As a call with the batch's statistics, without a mask."""
    shape, axes = x.shape[-1:], tuple(range(x.ndim - 1))
    means = self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32)
    variances = self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)
    scale = self.param('scale', self.scale_init, shape) if self.use_scale else jnp.ones(shape)
    bias = self.param('bias', self.bias_init, shape)
    values = lax.stop_gradient(x).astype(jnp.float32)
    mean = values.mean(axes)
    var = jnp.maximum(0, jnp.square(values).mean(axes) - jnp.square(mean))
    if not self.is_initializing():
      means.value = self.momentum * means.value + (1 - self.momentum) * mean
      variances.value = self.momentum * variances.value + (1 - self.momentum) * var
    y = _normalise(x, mean, lax.rsqrt(var + self.epsilon), scale, bias)
    return y.astype(self.dtype or y.dtype)


@jax.custom_vjp
def _normalise(x, mean, rate, scale, bias):
  """`(x - mean) rate scale + bias`; the gradient for `x` is also that through both statistics."""
  return (x - mean) * (rate * scale) + bias


def _normalise_forward(x, mean, rate, scale, bias):
  return _normalise(x, mean, rate, scale, bias), (x, mean, rate, scale)


def _normalise_backward(residuals, gradient):
  """Ioffe & Szegedy, ICML 2015, Section 3: two sums over what XLA's derivation takes four of."""
  x, mean, rate, scale = residuals
  axes, count = tuple(range(x.ndim - 1)), x[..., 0].size
  by_bias = gradient.sum(axes)
  product = (gradient * (x - mean)).sum(axes)
  inside = gradient - by_bias / count - (x - mean) * (jnp.square(rate) * product / count)
  by_x = (inside * (rate * scale)).astype(x.dtype)
  return by_x, None, None, product * rate, by_bias


_normalise.defvjp(_normalise_forward, _normalise_backward)


def dropout(
  x: jax.Array, rate: float, mode: Mode, *, name: str, broadcast: tuple[int, ...] = ()
) -> jax.Array:
  """Dropout of `rate`, one decision along the `broadcast` axes; call it in a compact method."""
  layer = nn.Dropout(rate, broadcast_dims=broadcast, name=name)
  return layer(x, deterministic=not mode.active(layer.path))


def shrink_mask(mask: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
  """The mask of a convolution's or pool's output: true where the window saw any real sample.

  Args:
    mask: bool `[B, T]`.
    window: samples that one output sees.
    stride: samples between outputs.
    padding: 'SAME' or 'VALID'.

  Returns:
    bool `[B, T']`.
  """
  return jax.lax.reduce_window(mask, False, jax.lax.bitwise_or, (1, window), (1, stride), padding)


def masked_mean(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """`[B, T, D]` -> `[B, D]`, over the steps where `mask` `[B, T]` is true; 0 where none is."""
  if mask is None:
    return x.mean(1)
  weight = mask[..., None].astype(x.dtype)
  return (x * weight).sum(1) / jnp.maximum(weight.sum(1), 1)


def masked_max(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """`[B, T, D]` -> `[B, D]`, over the steps where `mask` `[B, T]` is true; 0 where none is."""
  if mask is None:
    return x.max(1)
  lowest = jnp.where(mask[..., None], x, -jnp.inf).max(1)
  return jnp.where(mask.any(1)[:, None], lowest, 0).astype(x.dtype)


def last_real(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """`[B, T, D]` -> `[B, D]`, the last step where `mask` `[B, T]` is true; 0 where none is."""
  if mask is None:
    return x[:, -1]
  after = jnp.pad(mask[:, 1:], ((0, 0), (0, 1)))
  return jnp.where((mask & ~after)[..., None], x, 0).sum(1)


Pooling = Literal['mean', 'max', 'mean_max']


def masked_pool(x: jax.Array, mask: jax.Array | None, pooling: str) -> jax.Array:
  """`[B, T, D]` -> `[B, D]`, or `[B, 2 D]` for the pooling 'mean_max'.

  The pooling 'last' takes the mask's true steps to come first.
  """
  if pooling == 'last':
    return last_real(x, mask)
  if pooling == 'mean':
    return masked_mean(x, mask)
  if pooling == 'max':
    return masked_max(x, mask)
  return jnp.concatenate([masked_mean(x, mask), masked_max(x, mask)], -1)
