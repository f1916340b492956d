import numpy as np

from data_builders import encodings
from har.data.depth import decode_depth


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
