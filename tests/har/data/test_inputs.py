"""Inputs by name: their keys, options and defaults."""

import types

import jax
import ml_collections
import numpy as np
import pytest

from har.data import inputs as inputs_lib
from har.errors import UserError
from tests import fakes
from tests.har.data.batches import RAW, imu_batch, run, video_batch

EVERYTHING = {
  'imu': {'rotation_degrees': 15.0, 'scale': 0.1, 'time_warp': 0.1, 'crop': 0.1, 'jitter': 0.02},
  'rgb': {'flip': 0.5, 'brightness': 0.2},
  'depth': {'flip': 0.5},
}


class TestKeys:
  def test_a_further_modality_changes_nothing_for_the_others(self):
    batch = imu_batch() | video_batch()
    size = {'size': 12, 'resize': 16}
    alone = run(batch, RAW, EVERYTHING)
    assert set(alone) == {'imu', 'imu_mask'}
    depth = run(batch, {'depth': size}, EVERYTHING)
    together = run(batch, RAW | {'rgb': size, 'depth': size}, EVERYTHING)
    np.testing.assert_allclose(together['imu'], alone['imu'], atol=1e-6)
    np.testing.assert_allclose(together['depth'], depth['depth'], atol=1e-6)

  def test_the_key_alone_decides(self):
    batch = imu_batch()
    first, again = run(batch, RAW, EVERYTHING), run(batch, RAW, EVERYTHING)
    np.testing.assert_array_equal(first['imu'], again['imu'])
    other = run(batch, RAW, EVERYTHING, key=jax.random.key(8))
    assert np.abs(first['imu'] - other['imu']).max() > 0.1

  def test_unknown_options_and_inputs_are_named(self):
    built = fakes.inputs_of(RAW)
    with pytest.raises(UserError, match=r'augment.imu.rotate=.*: no such option'):
      inputs_lib.preprocess(imu_batch(), inputs=built, augment={'imu': {'rotate': 3}})
    with pytest.raises(UserError, match=r'augment.sonar: no input of the stage; there are imu'):
      inputs_lib.preprocess(imu_batch(), inputs=built, augment={'sonar': {}})

  def test_two_inputs_of_one_kind_draw_apart(self):
    batch = imu_batch()
    batch |= {'watch': batch['imu'], 'watch_mask': batch['imu_mask']}
    config = {'length': 40}
    inputs = {'imu': config, 'watch': config | {'kind': 'signal', 'field': 'imu'}}
    out = run(batch, inputs, {name: EVERYTHING['imu'] for name in inputs})
    assert np.abs(out['imu'] - out['watch']).max() > 0.1
    alone = run(batch, {'watch': inputs['watch']}, {'watch': EVERYTHING['imu']})
    np.testing.assert_allclose(out['watch'], alone['watch'], atol=1e-6)


def test_defaults_are_filled_in():
  built = inputs_lib.build('imu', {'length': 90, 'mean': (0.0,) * 6})
  assert (built.name, built.field, type(built).__name__) == ('imu', 'imu', 'Signal')
  assert built.options['length'] == 90
  assert built.options['fit'] == 'resample'
  assert built.augment_options(None)['rotation_degrees'] == 0
  assert inputs_lib.build('rgb', None).augment_options({'flip': 0.5})['flip'] == 0.5


