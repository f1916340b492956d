"""Optical flow: what is stored is what moved, and what a mirror would show."""

import io
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data_builders import flow as coding
from har.data import inputs
from har.data.flow import mirrored
from har.data.video import flow_clip
from har.errors import UserError

SIDE = 48


def scene(shift):
  """A smooth texture of [SIDE, SIDE + 16] whose content stands `shift` pixels to the right."""
  rng = np.random.default_rng(0)
  noise = Image.fromarray(rng.integers(0, 255, (12, 40), dtype=np.uint8))
  wide = np.asarray(noise.resize((160, SIDE), Image.Resampling.BICUBIC))
  start = 40 - shift
  return wide[:, start : start + SIDE + 16]


def jpeg(picture):
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, 'JPEG', quality=95)
  return buffer.getvalue()


@pytest.fixture(scope='module')
def moving():
  """Flows of a clip that moves 3 pixels to the right with each of 6 frames."""
  return coding.encode([jpeg(scene(3 * i)) for i in range(6)])


def field(levels):
  """Pixels of stored levels."""
  return (np.asarray(levels, float) - coding.STILL) * coding.BOUND / (255 - coding.STILL)


def flow(**options):
  return inputs.build('flow', {'frames': 3, 'resize': 32, 'size': 24, **options})


def test_a_known_motion_is_found_and_survives_its_encoding(moving):
  assert len(moving) == 6
  assert moving[5] == moving[4]
  clip = flow_clip(moving, np.arange(6)[:, None], SIDE)
  assert clip.shape == (6, SIDE, SIDE, 2)
  inner = field(clip[:, 8:-8, 12:-12])
  assert abs(np.median(inner[..., 0]) - 3) < 0.2
  assert abs(np.median(inner[..., 1])) < 0.2
  assert np.abs(inner[..., 0] - 3).mean() < 0.4


def test_flow_may_be_over_several_frames():
  frames = [jpeg(scene(3 * i)) for i in range(4)]
  found = coding.encode(frames, 2)
  assert len(found) == 4
  assert found[1] == found[2] == found[3]
  clip = field(flow_clip(found, np.arange(4)[:, None], SIDE))
  assert abs(np.median(clip[0, 8:-8, 12:-12, 0]) - 6) < 0.4
  whole = coding.encode(frames, 9)
  assert whole == [whole[0]] * 4


def test_flow_can_be_of_the_whole_picture():
  halves = np.zeros((8, 24, 2), np.float32)
  halves[:, :8, 0], halves[:, 16:, 1] = 10, -10
  clip = flow_clip([coding.pack(halves)], np.array([[0]]), 12, 'whole')
  inner = field(clip[0, 4])
  assert np.abs(inner[:3] - (10, 0)).max() < 1.5
  assert np.abs(inner[5:7]).max() < 1.5
  assert np.abs(inner[-3:] - (0, -10)).max() < 1.5
  assert np.abs(field(flow_clip([coding.pack(halves)], np.array([[0]]), 12))[0, 4]).max() < 2


def test_faster_motion_is_cut_to_the_bound():
  fast = np.zeros((8, 16, 2), np.float32)
  fast[..., 0], fast[..., 1] = 50, -50
  clip = flow_clip([coding.pack(fast)], np.array([[0]]), 8)
  np.testing.assert_allclose(field(clip)[..., 0], coding.BOUND, atol=0.2)
  np.testing.assert_allclose(field(clip)[..., 1], -coding.BOUND, atol=0.2)


def test_stacks_follow_the_chosen_frame_and_stop_at_the_last():
  one = flow(stack=4)
  np.testing.assert_array_equal(one.positions(6, None), [[1, 2, 3, 4], [3, 4, 5, 5], [5, 5, 5, 5]])
  wide = flow(stack=3, apart=2).positions(6, None)
  np.testing.assert_array_equal(wide, [[1, 3, 5], [3, 5, 5], [5, 5, 5]])
  assert one.padding()['flow'].shape == (3, 32, 32, 8)
  assert (one.padding()['flow'] == coding.STILL).all()


