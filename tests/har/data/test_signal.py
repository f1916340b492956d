"""Signals of one sensor and of several, normalised and augmented."""

import jax.numpy as jnp
import numpy as np
import pytest

from har.data import sequences
from har.errors import UserError
from tests import fakes
from tests.har.data.batches import KEY, RAW, imu_batch, run


def streams_batch():
  """Three sensors of two channels, of which each is silent somewhere and one throughout."""
  batch = imu_batch(real=30)
  heard = np.repeat(batch['imu_mask'][..., None], 3, -1)
  heard[:, :, 1] = False
  heard[:, 10:20, 0] = False
  x = np.where(np.repeat(heard, 2, -1), batch['imu'] + 5, 0)
  return batch | {'imu': x.astype(np.float32), 'imu_streams': heard}


class TestStreams:
  def test_silence_is_zero_after_normalising(self):
    batch = streams_batch()
    out = run(batch, {'imu': {'mean': 3.0}}, None, key=None)
    heard = np.repeat(batch['imu_streams'], 2, -1)
    np.testing.assert_allclose(out['imu'][heard], batch['imu'][heard] - 3, atol=1e-6)
    assert not out['imu'][~heard].any()
    assert set(out) == {'imu', 'imu_mask'}
    np.testing.assert_array_equal(out['imu_mask'], batch['imu_mask'])

  def test_what_is_present_is_passed_on(self):
    present = np.arange(16) % 3 == 0
    out = run(imu_batch() | {'imu_present': present}, RAW, {'imu': {'scale': 0.1}})
    assert set(out) == {'imu', 'imu_mask', 'imu_present'}
    np.testing.assert_array_equal(out['imu_present'], present)

  def test_sensors_of_different_bodies_are_not_turned_together(self):
    with pytest.raises(UserError, match=r'augment\.imu\.rotation_degrees must be 0'):
      run(streams_batch(), RAW, {'imu': {'rotation_degrees': 5.0}}, key=None)

  def test_silence_is_warped_with_the_signal(self):
    batch = streams_batch()
    config = {'imu': {'time_warp': 0.5, 'crop': 0.2, 'jitter': 0.1, 'scale': 0.2}}
    out = run(batch, {'imu': {'mean': -20.0}}, config)['imu'].reshape(16, 40, 3, 2)
    heard = out.any(-1)
    assert not heard[:, :, 1].any()
    assert not heard[:, 30:].any()
    assert heard[:, :30, 2].all()
    # Nothing is mixed with the zeros of silence.
    assert out[heard].min() > 20
    silent = (~heard[:, :30, 0]).sum(1)
    assert len(set(silent.tolist())) > 3
    assert (silent > 4).all()


