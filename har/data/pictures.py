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


def turn(
  x: jax.Array, offset: jax.Array, zoom: jax.Array, angle: jax.Array, size: int
) -> jax.Array:
  """Like `zoom_in`, of a clip turned anticlockwise by `angle` `[B]`, in radians, as well.

  What each pixel reads is found once for all frames and channels, which lie side by side: on CPU
  that takes no longer than `zoom_in` alone.
  """

  def sample(clip, at, factor, angle):
    frames, height, width, channels = clip.shape
    pixels = clip.transpose(1, 2, 0, 3).reshape(height * width, frames * channels)
    grid = (jnp.arange(size) + 0.5 - size / 2) / factor
    across, sine, cosine = grid[None], jnp.sin(angle), jnp.cos(angle)
    rows = (cosine * grid[:, None] + sine * across + at[0] + size / 2 - 0.5).ravel()
    columns = (cosine * across - sine * grid[:, None] + at[1] + size / 2 - 0.5).ravel()
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = rows - top, columns - left

    def take(row, column, weight):
      inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
      place = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
      return pixels[place.astype(jnp.int32)] * (inside * weight)[:, None]

    y = take(top, left, (1 - down) * (1 - right)) + take(top, left + 1, (1 - down) * right)
    y += take(top + 1, left, down * (1 - right)) + take(top + 1, left + 1, down * right)
    return y.reshape(size, size, frames, channels).transpose(2, 0, 1, 3)

  return jax.vmap(sample)(x, offset, zoom, angle)


def place(
  place_key: jax.Array, zoom_key: jax.Array, x: jax.Array, augment: Mapping[str, Any], size: int
) -> jax.Array:
  """Squares of `size` pixels out of whole clips `[B, T, H, H, C]`, as `crop` and `zoom` ask.

  They are turned by the angle that `rotation` asks for, if there is such an option.
  """
  room = x.shape[2] - size
  offset = jnp.full((len(x), 2), room // 2)
  if augment['crop']:
    offset = jax.random.randint(place_key, (len(x), 2), 0, room + 1)
  most = augment.get('rotation', 0)
  if not augment['zoom'] and not most:
    return crop(x, offset, size)
  low, high = 1 - augment['zoom'], 1 + augment['zoom']
  zoom = jax.random.uniform(zoom_key, (len(x),), minval=low, maxval=high)
  if not most:
    return zoom_in(x, offset, zoom, size)
  turn_key = jax.random.fold_in(zoom_key, 1)
  angle = jax.random.uniform(turn_key, (len(x),), minval=-most, maxval=most)
  return turn(x, offset, zoom, jnp.deg2rad(angle), size)


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
  """Changes contrast, saturation, hue and brightness of whole clips `[B, T, H, W, 3]` in [0, 1].

  A hue is changed by an angle about the axis of greys in the space of red, green and blue, which
  leaves the mean of the three as it is.

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
  if augment.get('hue'):
    angle = jnp.deg2rad(draw(jax.random.fold_in(key, 3), augment['hue']))
    x, changed = _turn_hue(x, angle), True
  if augment['brightness']:
    x, changed = x + draw(keys[2], augment['brightness']), True
  if not changed:
    return x
  x = jnp.clip(x, 0, 1)
  return jnp.where(black, 0, x) if keep_black else x


def _turn_hue(x: jax.Array, angle: jax.Array) -> jax.Array:
  """Turns colours about the axis of greys (Rodrigues' formula); by 120 degrees, red into green."""
  red, green, blue = x[..., :1], x[..., 1:2], x[..., 2:]
  grey = (red + green + blue) / 3
  across = jnp.concatenate([blue - green, red - blue, green - red], -1) / jnp.sqrt(3)
  return grey + (x - grey) * jnp.cos(angle) + across * jnp.sin(angle)
