"""Clips: frames are chosen first, and only those are decoded, cropped and resized."""

import io
from collections.abc import Sequence

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


NO_IMAGE = 'a prepared frame is not an image; prepare the dataset again'


def open_rgb(frame: bytes, size: int) -> Image.Image:
  """Opens an image whose short side will be reduced to `size` pixels, and does not decode it yet.

  JPEG will be decoded at a half, a quarter or an eighth of its size, never below the target.
  """
  try:
    image = Image.open(io.BytesIO(frame))
  except UnidentifiedImageError as error:
    raise UserError(NO_IMAGE) from error
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


REGIONS = ('centre', 'whole')
"""What becomes a square: the largest one in the middle of the picture, or all of it, squeezed."""


def box(width: int, height: int, region: str) -> tuple[float, float, float, float]:
  """Left, top, right and bottom of one of `REGIONS`, in pixels."""
  if region == 'whole':
    return 0, 0, width, height
  side = min(width, height)
  left, top = (width - side) / 2, (height - side) / 2
  return left, top, left + side, top + side


def square(image: Image.Image, size: int, region: str = 'centre') -> np.ndarray:
  """A picture, or its middle, as one of `REGIONS`, scaled: uint8 `[size, size, 3]`."""
  part = box(*image.size, region)
  if image.mode != 'RGB':
    image = image.convert('RGB')
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=part))


def rgb_clip(
  frames: Sequence[bytes], chosen: np.ndarray, size: int, region: str = 'centre'
) -> np.ndarray:
  """Decodes the chosen frames as squares.

  Args:
    frames: encoded images (JPEG or PNG).
    chosen: positions in `frames`: `[T]`, or `[T, 3]` if each three become channels of one frame.
    size: side of the square.
    region: one of `REGIONS`.

  Returns:
    uint8 `[T, size, size, 3]`.
  """
  clip = np.empty((chosen.size, size, size, 3), np.uint8)
  first: dict[int, int] = {}
  for i, frame in enumerate(chosen.ravel().tolist()):
    if first.setdefault(frame, i) < i:
      clip[i] = clip[first[frame]]
      continue
    clip[i] = square(open_rgb(frames[frame], size), size, region)
  return clip if chosen.ndim == 1 else as_channels(clip)


def flow_clip(
  flows: Sequence[bytes], chosen: np.ndarray, size: int, region: str = 'centre'
) -> np.ndarray:
  """Decodes the chosen flows as squares.

  Scaling leaves the values, which stay pixels of the stored size.

  Args:
    flows: greyscale pictures `[2 H, W]`, as `data_builders.flow.pack` makes them.
    chosen: int `[T, L]`, positions in `flows`.
    size: side of the square.
    region: one of `REGIONS`.

  Returns:
    uint8 `[T, size, size, 2 L]`, x and y of each of the L in turn.

  Raises:
    UserError: a flow is no picture.
  """
  decoded = {}
  for i in dict.fromkeys(chosen.ravel().tolist()):
    try:
      both = Image.open(io.BytesIO(flows[i])).convert('L')
    except UnidentifiedImageError as error:
      raise UserError(NO_IMAGE) from error
    width, height = both.width, both.height // 2
    left, top, right, bottom = box(width, height, region)
    pair = np.empty((size, size, 2), np.uint8)
    for axis in range(2):
      y = axis * height
      part = (left, top + y, right, bottom + y)
      small = both.resize((size, size), Image.Resampling.BILINEAR, box=part)
      pair[..., axis] = np.asarray(small)
    decoded[i] = pair
  return np.stack([np.concatenate([decoded[i] for i in row], -1) for row in chosen.tolist()])