def test_only_flows_that_are_used_are_decoded(moving):
  broken = [moving[0], b'no picture', moving[2], b'no picture', moving[4], b'no picture']
  clip = flow_clip(broken, np.array([[0, 2], [4, 4]]), 16)
  assert clip.shape == (2, 16, 16, 4)
  np.testing.assert_array_equal(clip[1, ..., :2], clip[1, ..., 2:])
  with pytest.raises(UserError, match='not an image'):
    flow_clip(broken, np.array([[1]]), 16)


def test_a_mirror_turns_the_motion_along_x_alone():
  x = jnp.arange(256, dtype=jnp.uint8).reshape(1, 1, 8, 8, 4)
  out = np.asarray(mirrored(x))
  turned = np.asarray(x)[..., ::-1, :]
  np.testing.assert_array_equal(out[..., 1::2], turned[..., 1::2])
  np.testing.assert_array_equal(out[..., ::2], np.minimum(256 - turned[..., ::2].astype(int), 255))
  assert (mirrored(jnp.full((1, 4, 4, 2), coding.STILL, jnp.uint8)) == coding.STILL).all()


def test_augmentation_mirrors_as_a_mirror_does(moving):
  one = flow(mean=0.0, std=1.0)
  batch = {**one.read({'flow': moving}, None), 'label': np.int32(0)}
  batch = {name: np.stack([x, x]) for name, x in batch.items()}
  settings = one.augment_options({'flip': 1.0, 'crop': False})
  augmented = one.preprocess(batch, jax.random.key(0), settings, np.array([True]))['flow']
  kept = one.preprocess(batch, jax.random.key(0), settings, np.array([False]))['flow']
  plain = one.preprocess(batch, None, settings, None)['flow']
  np.testing.assert_array_equal(kept, plain)
  assert plain.shape == (2, 3, 24, 24, 2)
  levels = np.rint(255 * np.asarray(plain)).astype(np.uint8)
  np.testing.assert_allclose(augmented, mirrored(jnp.asarray(levels)) / 255, atol=1e-6)
  assert abs(np.median(field(255 * augmented[..., 0])) + 3) < 0.2


def test_outside_of_a_shrunk_picture_nothing_moves():
  one = flow(resize=24, mean=0.0, std=1.0)
  fast = np.full((2, 1, 24, 24, 2), 250, np.uint8)
  settings = one.augment_options({'flip': 0.0, 'zoom': 0.5})
  batch = {'flow': fast, 'label': np.zeros(2, np.int32)}
  for seed in range(20):  # Until one is shrunk.
    x = 255 * np.asarray(one.preprocess(batch, jax.random.key(seed), settings, None)['flow'])
    if (x < 249).any():
      break
  assert x.min() == pytest.approx(coding.STILL, abs=1e-3)


def test_a_picture_has_the_length_as_its_third_channel(moving):
  one = flow(show='picture', mean=0.0, std=1.0)
  batch = {name: x[None] for name, x in one.read({'flow': moving}, None).items()}
  x = np.asarray(one.preprocess(batch, None, one.augment_options(None), None)['flow'])
  assert x.shape == (1, 3, 24, 24, 3)
  still = coding.STILL / 255
  length = np.hypot(x[..., 0] - still, x[..., 1] - still)
  np.testing.assert_allclose(x[..., 2], np.minimum(still + length, 1), atol=1e-6)


def test_the_steps_name_every_number():
  found = {s['operation']: s for s in flow(stack=5).steps()}
  assert found['flow']['bound'] == coding.BOUND
  assert found['levels']['still'] == coding.STILL
  assert found['stack']['stack'] == 5
  assert 'length' not in found
  assert 'length' in {s['operation'] for s in flow(show='picture').steps()}


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'show': 'picture', 'stack': 2}, "stack=2: show='picture' takes one flow"),
    ({'size': 64}, 'size=64: larger than resize'),
    ({'stack': 2, 'mean': (0.5, 0.5)}, 'mean=.*2 numbers for 4 channels'),
  ],
)
def test_options_that_do_not_go_together(options, message):
  with pytest.raises(UserError, match=message):
    flow(**options)


def test_without_opencv_it_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'cv2', None)
  with pytest.raises(UserError, match=r'needs OpenCV: pip install -r requirements-flow.txt'):
    coding.estimator()
