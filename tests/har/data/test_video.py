import io

import numpy as np
import pytest
from PIL import Image

from data_builders.encodings import pack_depth
from har.data import depth as depth_lib
from har.data import inputs, video
from har.errors import UserError
from tests.fakes import depth_frame, encode, rgb_frame


def test_centres_of_the_segments():
  np.testing.assert_array_equal(video.choose_frames(16, 4), [2, 6, 10, 14])
  np.testing.assert_array_equal(video.choose_frames(5, 5), [0, 1, 2, 3, 4])
  np.testing.assert_array_equal(video.choose_frames(7, 1), [3])


def test_a_short_clip_gives_frames_more_than_once():
  np.testing.assert_array_equal(video.choose_frames(2, 4), [0, 0, 1, 1])
  np.testing.assert_array_equal(video.choose_frames(1, 3), [0, 0, 0])


@pytest.mark.parametrize(('n', 'count'), [(1, 16), (9, 16), (16, 16), (50, 16), (51, 7)])
def test_random_frames_stay_in_their_segments(n, count):
  rng = np.random.default_rng(0)
  draws = np.stack([video.choose_frames(n, count, rng) for _ in range(200)])
  assert draws.min() >= 0
  assert draws.max() <= n - 1
  assert (np.diff(draws, axis=1) >= 0).all()
  edges = np.arange(count + 1) * n / count
  assert (draws >= np.floor(edges[:-1])).all()
  assert (draws <= np.ceil(edges[1:]) - 1).all()
  if n >= count:  # every frame is drawn some time
    assert set(draws.ravel().tolist()) == set(range(n))


def test_rgb_keeps_the_centre_square():
  frame = np.zeros((40, 80, 3), np.uint8)
  frame[:, :20], frame[:, 20:60], frame[:, 60:] = (255, 0, 0), (0, 200, 0), (0, 0, 255)
  clip = video.rgb_clip([encode(frame, 'PNG')], np.array([0]), 20)
  assert clip.shape == (1, 20, 20, 3)
  assert clip.dtype == np.uint8
  # the outermost columns blend with what lies outside
  np.testing.assert_array_equal(clip[0, :, 1:-1], np.broadcast_to([0, 200, 0], (20, 18, 3)))
  assert (clip[0].argmax(-1) == 1).all()


def test_rgb_can_be_the_whole_picture():
  frame = np.zeros((40, 80, 3), np.uint8)
  frame[:, :20], frame[:, 20:60], frame[:, 60:] = (255, 0, 0), (0, 200, 0), (0, 0, 255)
  clip = video.rgb_clip([encode(frame, 'PNG')], np.array([0]), 20, 'whole')
  np.testing.assert_array_equal(clip[0, :, :4], np.broadcast_to([255, 0, 0], (20, 4, 3)))
  np.testing.assert_array_equal(clip[0, :, 6:14], np.broadcast_to([0, 200, 0], (20, 8, 3)))
  np.testing.assert_array_equal(clip[0, :, -4:], np.broadcast_to([0, 0, 255], (20, 4, 3)))


def test_rgb_draft_decoding_agrees_with_the_full_size():
  y, x = np.mgrid[:480, :640]
  frame = np.stack([x / 3, y / 2, (x + y) / 5], -1).astype(np.uint8)
  jpeg = encode(frame, 'JPEG')
  clip = video.rgb_clip([jpeg], np.array([0]), 64)[0].astype(int)
  with Image.open(io.BytesIO(jpeg)) as image:
    full = image.resize((64, 64), Image.Resampling.BILINEAR, box=(80, 0, 560, 480))
  assert np.abs(clip - np.asarray(full).astype(int)).max() <= 4


class Spy(list):
  """A list that remembers which items were read."""

  def __init__(self, items):
    super().__init__(items)
    self.read = []

  def __getitem__(self, i):
    self.read.append(int(i))
    return super().__getitem__(i)


def test_only_the_chosen_frames_are_read():
  frames = Spy([rgb_frame(10 * t) for t in range(8)])
  clip = video.rgb_clip(frames, np.array([1, 5, 5]), 12)
  assert set(frames.read) == {1, 5}
  assert abs(int(clip[0].mean()) - 10) <= 2
  assert abs(int(clip[1].mean()) - 50) <= 2
  np.testing.assert_array_equal(clip[1], clip[2])
  frames = Spy([depth_frame(2000) for t in range(8)])
  depth_lib.depth_clip(frames, np.array([0, 7]), 12)
  assert set(frames.read) == {0, 7}


def plain_depth_clip(frames, chosen, size, person):
  """Frame by frame with Pillow alone."""
  depth = np.stack([frames[i] for i in chosen])
  pictures = depth_lib.encode_relative(depth, 0.7)
  scale = person / max(depth.shape[1:])
  height, width = (max(round(side * scale), 1) for side in depth.shape[1:])
  top, left = (size - height) // 2, (size - width) // 2
  clip = np.zeros((len(chosen), size, size, 3), np.uint8)
  for i, picture in enumerate(pictures):
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    clip[i, top : top + height, left : left + width] = np.asarray(small)[..., None]
  return clip


