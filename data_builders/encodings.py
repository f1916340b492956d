"""How video frames are stored in prepared datasets.

Frame by frame, since a clip of 16 frames is chosen anew in each epoch: from UTD-MHAD's videos of
about 50 frames, 16 at 128 pixels take 10 ms of one core from JPEG at 320x240, 14 ms from JPEG at
640x480 (reduced while decoding), 25 ms or more from H.264 at 320x240 and 82 ms at 640x480.

A depth sensor's millimetres come in few distinct values, which Zstandard packs better as they are
than PNG does with its differences of neighbours: a frame of UTD-MHAD takes 2.1 KB and 0.015 ms, as
PNG 3.1 KB and 0.09 ms, as PNG without differences 2.2 KB and 0.06 ms.
"""

import struct

import numpy as np
import zstandard

from data_builders import video

RGB_SHORT_SIDE = 240
_DEPTH_LEVEL = 9  # 12 takes four times as long to save a 400th
NOTES = {
  'rgb': f'JPEG, quality {video.QUALITY}, short side reduced to {RGB_SHORT_SIDE} pixels if longer',
  'depth': (
    'height and width (uint16), then pixels in mm (uint16) packed by Zstandard, little-endian; '
    'cropped to depth_box (y, x, height, width), without loss'
  ),
}


def nonzero_box(video: np.ndarray) -> tuple[int, int, int, int]:
  """y, x, height and width of the smallest box with all that is not zero in a [T, H, W] video."""
  seen = np.any(video, axis=0)
  rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
  y, x = int(rows[0]), int(columns[0])
  return y, x, int(rows[-1]) - y + 1, int(columns[-1]) - x + 1


def encode_depth(video: np.ndarray) -> tuple[list[bytes], np.ndarray]:
  """Depth frames, packed without loss, cropped to the box that holds the person in all of them.

  Args:
    video: uint16 [T, H, W], 0 for background, not zero everywhere.

  Returns:
    T frames as `pack_depth` makes them, and the box, int32 [4]: y, x, height, width.
  """
  y, x, height, width = nonzero_box(video)
  frames = [pack_depth(frame) for frame in video[:, y : y + height, x : x + width]]
  return frames, np.array([y, x, height, width], np.int32)


def pack_depth(frame: np.ndarray) -> bytes:
  """A depth frame uint16 [H, W], as `NOTES` says."""
  pixels = np.ascontiguousarray(frame, '<u2').tobytes()
  return struct.pack('<HH', *frame.shape) + zstandard.ZstdCompressor(_DEPTH_LEVEL).compress(pixels)


_JOINTS = (
  *('head', 'shoulder centre', 'spine', 'hip centre'),
  *(
    f'{side} {part}'
    for side in ('left', 'right')
    for part in ('shoulder', 'elbow', 'wrist', 'hand')
  ),
  *(f'{side} {part}' for side in ('left', 'right') for part in ('hip', 'knee', 'ankle', 'foot')),
)
CHANNELS = {
  'imu': (
    *((f'accelerometer {axis}', 'g') for axis in 'xyz'),
    *((f'gyroscope {axis}', 'deg/s') for axis in 'xyz'),
  ),
  'rgb': tuple((colour, '0 to 255') for colour in ('red', 'green', 'blue')),
  'depth': (('distance from the camera', 'mm'),),
  'skeleton': tuple((joint, 'm') for joint in _JOINTS),
  'flow': tuple((f'motion along {axis}', 'pixels') for axis in 'xy'),
}
"""Name and unit of each channel of recordings (IMU: UTD-MHAD's), and of Kinect v1's joints."""
