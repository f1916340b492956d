"""Clips: frames are chosen first, and only those are decoded, cropped and resized."""

import io
from collections.abc import Callable, Sequence

import numpy as np
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


def _open(frame: bytes) -> Image.Image:
  try:
    return Image.open(io.BytesIO(frame))
  except UnidentifiedImageError as error:
    raise UserError('a prepared frame is not an image; prepare the dataset again') from error


def with_neighbours(chosen: np.ndarray, count: int, apart: int) -> np.ndarray:
  """Each chosen position with those `apart` frames before and after it, within the recording.

  Args:
    chosen: int `[T]`.
    count: frames in the recording.
    apart: frames between neighbours.

  Returns:
    int `[3 T]`: before, itself, after; for each in turn.
  """
  triples = chosen[:, None] + np.array([-apart, 0, apart])
  return np.clip(triples, 0, count - 1).reshape(-1)


def as_channels(clip: np.ndarray) -> np.ndarray:
  """Makes each three successive frames uint8 `[3 T, S, S, 3]` the channels of one `[T, S, S, 3]`.

  A frame's own channels become their mean.
  """
  if (clip[..., :1] == clip).all():
    grey = clip[..., 0]
  else:
    grey = np.rint(clip.mean(-1, dtype=np.float32)).astype(np.uint8)
  return np.moveaxis(grey.reshape(-1, 3, *grey.shape[1:]), 1, -1)


def rgb_clip(frames: Sequence[bytes], chosen: np.ndarray, size: int) -> np.ndarray:
  """Decodes the chosen frames, scaled so that the short side fits, cut to the centre square.

  Args:
    frames: encoded images (JPEG or PNG).
    chosen: positions in `frames`.
    size: side of the square.

  Returns:
    uint8 `[len(chosen), size, size, 3]`.
  """
  clip = np.empty((len(chosen), size, size, 3), np.uint8)
  for i, frame in enumerate(chosen):
    image = _open(frames[frame])
    # JPEG can be decoded at a half, a quarter or an eighth of its size, never below the target.
    scale = size / min(image.size)
    image.draft('RGB', (int(image.width * scale), int(image.height * scale)))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    if image.mode != 'RGB':
      image = image.convert('RGB')
    clip[i] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
  return clip


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
    frames: 16-bit PNG in mm, cropped to the box in which the person moves during the trial.
    chosen: positions in `frames`.
    size: side of the square.
    person: what the box's longer side is scaled to, at most `size` (None: `size`); the box keeps
      its aspect and is centred on zeros.
    encode: a name in `ENCODINGS`.
    reach: metres, see `encode_relative`.

  Returns:
    uint8 `[len(chosen), size, size, 3]`.
  """
  if encode not in ENCODINGS:
    raise UserError(f'inputs.depth.encode={encode!r}: not one of {", ".join(ENCODINGS)}')
  depth = np.stack([np.asarray(_open(frames[frame])) for frame in chosen])
  pictures = ENCODINGS[encode](depth, reach)
  height, width = depth.shape[1:3]
  scale = (person or size) / max(height, width)
  height, width = max(round(height * scale), 1), max(round(width * scale), 1)
  top, left = (size - height) // 2, (size - width) // 2
  clip = np.zeros((len(chosen), size, size, 3), np.uint8)
  room = clip[:, top : top + height, left : left + width]
  for i, picture in enumerate(pictures):
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(small)
    for channel in range(3):  # three strided copies are quicker than one broadcast
      room[i, ..., channel] = pixels if pixels.ndim == 2 else pixels[..., channel]
  return clip
