"""Depth video: a person's distance from the camera."""

import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import zstandard
from PIL import Image

from har.data import video
from har.data.frames import Frames
from har.data.input import step
from har.errors import UserError
from har.options import Schema, amount, choice, size

_DEPTH_SIZE = struct.Struct('<HH')


class DepthDecoder(threading.local):
  """Decodes what `data_builders.encodings.encode_depth` made, with one state a thread."""

  def __init__(self):
    self._zstd = zstandard.ZstdDecompressor()

  def __call__(self, frame: bytes) -> np.ndarray:
    """Returns uint16 `[H, W]`, mm; UserError if the frame is damaged."""
    try:
      shape = _DEPTH_SIZE.unpack_from(frame)
      pixels = np.frombuffer(self._zstd.decompress(frame[_DEPTH_SIZE.size :]), '<u2')
      return pixels.reshape(shape)
    except (zstandard.ZstdError, struct.error, ValueError) as error:
      raise UserError(video.NO_IMAGE) from error


decode_depth = DepthDecoder()


def encode_relative(depth: np.ndarray, reach: float) -> np.ndarray:
  """Shows depth as brightness relative to the person's middle: nearer is brighter.

  Args:
    depth: uint16 `[T, H, W]` in mm, 0 where there is no person.
    reach: metres before and behind the clip's median person depth that take up the range.

  Returns:
    uint8 `[T, H, W]`: 0 without a person, else 1 (`reach` behind the median, or farther) to 255
    (`reach` before it, or nearer).
  """
  # A histogram is several times quicker than sorting; a quarter of the pixels is plenty.
  seen = np.bincount(depth[:, ::2, ::2].ravel(), minlength=int(depth.max()) + 1)
  seen[0] = 0
  below = np.cumsum(seen)
  middle = int(np.searchsorted(below, (below[-1] + 1) // 2))
  table = 128 + (middle - np.arange(len(seen))) * (127 / (1000 * reach))
  table = np.clip(np.rint(table), 1, 255).astype(np.uint8)
  table[0] = 0
  return np.take(table, depth)


ENCODINGS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {'relative': encode_relative}
"""From mm `[T, H, W]` to brightness uint8 `[T, H, W]` or `[T, H, W, 3]`."""


def _resize(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
  """Scales uint8 `[N, H, W]` or `[N, H, W, 3]` by Pillow's bilinear filter.

  Four grey pictures are scaled at once as the channels of one, in half the time.
  """
  count, size = len(pictures), pictures.shape[2:0:-1]
  mode = 'RGB'
  if pictures.ndim == 3:
    mode = 'RGBX'
    packed = np.zeros((-(-count // 4), *pictures.shape[1:], 4), np.uint8)
    for i, picture in enumerate(pictures):
      packed[i // 4, ..., i % 4] = picture
    pictures = packed
  small = np.stack(
    [
      np.asarray(
        Image.frombuffer(mode, size, np.ascontiguousarray(one), 'raw', mode, 0, 1).resize(
          (width, height), Image.Resampling.BILINEAR
        )
      )
      for one in pictures
    ]
  )
  if mode == 'RGB':
    return small
  return np.moveaxis(small, -1, 1).reshape(-1, height, width)[:count]


def depth_clip(
  frames: Sequence[bytes],
  chosen: np.ndarray,
  size: int,
  person: int | None = None,
  encode: str = 'relative',
  reach: float = 0.7,
) -> np.ndarray:
  """Decodes the chosen depth frames of a person and fits them into a square.

  Args:
    frames: encoded, in mm, cropped to the box in which the person moves during the trial.
    chosen: positions in `frames`: `[T]`, or `[T, 3]` if each three become channels of one frame.
    size: side of the square.
    person: what the box's longer side is scaled to, at most `size` (None: `size`); the box keeps
      its aspect and is centred on zeros.
    encode: a name in `ENCODINGS`.
    reach: metres, see `encode_relative`.

  Returns:
    uint8 `[T, size, size, 3]`.
  """
  order = chosen.ravel().tolist()
  decoded = {frame: decode_depth(frames[frame]) for frame in dict.fromkeys(order)}
  depth = np.stack([decoded[frame] for frame in order])
  pictures = ENCODINGS[encode](depth, reach)
  height, width = depth.shape[1:3]
  scale = (person or size) / max(height, width)
  height, width = max(round(height * scale), 1), max(round(width * scale), 1)
  top, left = (size - height) // 2, (size - width) // 2
  small = _resize(pictures, height, width)
  if chosen.ndim == 2:
    small = video.as_channels(small)
  clip = np.zeros((len(chosen), size, size, 3), np.uint8)
  room = clip[:, top : top + height, left : left + width]
  for channel in range(3):  # three strided copies are quicker than one broadcast
    room[..., channel] = small if small.ndim == 3 else small[..., channel]
  return clip


class Depth(Frames):
  """A list of frames as `data_builders.encodings.pack_depth` makes them, in mm, 0 without a person.

  Batches are those of `Frames`.
  """

  kind: ClassVar[str] = 'depth'
  schema: ClassVar[Schema] = {
    **{name: o for name, o in Frames.schema.items() if name != 'region'},
    'resize': size(128),
    'encode': choice(*ENCODINGS),
    'range': amount(0.7),  # metres before and behind the person's middle, see `encode_relative`
  }
  augmentation: ClassVar[Schema] = {
    name: o for name, o in Frames.augmentation.items() if name not in ('saturation', 'hue')
  }
  keep_black: ClassVar[bool] = True
  is_colour = False

  def decode(self, frames: Sequence[bytes], chosen: np.ndarray) -> np.ndarray:
    # The whole person fits the centre crop of evaluation; random crops then shift it.
    names = ('resize', 'size', 'encode', 'range')
    return depth_clip(frames, chosen, *(self.options[name] for name in names))

  def picture_steps(self) -> list[dict[str, Any]]:
    box = 'mm, 0 wherever the person is not; all frames cut to the box that the person moves in'
    show = (
      'round(128 + (middle - mm) * 127 / (1000 * range)), at least 1 and at most 255, and 0 where '
      'mm is 0; middle is the median of what is above 0 in every second row and column of all '
      'chosen frames'
    )
    place = (
      'the box scaled so that its longer side is `person` pixels, bilinear with antialiasing, in '
      'the middle of `size` x `size` zeros; the same in all channels unless those are neighbours'
    )
    return [
      step('person_box', box),
      step('brightness_of_depth', show, range=self.options['range']),
      step('place', place, person=self.options['size'], size=self.options['resize']),
    ]
