import io

import av
import numpy as np
from PIL import Image

from data_builders import encodings
from har.data.depth import decode_depth


def decode(data: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(data)))


def test_depth_is_stored_without_loss_in_its_box():
  video = np.zeros((3, 20, 30), np.uint16)
  video[0, 4, 7] = 1
  video[1, 10:12, 9:20] = np.random.default_rng(0).integers(0, 2**16, (2, 11))
  video[2, 15, 21] = 65535
  frames, box = encodings.encode_depth(video)
  assert box.tolist() == [4, 7, 12, 15]
  assert box.dtype == np.int32
  for frame, expected in zip(frames, video, strict=True):
    assert frame[:4] == bytes([12, 0, 15, 0])
    np.testing.assert_array_equal(decode_depth(frame), expected[4:16, 7:22])
    assert decode_depth(frame).dtype == np.uint16


def test_a_box_may_be_one_pixel_or_the_whole_frame():
  video = np.zeros((2, 5, 6), np.uint16)
  video[1, 0, 5] = 9
  assert encodings.nonzero_box(video) == (0, 5, 1, 1)
  assert encodings.nonzero_box(np.ones((2, 5, 6), np.uint16)) == (0, 0, 5, 6)


def picture(height: int, width: int) -> np.ndarray:
  y, x = np.mgrid[0:height, 0:width]
  return np.stack([255 * x / width, 255 * y / height, np.full(x.shape, 60)], -1).astype(np.uint8)


def test_large_rgb_is_reduced_to_the_short_side():
  frame = av.VideoFrame.from_ndarray(picture(480, 640), format='rgb24')
  image = decode(encodings.encode_rgb(frame))
  assert image.shape == (240, 320, 3)
  np.testing.assert_allclose(image[20:220, 20:300], picture(240, 320)[20:220, 20:300], atol=6)
  upright = av.VideoFrame.from_ndarray(picture(640, 480), format='rgb24')
  assert decode(encodings.encode_rgb(upright)).shape == (320, 240, 3)


def test_small_rgb_keeps_its_size():
  frame = av.VideoFrame.from_ndarray(picture(96, 128), format='rgb24')
  assert decode(encodings.encode_rgb(frame)).shape == (96, 128, 3)
