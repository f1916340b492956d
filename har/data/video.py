"""Clips: frames are chosen first, and only those are decoded, cropped and resized."""

import io
import struct
import threading
from collections.abc import Callable, Sequence

import numpy as np
import zstandard
from PIL import Image, UnidentifiedImageError

from har.errors import UserError


def choose_frames(n: int, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
  """Chooses one frame in each of `count` equal segments of a clip.

  Args:
    n: frames in the clip, at least 1.
    count: frames to choose; a clip with fewer gives some of them several times.
    rng: draws each frame within its segment (TSN, Wang et al., ECCV 2016, section 3.1); without
      it the segments' centres are chosen.

  Returns:
    int64 `[count]`, ascending, within [0, n - 1].
  """
  within = 0.5 if rng is None else rng.random(count)
  return np.minimum(((np.arange(count) + within) * (n / count)).astype(np.int64), n - 1)


_NO_IMAGE = 'a prepared frame is not an image; prepare the dataset again'


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
      raise UserError(_NO_IMAGE) from error


decode_depth = DepthDecoder()


def open_rgb(frame: bytes, size: int) -> Image.Image:
  """Opens an image whose short side will be reduced to `size` pixels, and does not decode it yet.

  JPEG will be decoded at a half, a quarter or an eighth of its size, never below the target.
  """
  try:
    image = Image.open(io.BytesIO(frame))
  except UnidentifiedImageError as error:
    raise UserError(_NO_IMAGE) from error
  scale = size / min(image.size)
  image.draft('RGB', (int(image.width * scale), int(image.height * scale)))
  return image


def with_neighbours(chosen: np.ndarray, count: int, apart: int) -> np.ndarray:
  """Each chosen position with those `apart` frames before and after it, within the recording.

  Args:
    chosen: int `[T]`.
    count: frames in the recording.
    apart: frames between neighbours.

  Returns:
    int `[T, 3]`: before, itself, after.
  """
  return np.clip(chosen[:, None] + np.array([-apart, 0, apart]), 0, count - 1)


def as_channels(clip: np.ndarray) -> np.ndarray:
  """Makes each three successive frames the channels of one.

  Args:
    clip: uint8 `[3 T, H, W]`, or `[3 T, H, W, 3]`, whose own channels become their mean.

  Returns:
    uint8 `[T, H, W, 3]`.
  """
  if clip.ndim == 3:
    grey = clip
  elif (clip[..., :1] == clip).all():
    grey = clip[..., 0]
  else:
    grey = np.rint(clip.mean(-1, dtype=np.float32)).astype(np.uint8)
  return np.moveaxis(grey.reshape(-1, 3, *grey.shape[1:]), 1, -1)


def rgb_clip(frames: Sequence[bytes], chosen: np.ndarray, size: int) -> np.ndarray:
  """Decodes the chosen frames, scaled so that the short side fits, cut to the centre square.

  Args:
    frames: encoded images (JPEG or PNG).
    chosen: positions in `frames`: `[T]`, or `[T, 3]` if each three become channels of one frame.
    size: side of the square.

  Returns:
    uint8 `[T, size, size, 3]`.
  """
  clip = np.empty((chosen.size, size, size, 3), np.uint8)
  first: dict[int, int] = {}
  for i, frame in enumerate(chosen.ravel().tolist()):
    if first.setdefault(frame, i) < i:
      clip[i] = clip[first[frame]]
      continue
    image = open_rgb(frames[frame], size)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    if image.mode != 'RGB':
      image = image.convert('RGB')
    clip[i] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
  return clip if chosen.ndim == 1 else as_channels(clip)


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
  if encode not in ENCODINGS:
    raise UserError(f'inputs.depth.encode={encode!r}: not one of {", ".join(ENCODINGS)}')
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
    small = as_channels(small)
  clip = np.zeros((len(chosen), size, size, 3), np.uint8)
  room = clip[:, top : top + height, left : left + width]
  for channel in range(3):  # three strided copies are quicker than one broadcast
    room[..., channel] = small if small.ndim == 3 else small[..., channel]
  return clip
