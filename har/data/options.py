"""What can be configured for each modality: input shapes and augmentation, with their defaults."""

from collections.abc import Mapping
from typing import Any

from har.errors import UserError

MODALITIES = ('imu', 'rgb', 'depth', 'skeleton')
"""All modalities, in the order in which they are listed everywhere."""

VIDEO = ('rgb', 'depth')

# `mean` and `std` are one number or one for each channel, in the modality's own units (video: of
# values scaled to [0, 1]). `show`: 'colour' for frames as they are, 'motion' for each frame's
# brightness and its change from `apart` frames before and to as many after. `optional`: records may
# have no frames; batches then tell which have some.
_VIDEO_INPUT = {
  'frames': 16,
  'resize': 120,
  'size': 112,
  'show': 'colour',
  'apart': 2,
  'optional': False,
  'mean': 0.5,
  'std': 0.25,
}
INPUTS: dict[str, dict[str, Any]] = {
  # `rates`: of several sensors whose channels are next to each other, stored each at its own rate;
  # with `fit` 'pad', `rate` brings them to one and 0 leaves them as they are.
  'imu': {
    'length': 180,
    'fit': 'resample',
    'channels': 6,
    'rates': (),
    'rate': 0.0,
    'mean': 0.0,
    'std': 1.0,
  },
  # Stored frames are 240 high; up to half of that, JPEG decodes at half its size, twice as fast.
  'rgb': _VIDEO_INPUT,
  # `range` is in metres, `encode` a name in har.data.video.ENCODINGS.
  'depth': _VIDEO_INPUT | {'resize': 128, 'encode': 'relative', 'range': 0.7},
  # `centre`: which frame's centre joint becomes the origin. `scale`: 'torso' divides by the trial's
  # distance between centre joint and neck, 'none' keeps metres. `velocity`: 'frame' puts velocities
  # per recorded frame after the positions, which `fit` 'resample' takes the tempo from.
  'skeleton': {
    'length': 64,
    'fit': 'resample',
    'joints': 20,
    'centre': 'first',
    'centre_joint': 3,
    'neck_joint': 1,
    'scale': 'none',
    'velocity': 'none',
    'mean': 0.0,
    'std': 0.5,
  },
}

_SEQUENCE_AUGMENT = {
  'rotation_degrees': 0.0,
  'scale': 0.0,
  'time_warp': 0.0,
  'crop': 0.0,
  'jitter': 0.0,
}
_VIDEO_AUGMENT = {
  'flip': 0.0,
  'crop': True,
  'zoom': 0.0,
  'brightness': 0.0,
  'contrast': 0.0,
}
AUGMENT: dict[str, dict[str, Any]] = {
  'imu': _SEQUENCE_AUGMENT,
  'rgb': _VIDEO_AUGMENT | {'saturation': 0.0},
  'depth': _VIDEO_AUGMENT,
  'skeleton': _SEQUENCE_AUGMENT | {'flip': 0.0},
}

_CHOICES = {
  'fit': ('resample', 'pad'),
  'show': ('colour', 'motion'),
  'centre': ('first', 'frame', 'none'),
  'scale': ('torso', 'none'),
  'velocity': ('frame', 'none'),
}
# At 1 a signal would vanish, time would stand still, or nothing would be left.
_BELOW_ONE = ('scale', 'time_warp', 'crop', 'zoom')
_SIZES = ('length', 'channels', 'frames', 'apart', 'resize', 'size', 'joints')


def _merge(kind: str, defaults: Mapping[str, Mapping[str, Any]], config: Any, modality: str):
  if modality not in defaults:
    raise UserError(f'{kind}.{modality}: unknown modality; known: {", ".join(MODALITIES)}')
  given = dict(config or {})
  known = defaults[modality]
  for name in given:
    if name not in known:
      raise UserError(f'{kind}.{modality}.{name}: unknown option; known: {", ".join(known)}')
  return {**known, **given}


