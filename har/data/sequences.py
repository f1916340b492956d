"""Augmentation and normalisation of sequences of samples, inside jitted functions."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from har.data.input import per_example
from har.options import amount

SCHEMA = {
  'rotation_degrees': amount(),
  # At 1 a signal would vanish, time would stand still, or nothing would be left.
  'scale': amount(below=1),
  'time_warp': amount(below=1),
  'crop': amount(below=1),
  'jitter': amount(),
}
_WARP_KNOTS = 5


def random_rotations(key: jax.Array, batch: int, degrees: float, axis=None) -> jax.Array:
  """Draws one rotation an example, by an angle uniform within +-`degrees`.

  Args:
    key: PRNG key.
    batch: number of matrices.
    degrees: the largest angle.
    axis: unit vector of 3 to rotate about; None draws a direction uniform on the sphere.

  Returns:
    `[batch, 3, 3]` (Rodrigues' formula).
  """
  axis_key, angle_key = jax.random.split(key)
  if axis is None:
    axes = jax.random.normal(axis_key, (batch, 3))
    axes /= jnp.linalg.norm(axes, axis=-1, keepdims=True)
  else:
    axes = jnp.broadcast_to(jnp.asarray(axis, jnp.float32), (batch, 3))
  limit = jnp.deg2rad(degrees)
  angle = jax.random.uniform(angle_key, (batch, 1, 1), minval=-limit, maxval=limit)
  x, y, z = axes.T
  zero = jnp.zeros_like(x)
  cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(batch, 3, 3)
  return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)


def rotate(x: jax.Array, rotation: jax.Array) -> jax.Array:
  """Rotates every vector of 3 in the last axis by its example's matrix.

  Args:
    x: `[B, T, 3 * n]` or `[B, T, J, 3]`: all vectors of an example turn together, as they do when
      one housing with accelerometer and gyroscope sits differently on the wrist.
    rotation: `[B, 3, 3]`.
  """
  vectors = x.reshape(x.shape[0], -1, 3)
  turned = jnp.einsum('bij,bnj->bni', rotation, vectors, precision='highest')
  return turned.reshape(x.shape)


def random_warp(key: jax.Array, batch: int, length: int, warp: float, crop: float) -> jax.Array:
  """Draws where in its trial each sample is read: a random window, run through at varying speed.

  Args:
    key: PRNG key.
    batch: number of examples.
    length: number of samples.
    warp: speeds at evenly spaced knots are uniform within 1 +- `warp` (below 1, so time never
      runs backwards) and linear between them.
    crop: the window loses a share of the trial that is uniform in [0, `crop`].

  Returns:
    `[batch, length]`, shares of the trial's duration, within [0, 1] and increasing.
  """
  speed_key, width_key, start_key = jax.random.split(key, 3)
  speed = jax.random.uniform(speed_key, (batch, _WARP_KNOTS), minval=1 - warp, maxval=1 + warp)
  at = jnp.linspace(0, _WARP_KNOTS - 1, max(length, 2))
  speed = jax.vmap(lambda s: jnp.interp(at, jnp.arange(_WARP_KNOTS), s))(speed)
  steps = (speed[:, 1:] + speed[:, :-1]) / 2
  time = jnp.pad(jnp.cumsum(steps, axis=1), ((0, 0), (1, 0)))
  time = (time / time[:, -1:])[:, :length]
  width = 1 - crop * jax.random.uniform(width_key, (batch, 1))
  start = (1 - width) * jax.random.uniform(start_key, (batch, 1))
  return start + width * time


def read_at(x: jax.Array, mask: jax.Array, warp: jax.Array) -> jax.Array:
  """Reads each trial at other instants, linearly interpolated, within its real samples alone.

  Args:
    x: `[B, T, ...]`, zero where `mask` is false.
    mask: bool `[B, T]`, true on the first samples of each example.
    warp: `[B, T]` as `random_warp` returns; for an example with n real samples the curve is
      followed from end to end over those n.

  Returns:
    Like `x`, zero where `mask` is false.
  """
  length = x.shape[1]
  last = jnp.maximum(mask.sum(1, keepdims=True) - 1, 1).astype(jnp.float32)
  # The warp is given at `length` instants; a shorter trial follows the whole curve in fewer.
  on_curve = jnp.minimum(jnp.arange(length) / last, 1) * (length - 1)
  position = _lerp(warp, on_curve) * last
  moved = _lerp(x, jnp.clip(position, 0, last))
  return jnp.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - 2)), moved, 0)


def _lerp(x: jax.Array, position: jax.Array) -> jax.Array:
  left = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, max(x.shape[1] - 2, 0))
  right = jnp.minimum(left + 1, x.shape[1] - 1)
  tail = (1,) * (x.ndim - 2)
  weight = (position - left).reshape(*position.shape, *tail)

  def take(i):
    return jnp.take_along_axis(x, i.reshape(*i.shape, *tail), axis=1)

  return take(left) * (1 - weight) + take(right) * weight


def augment_sequence(
  key: jax.Array, x: jax.Array, mask: jax.Array, config: Mapping[str, Any], axis: Any
) -> jax.Array:
  """Rotates, scales and warps in time, each example by its own draw.

  Args:
    key: PRNG key.
    x: `[B, T, ...]`, zero where `mask` is false.
    mask: bool `[B, T]`.
    config: options of `SCHEMA`.
    axis: unit vector of 3 to rotate about, None for any.
  """
  rotation_key, scale_key, warp_key = jax.random.split(key, 3)
  batch, length = x.shape[:2]
  if config['rotation_degrees']:
    x = rotate(x, random_rotations(rotation_key, batch, config['rotation_degrees'], axis))
  if config['scale']:
    low, high = 1 - config['scale'], 1 + config['scale']
    x *= per_example(jax.random.uniform(scale_key, (batch,), minval=low, maxval=high), x.ndim)
  if config['time_warp'] or config['crop']:
    x = read_at(x, mask, random_warp(warp_key, batch, length, config['time_warp'], config['crop']))
  return x


def finish_sequence(
  key: jax.Array | None, x: jax.Array, mask: jax.Array, options: Mapping[str, Any], jitter: float
) -> jax.Array:
  """Normalises, adds noise in units of the normalised signal, and blanks the padding again.

  `mask` has the signal's leading axes, time or more.
  """
  x = (x - jnp.asarray(options['mean'])) / jnp.asarray(options['std'])
  if key is not None and jitter:
    x += jitter * jax.random.normal(key, x.shape)
  keep = mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
  return jnp.where(keep, x, 0).astype(jnp.float32)
