"""Colour video: encoded pictures, of which only those that are used are decoded."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.data import pictures, video
from har.data.input import (
  Arrays,
  Example,
  Input,
  flip_decisions,
  normalise,
  per_example,
  step,
)
from har.errors import UserError
from har.options import Schema, amount, choice, flag, numbers, size


class Frames(Input):
  """A list of JPEG or PNG pictures.

  Batches hold it as `<name>` uint8 `[B, frames, resize, resize, 3]` and, where records may lack it,
  `<name>_present` bool `[B]`.
  """

  kind: ClassVar[str] = 'frames'
  schema: ClassVar[Schema] = {
    'frames': size(16),
    # Stored frames are 240 high; up to half of that, JPEG decodes at half its size, twice as fast.
    'resize': size(120),
    'size': size(112),
    'region': choice(*video.REGIONS),  # of the picture, see `har.data.video`
    # 'colour' for frames as they are, 'motion' for each frame's brightness and its change from
    # `apart` frames before and to as many after.
    'show': choice('colour', 'motion'),
    'apart': size(2),
    'optional': flag(False),  # records may have no frames
    # Of values scaled to [0, 1], one number or one for each channel.
    'mean': numbers(0.5),
    'std': numbers(0.25, positive=True),
  }
  augmentation: ClassVar[Schema] = {
    'flip': amount(most=1),
    'crop': flag(True),  # a random place for the crop from `resize` to `size`
    'zoom': amount(below=1, meaning='0.1: enlarged by 0.9 to 1.1'),
    'rotation': amount(most=180, meaning='degrees either way, of all frames alike'),
    'brightness': amount(meaning='added at most, of values in [0, 1]'),
    'contrast': amount(meaning='0.2: differences from the mean are multiplied by 0.8 to 1.2'),
    'saturation': amount(meaning='the same of differences from grey'),
    'hue': amount(most=180, meaning='degrees either way; 120 would make red green'),
  }
  is_video: ClassVar[bool] = True
  keep_black: ClassVar[bool] = False
  """Whether augmentation leaves black pixels black."""

  def check(self) -> None:
    if self.options['size'] > self.options['resize']:
      self.fail('size', 'larger than resize')
    self.check_statistics(3)

  @property
  def is_colour(self) -> bool:
    return self.options['show'] == 'colour'

  @property
  def may_lack(self) -> bool:
    return self.options['optional']

  def read(self, record: Mapping[str, Any], rng: np.random.Generator | None) -> Example:
    example: Example = {self.name: self._clip(record[self.field], rng)}
    if self.may_lack:
      example[f'{self.name}_present'] = np.bool_(len(record[self.field]) > 0)
    return example

  def lacks(self, record: Mapping[str, Any]) -> bool:
    return not len(record[self.field])

  def padding(self) -> Example:
    side = self.options['resize']
    example: Example = {self.name: np.zeros((self.options['frames'], side, side, 3), np.uint8)}
    if self.may_lack:
      example[f'{self.name}_present'] = np.False_
    return example

  def _clip(self, frames: Any, rng: np.random.Generator | None) -> np.ndarray:
    if not len(frames):
      if self.may_lack:
        return self.padding()[self.name]
      raise UserError(
        f'a record has no {self.field} frames: set inputs.{self.name}.optional if some lack it'
      )
    return self.decode(frames, self.positions(len(frames), rng))

  def positions(self, count: int, rng: np.random.Generator | None) -> np.ndarray:
    """Which of a clip's frames are used, int `[T]`, or `[T, K]` where K make one of the input."""
    chosen = video.choose_frames(count, self.options['frames'], rng)
    if self.options['show'] == 'motion':
      chosen = video.with_neighbours(chosen, count, self.options['apart'])
    return chosen

  def decode(self, frames: Any, chosen: np.ndarray) -> np.ndarray:
    """uint8 `[T, resize, resize, 3]` of the chosen frames, `[T]` or `[T, 3]`."""
    return video.rgb_clip(frames, chosen, self.options['resize'], self.options['region'])

  def preprocess(
    self,
    batch: Mapping[str, Any],
    key: jax.Array | None,
    augment: Mapping[str, Any],
    flip_safe: Any,
  ) -> Arrays:
    x, options = jnp.asarray(batch[self.name]), self.options
    if key is None:
      size, room = options['size'], x.shape[2] - options['size']
      start = room // 2
      x = x[:, :, start : start + size, start : start + size] / jnp.float32(255)
    else:
      x = self._augmented(x, key, augment, batch, flip_safe)
    if options['show'] == 'motion':
      x = pictures.show_motion(x)
    x = (x - jnp.asarray(options['mean'])) / jnp.asarray(options['std'])
    return {self.name: x.astype(jnp.float32)}

  def _augmented(self, x, key, augment, batch, flip_safe) -> jax.Array:
    place_key, zoom_key, flip_key, colour_key = jax.random.split(key, 4)
    if augment.get('hue') and self.options['show'] == 'motion':
      raise UserError(f"augment.{self.name}.hue: must be 0, as show='motion' shows no colours")
    if augment['flip']:
      flip = flip_decisions(flip_key, augment['flip'], batch['label'], flip_safe)
      x = jnp.where(per_example(flip, 5), x[:, :, :, ::-1], x)
    x = pictures.recolour(colour_key, x / jnp.float32(255), augment, self.keep_black)
    # The zoom comes last: what reads its result more than once would compute it as often.
    return pictures.place(place_key, zoom_key, x, augment, self.options['size'])

  def steps(self) -> list[dict[str, Any]]:
    options = self.options
    found = [
      step(
        'choose_frames',
        'of N recorded frames, numbered from 0, floor((i + 0.5) * N / count) for i from 0 to '
        'count - 1',
        count=options['frames'],
      )
    ]
    motion = options['show'] == 'motion'
    if motion:
      how = (
        'of each chosen frame, the frames `apart` before it, itself and `apart` after it, within '
        'the recording; the mean of the colours of each is one of three channels'
      )
      found.append(step('neighbours', how, apart=options['apart']))
    found += self.picture_steps()
    how = 'the square of `size` pixels in the middle of each frame, then divided by 255'
    found.append(step('crop_centre', how, size=options['size']))
    if motion:
      how = 'of the channels (before, now, after): now, 0.5 + after - now, 0.5 + now - before'
      found.append(step('motion', how))
    return [*found, normalise(options)]

  def picture_steps(self) -> list[dict[str, Any]]:
    """From chosen frames to bytes."""
    name, what = {
      'centre': ('square', 'the largest square in the middle of each frame'),
      'whole': ('whole', 'the whole of each frame, whatever its shape,'),
    }[self.options['region']]
    how = f'{what} scaled to a square of `size` pixels: bilinear with antialiasing, as Pillow does '
    return [step(name, f'{how}it, and rounded to bytes', size=self.options['resize'])]
