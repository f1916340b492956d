"""Optical flow: how far each pixel moves until the next stored frame."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from data_builders import flow as coding
from har.data import pictures, video
from har.data.frames import Frames
from har.data.input import Arrays, Example, flip_decisions, normalise, per_example, step
from har.options import Schema, amount, choice, flag, numbers, size

STILL = coding.STILL / 255


class Flow(Frames):
  """A list of flows as `data_builders.flow.encode` makes them, as many as the clip has frames.

  Batches hold it as `<name>` uint8 `[B, frames, resize, resize, 2 stack]` and, where records may
  lack it, `<name>_present` bool `[B]`. A stage augments each of its inputs by itself: of an example
  the flow may be mirrored and the frames not.
  """

  kind: ClassVar[str] = 'flow'
  schema: ClassVar[Schema] = {
    'frames': size(16),
    # Successive flows from each chosen frame on that become channels: 10 in the two-stream network
    # (Simonyan and Zisserman, NeurIPS 2014).
    'stack': size(1),
    'apart': size(1),  # frames from one of a stack to the next
    'resize': size(120),
    'size': size(112),
    'region': choice(*video.REGIONS),
    # 'field' for x and y of each flow, 'picture' for x, y and length as three channels, which
    # networks for colour pictures take as they are.
    'show': choice('field', 'picture'),
    'optional': flag(False),  # records may have no flow
    # Of values scaled to [0, 1], where 128 / 255 is no motion.
    'mean': numbers(0.5),
    'std': numbers(0.25, positive=True),
  }
  augmentation: ClassVar[Schema] = {
    'flip': amount(most=1),
    'crop': flag(True),  # a random place for the crop from `resize` to `size`
    'zoom': amount(below=1),  # leaves the values: pixels of the stored size
  }

  @property
  def channels(self) -> int:
    """That enter the model."""
    return 3 if self.options['show'] == 'picture' else 2 * self.options['stack']

  @property
  def is_colour(self) -> bool:
    return False

  def check(self) -> None:
    if self.options['size'] > self.options['resize']:
      self.fail('size', 'larger than resize')
    if self.options['show'] == 'picture' and self.options['stack'] > 1:
      self.fail('stack', "show='picture' takes one flow")
    self.check_statistics(self.channels)

  def padding(self) -> Example:
    side, count = self.options['resize'], self.options['frames']
    still = np.full((count, side, side, 2 * self.options['stack']), coding.STILL, np.uint8)
    example: Example = {self.name: still}
    if self.may_lack:
      example[f'{self.name}_present'] = np.False_
    return example

  def positions(self, count: int, rng: np.random.Generator | None) -> np.ndarray:
    chosen = video.choose_frames(count, self.options['frames'], rng)
    later = self.options['apart'] * np.arange(self.options['stack'])
    return np.minimum(chosen[:, None] + later, count - 1)

  def decode(self, frames: Any, chosen: np.ndarray) -> np.ndarray:
    """uint8 `[T, resize, resize, 2 L]` of the chosen flows, `[T, L]`."""
    return video.flow_clip(frames, chosen, self.options['resize'], self.options['region'])

  def preprocess(
    self,
    batch: Mapping[str, Any],
    key: jax.Array | None,
    augment: Mapping[str, Any],
    flip_safe: Any,
  ) -> Arrays:
    options = self.options
    x = jnp.asarray(batch[self.name])
    size, room = options['size'], x.shape[2] - options['size']
    if key is None:
      start = room // 2
      x = x[:, :, start : start + size, start : start + size] / jnp.float32(255)
    else:
      place_key, zoom_key, flip_key = jax.random.split(key, 3)
      if augment['flip']:
        flip = flip_decisions(flip_key, augment['flip'], batch['label'], flip_safe)
        x = jnp.where(per_example(flip, 5), mirrored(x), x)
      # About no motion, which is what a zoom finds outside.
      x = x / jnp.float32(255) - STILL
      x = pictures.place(place_key, zoom_key, x, augment, size) + STILL
    if options['show'] == 'picture':
      away = (x - STILL) ** 2
      length = jnp.sqrt(away[..., :1] + away[..., 1:])
      x = jnp.concatenate([x, jnp.minimum(STILL + length, 1)], -1)
    x = (x - jnp.asarray(options['mean'])) / jnp.asarray(options['std'])
    return {self.name: x.astype(jnp.float32)}

  def steps(self) -> list[dict[str, Any]]:
    options = self.options
    how = (
      'of the clip, scaled to the size that it is stored in, the optical flow from each frame to '
      "a later one by OpenCV's DISOpticalFlow, preset medium, on greyscale: pixels along x and y, "
      'cut to `bound` either way; how many frames later, `stored` says'
    )
    found = [step('flow', how, bound=coding.BOUND)]
    how = 'round(still + pixels * (255 - still) / bound), as bytes'
    found.append(step('levels', how, still=coding.STILL, bound=coding.BOUND))
    how = 'of N flows, numbered from 0, floor((i + 0.5) * N / count) for i from 0 to count - 1'
    found.append(step('choose_frames', how, count=options['frames']))
    how = 'each with the `stack` - 1 that follow it, `apart` from one to the next, those after the '
    how += 'last are the last; x and y of each in turn'
    found.append(step('stack', how, stack=options['stack'], apart=options['apart']))
    found += self.picture_steps()
    how = 'the square of `size` pixels in the middle, then divided by 255'
    found.append(step('crop_centre', how, size=options['size']))
    if options['show'] == 'picture':
      how = 'a third channel: still / 255 and the distance of (x, y) from it, at most 1'
      found.append(step('length', how, still=coding.STILL))
    return [*found, normalise(options)]


def mirrored(x: jax.Array) -> jax.Array:
  """Flows uint8 `[..., H, W, 2 L]` as a mirror shows them: turned round, and x moves backwards."""
  x = x[..., ::-1, :]
  along_x = jnp.arange(x.shape[-1]) % 2 == 0
  backwards = jnp.minimum(2 * coding.STILL - x.astype(jnp.int32), 255).astype(jnp.uint8)
  return jnp.where(along_x, backwards, x)
