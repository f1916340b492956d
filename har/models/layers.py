"""Layers that ask a `Mode` whether they train, and pooling that leaves padding out."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

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
  layer = nn.BatchNorm(momentum=momentum, epsilon=epsilon, dtype=dtype, use_scale=scale, name=name)
  return layer(x, use_running_average=not mode.active(layer.path), mask=mask)


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
