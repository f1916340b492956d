"""What happens to pictures inside jitted functions: crops, zoom, colours, motion."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from har.data.input import per_example


def crop(x: jax.Array, offset: jax.Array, size: int) -> jax.Array:
  """Cuts `[B, T, size, size, C]` out of `x` at `offset` int32 `[B, 2]` (y, x)."""
  frames, channels = x.shape[1], x.shape[-1]

  def cut(clip, at):
    return jax.lax.dynamic_slice(clip, (0, at[0], at[1], 0), (frames, size, size, channels))

  return jax.vmap(cut)(x, offset)


def _read_rows(x: jax.Array, position: jax.Array) -> jax.Array:
  """Reads rows of `[T, H, R]` at float positions `[S]`, linearly interpolated, zero outside."""
  left = jnp.floor(position)
  weight = (position - left)[:, None]

  def take(row):
    inside = (row >= 0) & (row < x.shape[1])
    return jnp.where(inside[:, None], x[:, jnp.clip(row, 0, x.shape[1] - 1)], 0)

  left = left.astype(jnp.int32)
  return take(left) * (1 - weight) + take(left + 1) * weight


def zoom_in(x: jax.Array, offset: jax.Array, zoom: jax.Array, size: int) -> jax.Array:
  """Like `crop`, of a clip enlarged by `zoom` `[B]` about the crop's centre; outside is zero.

  Rows, then columns as rows of the transposed picture: on CPU three times quicker than
  `jax.image.scale_and_translate`'s products with weight matrices.
  """

  def sample(clip, at, factor):
    frames, height, width, channels = clip.shape
    position = (jnp.arange(size) + 0.5 - size / 2) / factor + at[:, None] + size / 2 - 0.5
    rows = _read_rows(clip.reshape(frames, height, -1), position[0])
    rows = rows.reshape(frames, size, width, channels).swapaxes(1, 2)
    columns = _read_rows(rows.reshape(frames, width, -1), position[1])
    return columns.reshape(frames, size, size, channels).swapaxes(1, 2)

  return jax.vmap(sample)(x, offset, zoom)


def place(
  place_key: jax.Array, zoom_key: jax.Array, x: jax.Array, augment: Mapping[str, Any], size: int
) -> jax.Array:
  """Squares of `size` pixels out of whole clips `[B, T, H, H, C]`, as `crop` and `zoom` ask."""
  room = x.shape[2] - size
  offset = jnp.full((len(x), 2), room // 2)
  if augment['crop']:
    offset = jax.random.randint(place_key, (len(x), 2), 0, room + 1)
  if not augment['zoom']:
    return crop(x, offset, size)
  low, high = 1 - augment['zoom'], 1 + augment['zoom']
  zoom = jax.random.uniform(zoom_key, (len(x),), minval=low, maxval=high)
  return zoom_in(x, offset, zoom, size)


def show_motion(x: jax.Array) -> jax.Array:
  """From three neighbouring frames as channels to a frame's brightness and how it changes.

  Args:
    x: float `[..., 3]` in [0, 1]: before, now, after.

  Returns:
    `[..., 3]`: now, 0.5 + after - now, 0.5 + now - before.
  """
  before, now, after = x[..., 0], x[..., 1], x[..., 2]
  return jnp.stack([now, 0.5 + after - now, 0.5 + now - before], -1)


def recolour(
  key: jax.Array, x: jax.Array, augment: Mapping[str, Any], keep_black: bool
) -> jax.Array:
  """Changes contrast, saturation and brightness of whole clips `[B, T, H, W, 3]` in [0, 1].

  With `keep_black` (depth, where black says that nobody is there) black pixels stay black.
  """
  black = x == 0
  keys = jax.random.split(key, 3)

  def draw(key, amount):
    return per_example(jax.random.uniform(key, (len(x),), minval=-amount, maxval=amount), x.ndim)

  changed = False
  if augment['contrast']:
    mean = x.mean(axis=(1, 2, 3, 4), keepdims=True)
    x, changed = mean + (x - mean) * (1 + draw(keys[0], augment['contrast'])), True
  if augment.get('saturation'):
    # A sum of slices: XLA's reduction over an axis of 3 is many times slower on CPU.
    grey = (x[..., :1] + x[..., 1:2] + x[..., 2:]) / 3
    x, changed = grey + (x - grey) * (1 + draw(keys[1], augment['saturation'])), True
  if augment['brightness']:
    x, changed = x + draw(keys[2], augment['brightness']), True
  if not changed:
    return x
  x = jnp.clip(x, 0, 1)
  return jnp.where(black, 0, x) if keep_black else x
