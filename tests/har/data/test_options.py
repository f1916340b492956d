import ml_collections
import pytest

from har.data import options
from har.errors import UserError


def test_defaults_are_filled_in():
  merged = options.input_options({'length': 90, 'mean': (0.0,) * 6}, 'imu')
  assert merged['length'] == 90
  assert merged['fit'] == 'resample'
  assert merged['mean'] == (0.0,) * 6
  assert options.augment_options(None, 'imu')['rotation_degrees'] == 0
  assert options.augment_options({'flip': 0.5}, 'rgb')['flip'] == 0.5


def test_config_dicts_are_taken():
  config = ml_collections.ConfigDict({'frames': 8, 'mean': (0.4, 0.4, 0.4)})
  merged = options.input_options(config, 'rgb')
  assert (merged['frames'], merged['resize'], merged['size']) == (8, 120, 112)
  assert tuple(merged['mean']) == (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
  ('modality', 'config', 'message'),
  [
    ('sonar', {}, 'inputs.sonar: unknown modality; known: imu, rgb, depth, skeleton'),
    ('imu', {'lenght': 3}, 'inputs.imu.lenght: unknown option; known: length'),
    ('imu', {'fit': 'loop'}, "inputs.imu.fit='loop': not one of resample, pad"),
    ('imu', {'length': 0}, 'inputs.imu.length=0: must be a whole number above 0'),
    ('imu', {'length': 1.5}, 'inputs.imu.length=1.5'),
    ('imu', {'mean': (1.0, 2.0)}, 'inputs.imu.mean: 2 numbers for 6 channels'),
    ('imu', {'std': (1.0,) * 5 + (0.0,)}, 'inputs.imu.std=.* must be above 0'),
    ('imu', {'rates': 50}, 'inputs.imu.rates=50: must be a tuple'),
    ('imu', {'rates': (100, 0)}, r'inputs.imu.rates=\(100, 0\): must be above 0'),
    ('imu', {'rates': (100,) * 4}, 'inputs.imu.rates: 4 sensors for 6 channels'),
    ('imu', {'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('imu', {'rates': (100, 50), 'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('rgb', {'mean': 'grey'}, "inputs.rgb.mean='grey': must be a number"),
    ('rgb', {'size': 200}, 'inputs.rgb.size=200: larger than resize'),
    ('skeleton', {'centre': 'last'}, "inputs.skeleton.centre='last': not one of first"),
    ('skeleton', {'velocity': 'm/s'}, "inputs.skeleton.velocity='m/s': not one of frame"),
  ],
)
def test_wrong_inputs(modality, config, message):
  with pytest.raises(UserError, match=message):
    options.input_options(config, modality)


@pytest.mark.parametrize(
  ('modality', 'config', 'message'),
  [
    ('imu', {'flip': 0.5}, 'augment.imu.flip: unknown option; known: rotation_degrees'),
    ('imu', {'time_warp': 1.0}, 'augment.imu.time_warp=1.0: must be below 1'),
    ('imu', {'crop': 1}, 'augment.imu.crop=1: must be below 1'),
    ('imu', {'jitter': -0.1}, 'augment.imu.jitter=-0.1: must not be negative'),
    ('imu', {'scale': 'big'}, "augment.imu.scale='big': must be a number"),
    ('rgb', {'flip': 1.5}, 'augment.rgb.flip=1.5: a probability'),
    ('rgb', {'crop': 0.2}, 'augment.rgb.crop=0.2: must be true or false'),
    ('depth', {'saturation': 0.1}, 'augment.depth.saturation: unknown option'),
  ],
)
def test_wrong_augmentation(modality, config, message):
  with pytest.raises(UserError, match=message):
    options.augment_options(config, modality)
