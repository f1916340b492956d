"""Skeletons: positions of a body's joints."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.data import sensors
from har.data.input import (
  MASK,
  Arrays,
  Example,
  Input,
  flip_decisions,
  normalise,
  per_example,
  step,
)
from har.data.motion import velocities
from har.data.sequences import SCHEMA, augment_sequence, finish_sequence
from har.options import Option, Schema, amount, choice, flag, numbers, size
from har.ranges import WHOLE

# Kinect v1 joints in the order of the recordings: left arm and leg against right arm and leg.
KINECT_MIRROR = (0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15)


class Skeleton(Input):
  """float32 `[T, J, 3]` in metres; y is up.

  Batches hold it as `<name>` float32 `[B, length, J, 3]` and `<name>_mask` bool `[B, length]`, with
  velocities also `<name>_step` float32 `[B]`, recorded frames from one to the next; where records
  may lack it, `<name>_present` bool `[B]`.
  """

  kind: ClassVar[str] = 'skeleton'
  schema: ClassVar[Schema] = {
    'length': size(64),
    'fit': choice('resample', 'pad'),
    # Recorded samples that `fit` 'resample' may make into one, or samples that it makes of one
    # without a warning.
    'most_resampling': amount(4.0),
    'joints': size(20),
    'centre': choice('first', 'frame', 'none'),  # whose centre joint becomes the origin
    'centre_joint': Option(3, WHOLE),
    'neck_joint': Option(1, WHOLE),
    # 'torso' divides by the trial's distance between centre joint and neck, 'none' keeps metres.
    'scale': choice('none', 'torso'),
    # 'frame' puts velocities per recorded frame after the positions, which `fit` 'resample' takes
    # the tempo from.
    'velocity': choice('none', 'frame'),
    'optional': flag(False),  # records may have no frames
    'mean': numbers(0.0),
    'std': numbers(0.5, positive=True),
  }
  augmentation: ClassVar[Schema] = SCHEMA | {'flip': amount(most=1)}

  def check(self) -> None:
    self.check_statistics(3)
    for option in ('centre_joint', 'neck_joint'):
      joint = self.options[option]
      if joint >= self.options['joints']:
        self.fail(option, f'must be the number of one of {self.options["joints"]} joints, from 0')

  def check_lengths(self, lengths: Mapping[str, int]) -> str:
    return sensors.check_resampling(self.options, f'inputs.{self.name}', lengths)

  @property
  def may_lack(self) -> bool:
    return self.options['optional']

  @property
  def is_padded(self) -> bool:
    return self.may_lack or self.options['fit'] == 'pad'

  def read(self, record: Mapping[str, Any], rng: np.random.Generator | None) -> Example:
    del rng
    x, length, fit = record[self.field], self.options['length'], self.options['fit']
    if self.may_lack and not len(x):
      return self.padding()
    fitted, mask = sensors.fit(x, length, fit)
    example: Example = {self.name: fitted, f'{self.name}_mask': mask}
    if self.options['velocity'] == 'frame':
      example[f'{self.name}_step'] = np.float32(sensors.stride(len(x), length, fit))
    if self.may_lack:
      example[f'{self.name}_present'] = np.True_
    return example

  def lacks(self, record: Mapping[str, Any]) -> bool:
    return not len(record[self.field])

  def padding(self) -> Example:
    length = self.options['length']
    example: Example = {
      self.name: np.zeros((length, self.options['joints'], 3), np.float32),
      f'{self.name}_mask': np.zeros(length, bool),
    }
    if self.options['velocity'] == 'frame':
      example[f'{self.name}_step'] = np.float32(1)
    if self.may_lack:
      example[f'{self.name}_present'] = np.False_
    return example

  def preprocess(
    self,
    batch: Mapping[str, Any],
    key: jax.Array | None,
    augment: Mapping[str, Any],
    flip_safe: Any,
  ) -> Arrays:
    name, options = self.name, self.options
    mask = jnp.asarray(batch[f'{name}_mask'])
    x = self._placed(jnp.asarray(batch[name], jnp.float32), mask)
    jitter_key = None
    if key is not None:
      key, flip_key, jitter_key = jax.random.split(key, 3)
      if augment['flip']:
        flip = flip_decisions(flip_key, augment['flip'], batch['label'], flip_safe)
        mirrored = x[:, :, jnp.asarray(KINECT_MIRROR)] * jnp.asarray([-1.0, 1.0, 1.0])
        x = jnp.where(per_example(flip, 4), mirrored, x)
      # The camera stands level, so only a turn about the vertical (y) keeps gravity where it is.
      x = augment_sequence(key, x, mask, augment, axis=(0.0, 1.0, 0.0))
    x = finish_sequence(jitter_key, x, mask, options, augment['jitter'])
    if options['velocity'] == 'frame':
      moved = velocities(x, mask) / per_example(jnp.asarray(batch[f'{name}_step']), 4)
      x = jnp.concatenate([x, moved], -1)
    return {name: x, f'{name}_mask': mask}

  def _placed(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Scaled by the torso and around the centre joint, as the options say."""
    options = self.options
    hips = x[:, :, options['centre_joint'], None]
    if options['scale'] == 'torso':
      torso = jnp.linalg.norm(x[:, :, options['neck_joint'], None] - hips, axis=-1, keepdims=True)
      count = jnp.maximum(mask.sum(1), 1)
      total = jnp.where(mask[..., None, None], torso, 0).sum(1, keepdims=True)
      x /= jnp.maximum(total / per_example(count, 4), 1e-3)
      hips = x[:, :, options['centre_joint'], None]
    if options['centre'] != 'none':
      x -= hips[:, :1] if options['centre'] == 'first' else hips
      x = jnp.where(mask[..., None, None], x, 0)
    return x

  def steps(self) -> list[dict[str, Any]]:
    options = self.options
    found = [sensors.fit_step(options['length'], options['fit'])]
    joints = {'centre_joint': options['centre_joint'], 'neck_joint': options['neck_joint']}
    if options['scale'] == 'torso':
      how = 'divide by the mean, over samples whose mask is 1, of the distance between the joints'
      found.append(step('scale_by_torso', how, **joints))
    if options['centre'] != 'none':
      how = 'subtract the position of the joint, `of` the first sample or of each sample its own'
      centre = options['centre_joint']
      found.append(step('centre', how, joint=centre, of=options['centre']))
    found += [normalise(options), MASK]
    if options['velocity'] == 'frame':
      how = (
        'after x, y and z of each joint their velocities: (x[t + 1] - x[t - 1]) / 2 of what the '
        'steps before gave, one-sided at the first and the last sample whose mask is 1, 0 where it '
        'is 0; divided by (N - 1) / (length - 1) for N resampled frames, by 1 for padded ones'
      )
      found.append(step('velocities', how, length=options['length'], fit=options['fit']))
    return found