@pytest.mark.parametrize('count', [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize(
  ('height', 'width', 'size', 'person'), [(83, 41, 32, 27), (17, 60, 90, 90)]
)
def test_depth_clips_are_those_of_pillow_frame_by_frame(count, height, width, size, person):
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 4000, (9, height, width), np.uint16)
  pictures[:, : height // 3] = 0
  frames = [pack_depth(picture) for picture in pictures]
  chosen = video.choose_frames(9, count, rng)
  clip = depth_lib.depth_clip(frames, chosen, size, person)
  np.testing.assert_array_equal(clip, plain_depth_clip(pictures, chosen, size, person))
  triples = video.with_neighbours(chosen, 9, 2)
  motion = depth_lib.depth_clip(frames, triples, size, person)
  plain = plain_depth_clip(pictures, triples.ravel(), size, person)
  np.testing.assert_array_equal(motion, video.as_channels(plain))


def test_a_frame_is_decoded_once():
  frames = Spy([depth_frame(2000 + t) for t in range(5)])
  depth_lib.depth_clip(frames, video.with_neighbours(np.array([1, 1, 3]), 5, 1), 12)
  assert sorted(frames.read) == [0, 1, 2, 3, 4]
  frames = Spy([rgb_frame(10 * t) for t in range(5)])
  clip = video.rgb_clip(frames, np.array([[0, 1, 4], [1, 4, 4]]), 12)
  assert sorted(frames.read) == [0, 1, 4]
  plain = video.rgb_clip(frames, np.array([0, 1, 4, 1, 4, 4]), 12)
  np.testing.assert_array_equal(clip, video.as_channels(plain))


def test_relative_depth():
  depth = np.array([[[0, 2000, 1300, 2700, 500, 5000, 1650]]], np.uint16)
  depth = np.concatenate([depth, np.full_like(depth, 2000)])
  grey = depth_lib.encode_relative(depth, 0.7)
  assert grey.dtype == np.uint8
  # nobody; the median; 0.7 m before and behind it; beyond both; half-way to the front
  np.testing.assert_array_equal(grey[0, 0], [0, 128, 255, 1, 255, 1, 192])


def test_relative_depth_without_a_person():
  assert not depth_lib.encode_relative(np.zeros((2, 3, 3), np.uint16), 0.7).any()


def test_depth_keeps_its_aspect_on_black():
  clip = depth_lib.depth_clip([depth_frame(2500, height=40, width=20)], np.array([0]), 20)
  assert clip.shape == (1, 20, 20, 3)
  assert clip.dtype == np.uint8
  person = clip[0, :, :, 0] > 60
  # 40 x 20 becomes 20 x 10 in columns 5-14, of which the right half is the person
  assert person[:, 10:15].all()
  assert not clip[0, :, :9].any()
  assert not clip[0, :, 15:].any()
  np.testing.assert_array_equal(clip[..., 0], clip[..., 1])
  np.testing.assert_array_equal(clip[..., 0], clip[..., 2])


def test_depth_of_a_wide_box_is_centred_upright():
  frame = np.full((10, 40), 1500, np.uint16)
  clip = depth_lib.depth_clip([pack_depth(frame)], np.array([0]), 20)
  rows = clip[0, :, :, 0].any(axis=1)
  np.testing.assert_array_equal(np.flatnonzero(rows), np.arange(7, 12))


def test_the_person_can_be_given_less_than_the_square():
  clip = depth_lib.depth_clip(
    [pack_depth(np.full((30, 15), 1500, np.uint16))], np.array([0]), 16, 10
  )
  seen = clip[0, :, :, 0] > 0
  np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=1)), np.arange(3, 13))
  np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=0)), np.arange(5, 10))
  assert seen[3:13, 5:10].all()


def test_wrong_frames_and_encodings():
  with pytest.raises(UserError, match='not an image'):
    video.rgb_clip([b'text'], np.array([0]), 8)
  good = depth_frame(1000)
  short = pack_depth(np.ones((30, 20), np.uint16))[:4] + pack_depth(np.ones((3, 2), np.uint16))[4:]
  for frame in (b'', b'tex', b'some text', good[:-3], short):
    with pytest.raises(UserError, match='not an image'):
      depth_lib.depth_clip([frame], np.array([0]), 8)
  with pytest.raises(UserError, match="encode='absolute': must be 'relative'"):
    inputs.build('depth', {'encode': 'absolute'})


def test_neighbours_stay_within_the_recording():
  triples = video.with_neighbours(np.array([0, 4, 9]), 10, 2)
  assert triples.tolist() == [[0, 0, 2], [2, 4, 6], [7, 9, 9]]


def test_neighbouring_frames_become_channels():
  clip = np.zeros((6, 2, 2, 3), np.uint8)
  clip[:] = np.arange(6).reshape(6, 1, 1, 1) * 10
  assert video.as_channels(clip)[:, 0, 0].tolist() == [[0, 10, 20], [30, 40, 50]]
  clip[0] = [0, 3, 8]
  assert video.as_channels(clip)[0, 1, 1].tolist() == [4, 10, 20]
