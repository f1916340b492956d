"""Signals: samples of one sensor, or of several with rates of their own."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.data import sensors
from har.data.input import MASK, Arrays, Example, Input, normalise, step
from har.data.sequences import SCHEMA, augment_sequence, finish_sequence
from har.errors import UserError
from har.options import Option, Schema, amount, choice, flag, numbers, size
from har.ranges import WHOLE, Many


class Signal(Input):
  """float32 `[T, C]`, such as an IMU's samples.

  Batches hold it as `<name>` float32 `[B, length, C]` and `<name>_mask` bool `[B, length]`; of
  several sensors also `<name>_streams` bool `[B, length, S]`, false where one was silent; where
  records may lack it, `<name>_present` bool `[B]`.
  """

  kind: ClassVar[str] = 'signal'
  schema: ClassVar[Schema] = {
    'length': size(180),
    'fit': choice('resample', 'pad'),
    # Recorded samples that `fit` 'resample' may make into one, or samples that it makes of one
    # without a warning.
    'most_resampling': amount(4.0),
    'channels': size(6),
    # Positions of those that the model sees; empty: all. Not with `rates`.
    'use': Option((), Many(WHOLE, distinct=True)),
    # Of several sensors whose channels are next to each other, stored each at its own rate; with
    # `fit` 'pad', `rate` brings them to one and 0 leaves them as they are.
    'rates': numbers((), positive=True),
    'rate': amount(),
    # Seconds of a window that samples are averaged over before all else, so that recordings look
    # alike whose sensors had different rates; 0: none. Needs `rates`.
    'smooth': amount(),
    'optional': flag(False),  # records may have no samples; with `rates` they may anyway
    # One number or one for each channel, in the signal's own units.
    'mean': numbers(0.0),
    'std': numbers(1.0, positive=True),
  }
  augmentation: ClassVar[Schema] = SCHEMA

  def check(self) -> None:
    rates, rate, channels = (self.options[name] for name in ('rates', 'rate', 'channels'))
    if not isinstance(rates, tuple | list):
      self.fail('rates', 'must be a tuple of numbers')
    if rate and (not rates or self.options['fit'] != 'pad'):
      self.fail('rate', "needs rates and fit='pad'")
    if (use := self.options['use']) and (rates or max(use) >= channels):
      self.fail('use', f'needs rates=() and positions below channels={channels}')
    if self.options['smooth'] and not rates:
      self.fail('smooth', 'needs rates')
    if rates and channels % len(rates):
      self.fail('rates', f'{len(rates)} sensors for {channels} channels')
    self.check_statistics(len(use) or channels)

  @property
  def may_lack(self) -> bool:
    return bool(self.options['rates']) or self.options['optional']

  def check_lengths(self, lengths: Mapping[str, int]) -> str:
    return sensors.check_resampling(self.options, f'inputs.{self.name}', lengths)

  @property
  def is_padded(self) -> bool:
    return self.may_lack or self.options['fit'] == 'pad'

  def read(self, record: Mapping[str, Any], rng: np.random.Generator | None) -> Example:
    del rng
    x, options, name = record[self.field], self.options, self.name
    if x.shape[1] != options['channels']:
      self.fail('channels', f'the records have {x.shape[1]}')
    if self.may_lack and not len(x):
      return self.padding()
    if not options['rates']:
      x = x[:, list(options['use'])] if options['use'] else x
      x, mask = sensors.fit(x, options['length'], options['fit'])
      present = {f'{name}_present': np.True_} if self.may_lack else {}
      return {name: x, f'{name}_mask': mask, **present}
    recorded = record[f'{self.field}_mask']
    if options['smooth']:
      x = sensors.smooth(x, recorded, options['rates'], options['smooth'])
    x, streams = sensors.fit_streams(
      x,
      recorded,
      options['length'],
      options['fit'],
      options['rates'],
      options['rate'],
    )
    # Up to the last sample of any sensor; nothing where all are absent.
    last = np.flatnonzero(streams.any(1))[-1:]
    mask = np.arange(options['length']) <= (last[0] if len(last) else -1)
    return {
      name: x,
      f'{name}_mask': mask,
      f'{name}_streams': streams,
      f'{name}_present': streams.any(),
    }

  def lacks(self, record: Mapping[str, Any]) -> bool:
    return self.may_lack and not self.read(record, None)[f'{self.name}_present']

  def padding(self) -> Example:
    length, channels = self.options['length'], len(self.options['use']) or self.options['channels']
    example: Example = {
      self.name: np.zeros((length, channels), np.float32),
      f'{self.name}_mask': np.zeros(length, bool),
    }
    if self.options['rates']:
      example[f'{self.name}_streams'] = np.zeros((length, len(self.options['rates'])), bool)
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
    del flip_safe
    name = self.name
    x = jnp.asarray(batch[name], jnp.float32)
    mask = jnp.asarray(batch[f'{name}_mask'])
    streams = batch.get(f'{name}_streams')
    jitter_key = None
    if streams is not None and augment['rotation_degrees']:
      raise UserError(
        f'augment.{name}.rotation_degrees must be 0 for sensors with rates of their own: they do '
        'not turn together, and some measure angles'
      )
    if key is not None:
      key, jitter_key = jax.random.split(key)
      x = augment_sequence(key, x, mask, augment, axis=None)
      if streams is not None:
        # The same key: the mask goes through the same warp, and nothing else.
        still = {**augment, 'scale': 0.0}
        moved = augment_sequence(key, jnp.asarray(streams, jnp.float32), mask, still, axis=None)
        streams = moved > 1 - 1e-3
    recorded = mask
    if streams is not None:
      recorded = jnp.repeat(jnp.asarray(streams), x.shape[-1] // streams.shape[-1], axis=-1)
    return {
      name: finish_sequence(jitter_key, x, recorded, self.options, augment['jitter']),
      f'{name}_mask': mask,
    }

  def steps(self) -> list[dict[str, Any]]:
    options = self.options
    fit = sensors.fit_step(options['length'], options['fit'], options['rates'], options['rate'])
    steps = [fit, normalise(options), MASK]
    if options['smooth']:
      steps.insert(0, sensors.smooth_step(options['smooth'], options['rates']))
    if options['use']:
      how = 'the channels at these places of the recording, from 0, in this order'
      steps.insert(0, step('use', how, channels=list(options['use'])))
    return steps
