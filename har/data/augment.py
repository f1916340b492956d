"""What happens to a batch on the device: augmentation, then normalisation, inside the jitted step.

Everything is pure, batched and of static shape. One key serves a batch; each modality folds its own
number into it, so that adding a modality does not change what the others draw.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from har.data import options
from har.data.motion import velocities
from har.errors import UserError

# Kinect v1 joints in the order of the recordings: left arm and leg against right arm and leg.
KINECT_MIRROR = (0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15)
_WARP_KNOTS = 5


def _per_example(x: jax.Array, ndim: int) -> jax.Array:
  return x.reshape(-1, *(1,) * (ndim - 1))


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


def flip_decisions(
  key: jax.Array, probability: float, labels: jax.Array, flip_safe: jax.Array | None
) -> jax.Array:
  """Decides for each clip whether it is mirrored.

  Args:
    key: PRNG key.
    probability: of mirroring a clip that may be mirrored.
    labels: int32 `[B]`.
    flip_safe: bool `[num_classes]`, false where mirroring would turn one class into another;
      None if every class may be mirrored.

  Returns:
    bool `[B]`.
  """
  flip = jax.random.bernoulli(key, probability, labels.shape)
  return flip if flip_safe is None else flip & jnp.asarray(flip_safe)[labels]


def _augment_sequence(key, x, mask, config, axis):
  rotation_key, scale_key, warp_key = jax.random.split(key, 3)
  batch, length = x.shape[:2]
  if config['rotation_degrees']:
    x = rotate(x, random_rotations(rotation_key, batch, config['rotation_degrees'], axis))
  if config['scale']:
    low, high = 1 - config['scale'], 1 + config['scale']
    x *= _per_example(jax.random.uniform(scale_key, (batch,), minval=low, maxval=high), x.ndim)
  if config['time_warp'] or config['crop']:
    x = read_at(x, mask, random_warp(warp_key, batch, length, config['time_warp'], config['crop']))
  return x


def _finish_sequence(key, x, mask, options_, jitter):
  """Normalises, adds noise in units of the normalised signal, and blanks the padding again.

  `mask` has the signal's leading axes, time or more.
  """
  x = (x - jnp.asarray(options_['mean'])) / jnp.asarray(options_['std'])
  if key is not None and jitter:
    x += jitter * jax.random.normal(key, x.shape)
  keep = mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
  return jnp.where(keep, x, 0).astype(jnp.float32)


def _imu(name, batch, config, key, augment, flip_safe):
  del flip_safe
  x = jnp.asarray(batch[name], jnp.float32)
  mask = jnp.asarray(batch[f'{name}_mask'])
  streams = batch.get(f'{name}_streams')
  jitter_key = None
  if streams is not None and augment['rotation_degrees']:
    raise UserError(
      'augment.imu.rotation_degrees must be 0 for sensors with rates of their own: they do not '
      'turn together, and some measure angles'
    )
  if key is not None:
    key, jitter_key = jax.random.split(key)
    x = _augment_sequence(key, x, mask, augment, axis=None)
    if streams is not None:
      # The same key: the mask goes through the same warp, and nothing else.
      still = {**augment, 'scale': 0.0}
      moved = _augment_sequence(key, jnp.asarray(streams, jnp.float32), mask, still, axis=None)
      streams = moved > 1 - 1e-3
  heard = mask
  if streams is not None:
    heard = jnp.repeat(jnp.asarray(streams), x.shape[-1] // streams.shape[-1], axis=-1)
  return {
    name: _finish_sequence(jitter_key, x, heard, config, augment['jitter']),
    f'{name}_mask': mask,
  }


def _skeleton(name, batch, config, key, augment, flip_safe):
  x = jnp.asarray(batch[name], jnp.float32)
  mask = jnp.asarray(batch[f'{name}_mask'])
  hips = x[:, :, config['centre_joint'], None]
  if config['scale'] == 'torso':
    torso = jnp.linalg.norm(x[:, :, config['neck_joint'], None] - hips, axis=-1, keepdims=True)
    count = jnp.maximum(mask.sum(1), 1)
    size = jnp.where(mask[..., None, None], torso, 0).sum(1, keepdims=True)
    x /= jnp.maximum(size / _per_example(count, 4), 1e-3)
    hips = x[:, :, config['centre_joint'], None]
  if config['centre'] != 'none':
    x -= hips[:, :1] if config['centre'] == 'first' else hips
    x = jnp.where(mask[..., None, None], x, 0)
  jitter_key = None
  if key is not None:
    key, flip_key, jitter_key = jax.random.split(key, 3)
    if augment['flip']:
      flip = flip_decisions(flip_key, augment['flip'], batch['label'], flip_safe)
      mirrored = x[:, :, jnp.asarray(KINECT_MIRROR)] * jnp.asarray([-1.0, 1.0, 1.0])
      x = jnp.where(_per_example(flip, 4), mirrored, x)
    # The camera stands level, so only a turn about the vertical (y) keeps gravity where it is.
    x = _augment_sequence(key, x, mask, augment, axis=(0.0, 1.0, 0.0))
  x = _finish_sequence(jitter_key, x, mask, config, augment['jitter'])
  if config['velocity'] == 'frame':
    moved = velocities(x, mask) / _per_example(jnp.asarray(batch[f'{name}_step']), 4)
    x = jnp.concatenate([x, moved], -1)
  return {name: x, f'{name}_mask': mask}


def _crop(x: jax.Array, offset: jax.Array, size: int) -> jax.Array:
  """Cuts `[B, T, size, size, 3]` out of `x` at `offset` int32 `[B, 2]` (y, x)."""
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


def _zoom(x: jax.Array, offset: jax.Array, zoom: jax.Array, size: int) -> jax.Array:
  """Like `_crop`, of a clip enlarged by `zoom` `[B]` about the crop's centre; outside is zero.

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


