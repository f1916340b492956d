import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from har.data import inputs as inputs_lib
from har.data import loader, pictures, sequences
from har.data.input import flip_decisions
from har.data.skeleton import KINECT_MIRROR
from har.errors import UserError
from tests import fakes

KEY = jax.random.key(7)


def imu_batch(batch=16, length=40, real=None, seed=0):
  x = np.random.default_rng(seed).normal(size=(batch, length, 6)).astype(np.float32)
  mask = np.arange(length) < np.full((batch, 1), length if real is None else real)
  return {'imu': np.where(mask[..., None], x, 0), 'imu_mask': mask}


def video_batch(batch=16, frames=3, side=16, channels=3, seed=0):
  shape = (batch, frames, side, side, channels)
  x = np.random.default_rng(seed).integers(1, 256, shape, np.uint8)
  return {'rgb': x, 'depth': x.copy(), 'label': (np.arange(batch) % 2).astype(np.int32)}


def run(batch, inputs, config, key=KEY, flip_safe=None):
  """Preprocesses inside jit, as a step does, compiled without optimisation to be quick."""

  built = fakes.inputs_of(inputs)
  config = {name: options for name, options in (config or {}).items() if name in inputs}

  def step(batch, key):
    return inputs_lib.preprocess(batch, inputs=built, key=key, augment=config, flip_safe=flip_safe)

  step = jax.jit(step, compiler_options={'xla_backend_optimization_level': 0})
  return {name: np.asarray(value) for name, value in step(batch, key).items()}


RAW = {'imu': {'length': 40}}


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


VIDEO = {'rgb': {'size': 12, 'resize': 16, 'mean': (0.4, 0.5, 0.6), 'std': (0.2, 0.25, 0.5)}}


PLAIN = {name: {'size': 12, 'resize': 16, 'mean': 0.0, 'std': 1 / 255} for name in ('rgb', 'depth')}


