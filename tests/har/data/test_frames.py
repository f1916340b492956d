"""Colour and depth video, cropped, shown and augmented."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from har.data import pictures
from har.data.input import flip_decisions
from har.errors import UserError
from tests.har.data.batches import KEY, run, video_batch

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

  @pytest.mark.parametrize('quarter', [0, 1, 2, -1])
  def test_quarter_turns_are_exact(self, quarter):
    clip = video_batch(batch=2)['rgb'].astype(np.float32)
    offset, angle = jnp.array([[1, 3], [2, 2]]), jnp.full(2, quarter * np.pi / 2)
    out = pictures.turn(jnp.asarray(clip), offset, jnp.ones(2), angle, 12)
    crops = np.stack([clip[0, :, 1:13, 3:15], clip[1, :, 2:14, 2:14]])
    np.testing.assert_allclose(out, np.rot90(crops, quarter, axes=(2, 3)), atol=1e-2)

  def test_no_turn_is_a_zoom(self):
    clip = jnp.asarray(video_batch(batch=3)['rgb'])
    offset, zoom = jnp.array([[0, 4], [2, 2], [3, 1]]), jnp.array([0.7, 1.0, 1.3])
    out = pictures.turn(clip, offset, zoom, jnp.zeros(3), 12)
    np.testing.assert_allclose(out, pictures.zoom_in(clip, offset, zoom, 12), atol=1e-2)

  def test_a_turn_agrees_with_pillow(self):
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8))
    picture = small.resize((40, 40), Image.Resampling.BICUBIC)
    clip = jnp.asarray(np.asarray(picture)[None, None], jnp.float32)
    angle = jnp.full(1, np.deg2rad(20.0))
    out = pictures.turn(clip, jnp.zeros((1, 2), int), jnp.ones(1), angle, 40)[0, 0]
    expected = np.asarray(picture.rotate(20, Image.Resampling.BILINEAR), np.float32)
    inside = slice(8, 32)  # Pillow treats the border in its own way.
    np.testing.assert_allclose(out[inside, inside], expected[inside, inside], atol=1.5)
    assert not np.asarray(out)[0, 0].any()

  def test_rotation_is_one_draw_a_clip_within_its_range(self):
    # A line from the centre to the right, 1 wide; its angle is that of its far end.
    batch = video_batch(batch=32, side=32)
    batch['rgb'][:] = 0
    batch['rgb'][:, :, 15:17, 16:] = 240
    inputs = {'rgb': {'size': 32, 'resize': 32, 'mean': 0.0, 'std': 1.0}}
    out = run(batch, inputs, {'rgb': {'rotation': 30.0}})['rgb'][..., 0]
    assert (out == out[:, :1]).all()
    y, x = np.mgrid[:32, :32] - 15.5
    weight = out[:, 0]
    angles = np.rad2deg(np.arctan2(-(weight * y).sum((1, 2)), (weight * x).sum((1, 2))))
    assert np.abs(angles).max() < 31
    assert angles.min() < -20
    assert angles.max() > 20

  def test_hue_turns_colours_and_keeps_greys(self):
    batch = video_batch(batch=64)
    batch['rgb'][:] = (200, 80, 80)
    batch['rgb'][:, :, :, :8] = 120
    inputs = {'rgb': PLAIN['rgb']}
    out = run(batch, inputs, {'rgb': {'crop': False, 'hue': 180.0}})['rgb'][:, 0, 6]
    np.testing.assert_allclose(out[:, :6], 120, atol=1e-2)
    np.testing.assert_allclose(out[:, 6:].mean(-1), 120, atol=1e-2)
    pixel = out[:, -1]
    distance = np.linalg.norm(pixel - 120, axis=-1)
    np.testing.assert_allclose(distance, np.linalg.norm([80, -40, -40]), rtol=1e-4)
    assert set(pixel.argmax(-1).tolist()) == {0, 1, 2}
    turned = pictures._turn_hue(jnp.array([0.9, 0.1, 0.2]), jnp.deg2rad(120.0))
    np.testing.assert_allclose(turned, [0.2, 0.9, 0.1], atol=1e-6)

  def test_hue_of_motion_is_refused(self):
    with pytest.raises(UserError, match=r'augment\.rgb\.hue: must be 0'):
      run(video_batch(), {'rgb': PLAIN['rgb'] | {'show': 'motion'}}, {'rgb': {'hue': 10.0}})

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