def _video(name, batch, config, key, augment, flip_safe):
  x = jnp.asarray(batch[name])
  size, room = config['size'], x.shape[2] - config['size']
  if key is None:
    start = room // 2
    x = x[:, :, start : start + size, start : start + size] / jnp.float32(255)
  else:
    place_key, zoom_key, flip_key, colour_key = jax.random.split(key, 4)
    # The zoom comes last: what reads its result more than once would compute it as often.
    if augment['flip']:
      flip = flip_decisions(flip_key, augment['flip'], batch['label'], flip_safe)
      x = jnp.where(_per_example(flip, 5), x[:, :, :, ::-1], x)
    x = _recolour(colour_key, x / jnp.float32(255), augment, keep_black=name == 'depth')
    offset = jnp.full((len(x), 2), room // 2)
    if augment['crop']:
      offset = jax.random.randint(place_key, (len(x), 2), 0, room + 1)
    if augment['zoom']:
      low, high = 1 - augment['zoom'], 1 + augment['zoom']
      zoom = jax.random.uniform(zoom_key, (len(x),), minval=low, maxval=high)
      x = _zoom(x, offset, zoom, size)
    else:
      x = _crop(x, offset, size)
  if config['show'] == 'motion':
    x = show_motion(x)
  x = (x - jnp.asarray(config['mean'])) / jnp.asarray(config['std'])
  return {name: x.astype(jnp.float32)}


def show_motion(x: jax.Array) -> jax.Array:
  """From three neighbouring frames as channels to a frame's brightness and how it changes.

  Args:
    x: float `[..., 3]` in [0, 1]: before, now, after.

  Returns:
    `[..., 3]`: now, 0.5 + after - now, 0.5 + now - before.
  """
  before, now, after = x[..., 0], x[..., 1], x[..., 2]
  return jnp.stack([now, 0.5 + after - now, 0.5 + now - before], -1)


def _recolour(key, x, augment, keep_black):
  """Changes contrast, saturation and brightness of whole clips `[B, T, H, W, 3]` in [0, 1].

  With `keep_black` (depth, where black says that nobody is there) black pixels stay black.
  """
  black = x == 0
  keys = jax.random.split(key, 3)

  def draw(key, amount):
    return _per_example(jax.random.uniform(key, (len(x),), minval=-amount, maxval=amount), x.ndim)

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


_PREPROCESS = {'imu': _imu, 'rgb': _video, 'depth': _video, 'skeleton': _skeleton}


def preprocess(
  batch: Mapping[str, Any],
  inputs: Mapping[str, Any],
  *,
  key: jax.Array | None = None,
  augment: Mapping[str, Any] | None = None,
  flip_safe: Any = None,
) -> dict[str, jax.Array]:
  """Turns a batch of raw signals into a model's inputs.

  Args:
    batch: any of `imu` float32 `[B, T, 6]` (g and deg/s) with `imu_mask` bool `[B, T]`, `rgb` and
      `depth` uint8 `[B, T, resize, resize, 3]`, `skeleton` float32 `[B, T, J, 3]` (m) with
      `skeleton_mask`, and `skeleton_step` float32 `[B]` where `velocity` is 'frame', the recorded
      frames from one to the next; `imu_streams` bool `[B, T, S]` if the IMU is S sensors with
      masks of their own; `<modality>_present` bool `[B]` where examples may lack it; `label` int32
      `[B]` where `flip` is used. Other entries are ignored.
    inputs: for each modality its options, see `har.data.options.INPUTS`. Modalities not named here
      are left out.
    key: PRNG key of this step; None (evaluation) augments nothing and crops video at the centre.
    augment: for each modality its options, see `har.data.options.AUGMENT`.
    flip_safe: bool `[num_classes]`, false where left and right matter.

  Returns:
    The same modalities, normalised: float32 `imu` and `skeleton` (zero where a mask is false; with
    velocities `[B, T, J, 6]`) with their masks, video float32 `[B, T, size, size, 3]`, and what is
    present as it is given.

  Raises:
    UserError: for an unknown modality or option, or one that the sensors rule out.
  """
  augment = augment or {}
  for name in augment:
    options.augment_options(augment[name], name)
  result: dict[str, jax.Array] = {}
  for number, name in enumerate(options.MODALITIES):
    if name not in inputs:
      continue
    config = options.input_options(inputs[name], name)
    # A modality without its own entry is not augmented: its key is not even made.
    own_key = None if key is None or name not in augment else jax.random.fold_in(key, number)
    settings = options.augment_options(augment.get(name), name)
    result |= _PREPROCESS[name](name, batch, config, own_key, settings, flip_safe)
    if f'{name}_present' in batch:
      result[f'{name}_present'] = jnp.asarray(batch[f'{name}_present'])
  return result