class TestVideo:
  def test_evaluation_crops_the_centre_and_normalises(self):
    batch = video_batch()
    out = run(batch, VIDEO, {'rgb': {'flip': 1.0}}, key=None)['rgb']
    expected = batch['rgb'][:, :, 2:14, 2:14] / 255 - np.array([0.4, 0.5, 0.6])
    np.testing.assert_allclose(out, expected / [0.2, 0.25, 0.5], atol=1e-5)
    assert out.dtype == np.float32

  def test_flips_whole_clips_and_never_sensitive_classes(self):
    batch = video_batch(batch=64)
    inputs, config = {'rgb': PLAIN['rgb']}, {'rgb': {'flip': 0.5, 'crop': False}}
    out = run(batch, inputs, config, flip_safe=np.array([True, False]))['rgb']
    straight = batch['rgb'][:, :, 2:14, 2:14].astype(np.float32)
    mirrored = straight[:, :, :, ::-1]
    is_straight = np.abs(out - straight).max(axis=(1, 2, 3, 4)) < 1e-2
    is_mirrored = np.abs(out - mirrored).max(axis=(1, 2, 3, 4)) < 1e-2
    assert (is_straight ^ is_mirrored).all()
    assert not is_mirrored[batch['label'] == 1].any()
    assert 6 <= is_mirrored[batch['label'] == 0].sum() <= 26

  def test_certain_flips_spare_only_sensitive_classes(self):
    labels = jnp.arange(6) % 3
    safe = np.array([True, False, True])
    decided = flip_decisions(KEY, 1.0, labels, safe)
    np.testing.assert_array_equal(decided, [True, False, True, True, False, True])
    assert flip_decisions(KEY, 1.0, labels, None).all()

  def test_random_crops_are_windows_of_the_clip(self):
    batch = video_batch(batch=64)
    out = run(batch, {'rgb': PLAIN['rgb']}, {'rgb': {}})['rgb']
    found = []
    for clip, window in zip(batch['rgb'].astype(np.float32), out, strict=True):
      places = [
        (y, x)
        for y in range(5)
        for x in range(5)
        if np.abs(clip[:, y : y + 12, x : x + 12] - window).max() < 1e-2
      ]
      assert len(places) == 1
      found += places
    assert {y for y, _ in found} == {x for _, x in found} == set(range(5))

  def test_zoom_of_one_is_a_crop(self):
    clip = jnp.asarray(video_batch(batch=3)['rgb'])
    offset = jnp.array([[0, 4], [2, 2], [3, 1]])
    out = pictures.zoom_in(clip, offset, jnp.ones(3), 12)
    np.testing.assert_allclose(out, pictures.crop(clip, offset, 12), atol=1e-2)

  def test_zoom_agrees_with_jax_when_enlarging(self):
    clip = jnp.asarray(video_batch(batch=1, side=20)['rgb'])
    out = pictures.zoom_in(clip, jnp.array([[1, 5]]), jnp.array([1.4]), 12)
    translation = 6 - (jnp.array([1.0, 5.0]) + 6) * 1.4
    expected = jax.image.scale_and_translate(
      clip[0].astype(jnp.float32), (3, 12, 12, 3), (1, 2), jnp.full(2, 1.4), translation, 'linear'
    )
    np.testing.assert_allclose(out[0], expected, atol=1e-2)

  @pytest.mark.parametrize(('zoom', 'side'), [(0.75, 6), (1.0, 8), (1.5, 12)])
  def test_zoom_is_about_the_centre_with_zeros_around(self, zoom, side):
    clip = np.zeros((1, 1, 32, 32, 3), np.uint8)
    clip[:, :, 12:20, 12:20] = 200
    out = pictures.zoom_in(jnp.asarray(clip), jnp.array([[0, 0]]), jnp.array([zoom]), 32)
    seen = np.asarray(out)[0, 0, :, :, 0] > 100
    edge = 16 - side // 2
    assert seen[edge:-edge, edge:-edge].all()
    assert seen.sum() == side**2
    white = pictures.zoom_in(jnp.full_like(clip, 255), jnp.array([[0, 0]]), jnp.array([zoom]), 32)
    assert (float(white[0, 0, 0, 0, 0]) == 0) == (zoom < 0.9)

  def test_brightness_and_contrast_are_one_draw_a_clip(self):
    batch = video_batch(batch=32)
    batch['rgb'] = (batch['rgb'] // 4 + 96).astype(np.uint8)  # clear of both ends
    inputs = {'rgb': PLAIN['rgb'] | {'size': 16}}
    base = run(batch, inputs, {'rgb': {'crop': False}})['rgb']
    bright = run(batch, inputs, {'rgb': {'crop': False, 'brightness': 0.2}})['rgb'] - base
    shift = bright[:, 0, 0, 0, 0] / 255
    np.testing.assert_allclose(
      bright, np.broadcast_to(bright[:, :1, :1, :1, :1], bright.shape), atol=1e-2
    )
    assert np.abs(shift).max() <= 0.2 + 1e-5
    assert np.ptp(shift) > 0.25
    contrast = run(batch, inputs, {'rgb': {'crop': False, 'contrast': 0.5}})['rgb']
    ratio = contrast.std(axis=(1, 2, 3, 4)) / base.std(axis=(1, 2, 3, 4))
    assert 0.5 - 1e-4 <= ratio.min() < 0.65
    assert 1.35 < ratio.max() <= 1.5 + 1e-4
    np.testing.assert_allclose(
      contrast.mean(axis=(1, 2, 3, 4)), base.mean(axis=(1, 2, 3, 4)), rtol=1e-3
    )

  def test_saturation_keeps_greys_and_their_mean(self):
    batch = video_batch(batch=8)
    batch['rgb'] = (batch['rgb'] // 4 + 96).astype(np.uint8)
    inputs = {'rgb': PLAIN['rgb']}
    base = run(batch, inputs, {'rgb': {'crop': False}})['rgb']
    out = run(batch, inputs, {'rgb': {'crop': False, 'saturation': 0.9}})['rgb']
    np.testing.assert_allclose(out.mean(-1), base.mean(-1), atol=1e-2)
    assert np.abs(out - base).max() > 5

  def test_depth_background_stays_black(self):
    batch = video_batch(batch=8)
    batch['depth'][:, :, :, :8] = 0
    config = {'depth': {'crop': False, 'brightness': 0.5, 'contrast': 0.5}}
    out = run(batch, {'depth': PLAIN['depth']}, config)['depth']
    assert not out[:, :, :, :6].any()
    assert np.abs(out[:, :, :, 6:] - batch['depth'][:, :, 2:14, 8:14]).max() > 20


METRES = {'skeleton': {'length': 10, 'std': 1.0}}


class TestSkeleton:
  def batch(self, batch=8, real=10):
    x = np.random.default_rng(0).normal(size=(batch, 10, 20, 3)).astype(np.float32)
    mask = np.broadcast_to(np.arange(10) < real, (batch, 10))
    label = (np.arange(batch) % 2).astype(np.int32)
    x = np.where(mask[..., None, None], x, 0)
    return {'skeleton': x, 'skeleton_mask': mask, 'label': label}

  def test_centred_on_the_first_hips(self):
    batch = self.batch()
    out = run(batch, METRES, None)['skeleton']
    np.testing.assert_allclose(out, batch['skeleton'] - batch['skeleton'][:, :1, 3:4], atol=1e-6)
    assert not out[:, 0, 3].any()

  def test_centred_on_every_frame_with_padding_at_zero(self):
    batch = self.batch(real=6)
    out = run(batch, {'skeleton': {'centre': 'frame', 'std': 0.5}}, None)['skeleton']
    expected = (batch['skeleton'] - batch['skeleton'][:, :, 3:4]) / 0.5
    np.testing.assert_allclose(out[:, :6], expected[:, :6], atol=1e-5)
    assert not out[:, 6:].any()

  def test_torso_scale_removes_body_size(self):
    batch = self.batch(real=7)
    inputs = {'skeleton': {'scale': 'torso', 'std': 1.0}}
    small = run(batch, inputs, None)['skeleton']
    batch['skeleton'] = batch['skeleton'] * 1.7
    np.testing.assert_allclose(run(batch, inputs, None)['skeleton'], small, rtol=1e-4, atol=1e-5)
    torso = np.linalg.norm(small[:, :7, 1] - small[:, :7, 3], axis=-1)
    np.testing.assert_allclose(torso.mean(axis=1), 1, rtol=1e-4)

  def test_turns_about_the_vertical_alone(self):
    batch = self.batch()
    base = run(batch, METRES, None)['skeleton']
    out = run(batch, METRES, {'skeleton': {'rotation_degrees': 40.0}})['skeleton']
    np.testing.assert_allclose(out[..., 1], base[..., 1], atol=1e-5)
    np.testing.assert_allclose(
      np.linalg.norm(out, axis=-1), np.linalg.norm(base, axis=-1), atol=1e-5
    )
    assert np.abs(out[..., 0] - base[..., 0]).max() > 0.3

  def test_flip_swaps_sides_of_safe_classes(self):
    batch = self.batch()
    base = run(batch, METRES, None)['skeleton']
    safe = np.array([False, True])
    out = run(batch, METRES, {'skeleton': {'flip': 1.0}}, flip_safe=safe)['skeleton']
    np.testing.assert_allclose(out[::2], base[::2], atol=1e-6)
    left_hand, right_hand = 7, 11
    mirrored = base[1::2, :, left_hand] * [-1, 1, 1]
    np.testing.assert_allclose(out[1::2, :, right_hand], mirrored, atol=1e-6)
    np.testing.assert_allclose(out[1::2, :, 0], base[1::2, :, 0] * [-1, 1, 1], atol=1e-6)

  def test_mirroring_twice_changes_nothing(self):
    mirror = np.array(KINECT_MIRROR)
    np.testing.assert_array_equal(mirror[mirror], np.arange(20))

  @pytest.mark.parametrize('fit', ['resample', 'pad'])
  def test_velocities_are_those_of_the_recorded_frames(self, fit):
    # One joint rises by 0.02 m a frame, for 21 frames and for 9.
    inputs = {'skeleton': {'length': 11, 'fit': fit, 'velocity': 'frame', 'std': 0.5}}
    records = []
    for count in (21, 9):
      x = np.zeros((count, 20, 3), np.float32)
      x[:, 5, 1] = 0.02 * np.arange(count)
      records.append({'label': 0, 'skeleton': x})
    (batch,) = loader.eval_batches(records, [0, 1], fakes.inputs_of(inputs), 3)
    out, mask = (np.asarray(run(batch, inputs, None)[n]) for n in ('skeleton', 'skeleton_mask'))
    assert out.shape == (3, 11, 20, 6)
    expected = np.zeros((11, 20, 3))
    expected[:, 5, 1] = 0.02 / 0.5
    for i in (0, 1):
      np.testing.assert_allclose(out[i, :, :, 3:], expected * mask[i, :, None, None], atol=1e-6)
    positions = run(batch, {'skeleton': inputs['skeleton'] | {'velocity': 'none'}}, None)
    np.testing.assert_array_equal(out[..., :3], positions['skeleton'])
    assert np.isfinite(out).all()

  def test_padding_stays_zero_under_everything(self):
    config = {
      'skeleton': {
        'rotation_degrees': 20.0,
        'scale': 0.1,
        'time_warp': 0.2,
        'crop': 0.2,
        'jitter': 0.1,
        'flip': 0.5,
      }
    }
    out = run(self.batch(real=6), METRES, config)['skeleton']
    assert not out[:, 6:].any()
    assert np.isfinite(out).all()
    assert np.abs(out[:, :6]).min() > 0


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
    with pytest.raises(UserError, match=r'augment.imu.rotate: unknown option'):
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
    ('sonar', {}, 'inputs.sonar.kind=None: not one of signal, frames, depth, skeleton'),
    ('watch', {'kind': 'signals'}, "inputs.watch.kind='signals': not one of signal"),
    ('imu', {'lenght': 3}, 'inputs.imu.lenght: unknown option; known: length'),
    ('imu', {'fit': 'loop'}, "inputs.imu.fit='loop': not one of resample, pad"),
    ('imu', {'length': 0}, 'inputs.imu.length=0: must be a whole number above 0'),
    ('imu', {'length': True}, 'inputs.imu.length=True: must be a whole number above 0'),
    ('imu', {'length': 1.5}, 'inputs.imu.length=1.5'),
    ('imu', {'mean': (1.0, 2.0)}, 'inputs.imu.mean: 2 numbers for 6 channels'),
    ('imu', {'std': (1.0,) * 5 + (0.0,)}, 'inputs.imu.std=.* must be above 0'),
    ('imu', {'rates': 50}, 'inputs.imu.rates=50: must be a tuple'),
    ('imu', {'rates': (100, 0)}, r'inputs.imu.rates=\(100, 0\): must be above 0'),
    ('imu', {'rates': (100,) * 4}, 'inputs.imu.rates: 4 sensors for 6 channels'),
    ('imu', {'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('imu', {'rate': -1}, 'inputs.imu.rate=-1: must not be negative'),
    ('imu', {'rates': (100, 50), 'rate': 50}, "inputs.imu.rate=50: needs rates and fit='pad'"),
    ('rgb', {'mean': 'grey'}, "inputs.rgb.mean='grey': must be a number"),
    ('rgb', {'size': 200}, 'inputs.rgb.size=200: larger than resize'),
    ('skeleton', {'centre': 'last'}, "inputs.skeleton.centre='last': not one of first"),
    ('skeleton', {'velocity': 'm/s'}, "inputs.skeleton.velocity='m/s': not one of none"),
    ('skeleton', {'joints': 3}, 'centre_joint=3: must be the number of one of 3 joints'),
  ],
)
def test_wrong_inputs(name, config, message):
  with pytest.raises(UserError, match=message):
    inputs_lib.build(name, config)


@pytest.mark.parametrize(
  ('name', 'config', 'message'),
  [
    ('imu', {'flip': 0.5}, 'augment.imu.flip: unknown option; known: rotation_degrees'),
    ('imu', {'time_warp': 1.0}, 'augment.imu.time_warp=1.0: must be below 1'),
    ('imu', {'crop': 1}, 'augment.imu.crop=1: must be below 1'),
    ('imu', {'jitter': -0.1}, 'augment.imu.jitter=-0.1: must not be negative'),
    ('imu', {'scale': 'big'}, "augment.imu.scale='big': must be a number"),
    ('rgb', {'flip': 1.5}, 'augment.rgb.flip=1.5: must be at most 1'),
    ('rgb', {'crop': 0.2}, 'augment.rgb.crop=0.2: must be true or false'),
    ('depth', {'saturation': 0.1}, 'augment.depth.saturation: unknown option'),
  ],
)
def test_wrong_augmentation(name, config, message):
  with pytest.raises(UserError, match=message):
    inputs_lib.build(name, {}).augment_options(config)
