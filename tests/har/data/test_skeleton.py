"""Skeletons, placed, normalised and augmented."""

import numpy as np
import pytest

from har.data import loader
from har.data.skeleton import KINECT_MIRROR
from tests import fakes
from tests.har.data.batches import run

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