def _number(kind: str, modality: str, name: str, value: Any) -> None:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise UserError(f'{kind}.{modality}.{name}={value!r}: must be a number')


def _check_statistics(modality: str, merged: Mapping[str, Any]) -> None:
  channels = merged.get('channels', 3)
  for name in ('mean', 'std'):
    value = merged[name]
    values = value if isinstance(value, (tuple, list)) else (value,)
    for one in values:
      _number('inputs', modality, name, one)
    if len(values) not in (1, channels):
      raise UserError(f'inputs.{modality}.{name}: {len(values)} numbers for {channels} channels')
    if name == 'std' and min(values) <= 0:
      raise UserError(f'inputs.{modality}.std={value!r}: must be above 0')


def _check_rates(merged: Mapping[str, Any]) -> None:
  _number('inputs', 'imu', 'rate', merged['rate'])
  if not isinstance(merged['rates'], (tuple, list)):
    raise UserError(f'inputs.imu.rates={merged["rates"]!r}: must be a tuple of numbers')
  for rate in merged['rates']:
    _number('inputs', 'imu', 'rates', rate)
    if rate <= 0:
      raise UserError(f'inputs.imu.rates={merged["rates"]!r}: must be above 0')
  streams = len(merged['rates'])
  if merged['rate'] < 0 or (merged['rate'] and (not streams or merged['fit'] != 'pad')):
    raise UserError(f"inputs.imu.rate={merged['rate']!r}: needs rates and fit='pad'")
  if streams and merged['channels'] % streams:
    raise UserError(f'inputs.imu.rates: {streams} sensors for {merged["channels"]} channels')


def input_options(config: Any, modality: str) -> dict[str, Any]:
  """Returns one modality's input options, defaults filled in.

  Args:
    config: a mapping (dict or ConfigDict) with any of `INPUTS[modality]`'s options, or None.
    modality: one of `MODALITIES`.

  Raises:
    UserError: for an unknown modality or option, or a value out of range.
  """
  merged = _merge('inputs', INPUTS, config, modality)
  for name, value in merged.items():
    if name in _CHOICES and value not in _CHOICES[name]:
      raise UserError(f'inputs.{modality}.{name}={value!r}: not one of {", ".join(_CHOICES[name])}')
    if name in _SIZES and (not isinstance(value, int) or value < 1):
      raise UserError(f'inputs.{modality}.{name}={value!r}: must be a whole number above 0')
  if modality in VIDEO and merged['size'] > merged['resize']:
    raise UserError(f'inputs.{modality}.size={merged["size"]}: larger than resize')
  if modality in VIDEO and not isinstance(merged['optional'], bool):
    raise UserError(f'inputs.{modality}.optional={merged["optional"]!r}: must be true or false')
  if modality == 'imu':
    _check_rates(merged)
  _check_statistics(modality, merged)
  return merged


def may_lack(config: Mapping[str, Any]) -> bool:
  """Whether a record may lack the modality of these input options altogether."""
  return bool(config.get('rates') or config.get('optional'))


def augment_options(config: Any, modality: str) -> dict[str, Any]:
  """Returns one modality's augmentation options; what is not given is off.

  Video's `crop` is a flag (a random place for the crop from `resize` to `size`), on by default.

  Raises:
    UserError: for an unknown modality or option, or a value out of range.
  """
  merged = _merge('augment', AUGMENT, config, modality)
  for name, value in merged.items():
    if name == 'crop' and modality in VIDEO:
      if not isinstance(value, bool):
        raise UserError(f'augment.{modality}.crop={value!r}: must be true or false')
      continue
    _number('augment', modality, name, value)
    if value < 0:
      raise UserError(f'augment.{modality}.{name}={value!r}: must not be negative')
    if name == 'flip' and value > 1:
      raise UserError(f'augment.{modality}.flip={value!r}: a probability, at most 1')
    if name in _BELOW_ONE and value >= 1:
      raise UserError(f'augment.{modality}.{name}={value!r}: must be below 1')
  return merged