def test_config_dicts_are_taken():
  config = ml_collections.ConfigDict({'frames': 8, 'mean': (0.4, 0.4, 0.4)})
  options = inputs_lib.build('rgb', config).options
  assert (options['frames'], options['resize'], options['size']) == (8, 120, 112)
  assert tuple(options['mean']) == (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
  ('name', 'config', 'message'),
  [
    (
      'sonar',
      {},
      "inputs.sonar.kind is missing: it must be one of 'signal', 'frames', 'depth', 'skel",
    ),
    ('watch', {'kind': 'signals'}, "inputs.watch.kind='signals': must be one of 'signal'"),
    ('imu', {'lenght': 3}, "inputs.imu.lenght=3: no such option; did you mean 'length'"),
    ('imu', {'fit': 'loop'}, "inputs.imu.fit='loop': must be one of 'resample', 'pad'"),
    ('imu', {'length': 0}, 'inputs.imu.length=0: must be a whole number from 1'),
    ('imu', {'length': True}, 'inputs.imu.length=True: must be a whole number'),
    ('imu', {'length': 1.5}, 'inputs.imu.length=1.5'),
    ('imu', {'mean': (1.0, 2.0)}, 'inputs.imu.mean=.*: 2 numbers for 6 channels'),
    ('imu', {'std': (1.0,) * 5 + (0.0,)}, 'inputs.imu.std=.* must be a finite number, above 0'),
    ('imu', {'rates': 50}, 'inputs.imu.rates=50: must be a tuple'),
    ('imu', {'rates': (100, 0)}, r'inputs.imu.rates=\(100, 0\): must be a finite number, above 0'),
    ('imu', {'rates': (100,) * 4}, 'inputs.imu.rates=.*: 4 sensors for 6 channels'),
    ('imu', {'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('imu', {'rate': -1}, 'inputs.imu.rate=-1: must be a finite number, at least 0'),
    ('imu', {'rates': (100, 50), 'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('rgb', {'mean': 'grey'}, "inputs.rgb.mean='grey': must be a finite number"),
    ('rgb', {'size': 200}, 'inputs.rgb.size=200: larger than resize'),
    ('skeleton', {'centre': 'last'}, "inputs.skeleton.centre='last': must be one of 'first'"),
    ('skeleton', {'velocity': 'm/s'}, "inputs.skeleton.velocity='m/s': must be one of 'none'"),
    ('skeleton', {'joints': 3}, 'centre_joint=3: must be the number of one of 3 joints'),
  ],
)
def test_wrong_inputs(name, config, message):
  with pytest.raises(UserError, match=message):
    inputs_lib.build(name, config)


@pytest.mark.parametrize(
  ('name', 'config', 'message'),
  [
    ('imu', {'flip': 0.5}, 'augment.imu.flip=0.5: no such option; there are rotation_degrees'),
    (
      'imu',
      {'time_warp': 1.0},
      'time_warp=1.0: must be a finite number, at least 0, below 1',
    ),
    ('imu', {'crop': 1}, 'augment.imu.crop=1: must be a finite number, at least 0, below 1'),
    ('imu', {'jitter': -0.1}, 'augment.imu.jitter=-0.1: must be a finite number, at least 0'),
    ('imu', {'scale': 'big'}, "augment.imu.scale='big': must be a finite number"),
    ('rgb', {'flip': 1.5}, 'augment.rgb.flip=1.5: must be a finite number from 0 to 1'),
    ('rgb', {'crop': 0.2}, 'augment.rgb.crop=0.2: must be true or false'),
    ('depth', {'saturation': 0.1}, 'augment.depth.saturation=0.1: no such option'),
  ],
)
def test_wrong_augmentation(name, config, message):
  with pytest.raises(UserError, match=message):
    inputs_lib.build(name, {}).augment_options(config)


@pytest.mark.parametrize(
  ('given', 'fits'), [((50.0, 100), True), ((), True), ((100.0, 50.0), False), ((50.0,), False)]
)
def test_rates_of_sensors_are_those_of_the_records(given, fits):
  # In the order of the streams, however the rates are sorted.
  facts = {'streams': ['gyro', 'accel'], 'stream_rates': {'accel': 100.0, 'gyro': 50.0}}
  dataset = types.SimpleNamespace(name='mine', metadata=facts)
  wrist = {'kind': 'signal', 'field': 'imu', 'channels': 6, 'rates': given}
  if fits:
    inputs_lib.check_rates(dataset, {'wrist': wrist, 'rgb': {}})
  else:
    message = r'inputs\.wrist\.rates=.* stored at \(50\.0, 100\.0\) .*config\.inputs\.wrist\.rates'
    with pytest.raises(UserError, match=message):
      inputs_lib.check_rates(dataset, {'wrist': wrist, 'rgb': {}})


def test_datasets_that_tell_no_rates_of_sensors():
  dataset = types.SimpleNamespace(name='mine', metadata={'rates': {'imu': 50.0}})
  inputs_lib.check_rates(dataset, {'imu': {'rates': (25.0, 25.0)}})