class TestImu:
  def test_normalised_by_channel_with_zero_padding(self):
    batch = imu_batch(real=30)
    mean, std = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (1.0, 2.0, 1.0, 2.0, 1.0, 4.0)
    out = run(batch, {'imu': {'mean': mean, 'std': std}}, None, key=None)
    expected = (batch['imu'][:, :30] - mean) / std
    np.testing.assert_allclose(out['imu'][:, :30], expected, atol=1e-6)
    assert not out['imu'][:, 30:].any()
    np.testing.assert_array_equal(out['imu_mask'], batch['imu_mask'])
    assert out['imu'].dtype == np.float32

  def test_nothing_is_augmented_without_a_key_or_a_config(self):
    batch = imu_batch()
    config = {'imu': {'rotation_degrees': 90.0, 'scale': 0.5, 'jitter': 1.0}}
    np.testing.assert_allclose(run(batch, RAW, config, key=None)['imu'], batch['imu'])
    np.testing.assert_allclose(run(batch, RAW, None)['imu'], batch['imu'])
    np.testing.assert_allclose(run(batch, RAW, {'imu': {}})['imu'], batch['imu'])

  def test_rotation_turns_both_sensors_alike(self):
    batch = imu_batch()
    batch['imu'][..., 3:] = 2 * batch['imu'][..., :3]
    out = run(batch, RAW, {'imu': {'rotation_degrees': 30.0}})['imu']
    np.testing.assert_allclose(out[..., 3:], 2 * out[..., :3], rtol=1e-5, atol=1e-5)
    before = np.linalg.norm(batch['imu'].reshape(16, 40, 2, 3), axis=-1)
    after = np.linalg.norm(out.reshape(16, 40, 2, 3), axis=-1)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    # one rotation for a whole trial, another for the next
    for x, y in zip(batch['imu'], out, strict=True):
      fitted, *_ = np.linalg.lstsq(x[:, :3], y[:, :3], rcond=None)
      np.testing.assert_allclose(fitted.T @ fitted, np.eye(3), atol=1e-4)
      assert np.linalg.det(fitted) > 0.99
    moved = np.abs(out - batch['imu']).max(axis=(1, 2))
    assert (moved > 1e-3).all()

  def test_rotations_stay_within_their_angle(self):
    matrices = np.asarray(sequences.random_rotations(KEY, 500, 20.0))
    angles = np.degrees(np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 19 < angles.max() <= 20.01
    assert 8 < angles.mean() < 12

  def test_rotation_about_an_axis_keeps_it(self):
    matrices = np.asarray(sequences.random_rotations(KEY, 50, 180.0, axis=(0.0, 1.0, 0.0)))
    np.testing.assert_allclose(matrices @ [0, 1, 0], np.tile([0, 1, 0], (50, 1)), atol=1e-6)
    assert np.ptp(matrices[:, 0, 0]) > 1

  def test_scale_is_one_factor_a_trial_within_range(self):
    batch = imu_batch(batch=200)
    out = run(batch, RAW, {'imu': {'scale': 0.2}})['imu']
    factor = out / batch['imu']
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1], factor.shape), rtol=1e-3)
    assert 0.8 <= factor[:, 0, 0].min() < 0.83
    assert 1.17 < factor[:, 0, 0].max() <= 1.2

  def test_jitter_has_its_deviation_and_leaves_padding(self):
    batch = imu_batch(batch=100, real=30)
    inputs = {'imu': {'std': 10.0}}
    out = run(batch, inputs, {'imu': {'jitter': 0.3}})['imu']
    noise = out - batch['imu'] / 10
    np.testing.assert_allclose(noise[:, :30].std(), 0.3, rtol=0.03)
    assert not out[:, 30:].any()

  @pytest.mark.parametrize(('warp', 'crop'), [(0.0, 0.3), (0.5, 0.0), (0.9, 0.5)])
  def test_warps_are_increasing_and_within_the_trial(self, warp, crop):
    curves = np.asarray(sequences.random_warp(KEY, 300, 64, warp, crop))
    assert (np.diff(curves, axis=1) > 0).all()
    assert curves.min() >= 0
    assert curves.max() <= 1 + 1e-6
    width = curves[:, -1] - curves[:, 0]
    assert width.min() >= 1 - crop - 1e-6
    if crop:
      assert width.min() < 1 - 0.9 * crop
      assert np.ptp(curves[:, 0]) > 0.5 * crop
    else:
      np.testing.assert_allclose(curves[:, 0], 0)
      np.testing.assert_allclose(curves[:, -1], 1, atol=1e-6)
    speed = np.diff(curves, axis=1) * 63 / width[:, None]
    ratio = (1 + warp) / (1 - warp)
    assert speed.max() <= ratio + 1e-2
    assert speed.min() >= 1 / ratio - 1e-2

  def test_a_straight_warp_reads_what_is_there(self):
    batch = imu_batch(real=25)
    straight = jnp.tile(jnp.linspace(0, 1, 40), (16, 1))
    out = sequences.read_at(batch['imu'], batch['imu_mask'], straight)
    np.testing.assert_allclose(out, batch['imu'], atol=1e-4)

  def test_reading_follows_the_warp_over_the_real_samples(self):
    # a ramp over the real samples shows where each sample was read
    real = np.array([40, 20, 2, 1])
    mask = np.arange(40) < real[:, None]
    ramp = np.where(mask, np.arange(40.0), 0)[..., None].astype(np.float32)
    curve = np.linspace(0, 1, 40) ** 2
    out = np.asarray(sequences.read_at(ramp, mask, jnp.tile(jnp.asarray(curve), (4, 1))))[..., 0]
    np.testing.assert_allclose(out[0], 39 * curve, atol=1e-3)
    expected = 19 * np.interp(np.arange(20) / 19 * 39, np.arange(40), curve)
    np.testing.assert_allclose(out[1, :20], expected, atol=1e-3)
    np.testing.assert_allclose(out[2, :2], [0, 1], atol=1e-5)
    assert not out[~mask].any()

  def test_time_warp_keeps_padding_and_range(self):
    batch = imu_batch(real=30)
    out = run(batch, RAW, {'imu': {'time_warp': 0.3, 'crop': 0.2}})['imu']
    assert not out[:, 30:].any()
    assert np.abs(out[:, :30]).max() <= np.abs(batch['imu']).max()
    assert np.abs(out - batch['imu']).max() > 0.1


def test_some_channels_alone():
  one = fakes.inputs_of({'imu': {'length': 4, 'use': (2, 0), 'mean': (1.0, 2.0)}})['imu']
  x = np.arange(24, dtype=np.float32).reshape(4, 6)
  np.testing.assert_array_equal(one.read({'imu': x}, None)['imu'], x[:, [2, 0]])
  assert one.padding()['imu'].shape == (4, 2)
  assert one.steps()[0]['operation'] == 'use'
  assert one.steps()[0]['channels'] == [2, 0]
  for wrong in ({'use': (0, 6)}, {'use': (0,), 'rates': (50.0,)}):
    with pytest.raises(UserError, match=r'imu\.use=.*needs rates=\(\) and positions below'):
      fakes.inputs_of({'imu': wrong})


def test_smoothing_comes_before_the_rate_is_changed():
  given = {'length': 5, 'fit': 'pad', 'channels': 1, 'rates': (10.0,), 'rate': 5.0}
  one = fakes.inputs_of({'imu': {**given, 'smooth': 0.4}})['imu']
  record = {'imu': np.array([[0], [6], [0], [0]], np.float32), 'imu_mask': np.ones((4, 1), bool)}
  np.testing.assert_allclose(one.read(record, None)['imu'][:2, 0], [2, 1.5], atol=1e-6)
  assert [s['operation'] for s in one.steps()][:2] == ['smooth', 'pad_sensors']
  with pytest.raises(UserError, match=r'imu\.smooth=.*needs rates'):
    fakes.inputs_of({'imu': {'smooth': 0.1}})
