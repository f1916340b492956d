"""What goes wrong with video: light, lens, resolution, what stands before it, frames that fail.

Changes of pictures take one decoded frame, a severity and two generators, the recording's and the
frame's own; changes of timing say which frame each place of a recording shows.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, UnidentifiedImageError

from data_builders import encodings
from data_builders import flow as coding
from har.data import video
from har.data.corrupt.signals import Effect, held
from har.data.depth import decode_depth
from har.errors import UserError


class Codec(NamedTuple):
  """How the frames of a kind of input are opened, and stored again without loss."""

  decode: Callable[[bytes], np.ndarray]
  encode: Callable[[np.ndarray], bytes]


class Film(Sequence[bytes]):
  """Frames of which each is changed when it is asked for.

  Args:
    frames: encoded.
    codec: of their kind.
    rows: int `[T]`, which frame each place shows.
    change: of pictures; None for none.
    severity: of the change.
    seed: of the recording.
  """

  def __init__(
    self,
    frames: Sequence[bytes],
    codec: Codec,
    rows: np.ndarray,
    change: Callable[..., np.ndarray] | None,
    severity: float,
    seed: tuple[int, ...],
  ):
    self._frames, self._codec, self._rows = frames, codec, rows
    self._change, self._severity, self._seed = change, severity, seed

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, i: Any) -> Any:
    frame = self._frames[int(self._rows[i])]
    if self._change is None:
      return frame
    clip_rng = np.random.default_rng(self._seed)
    frame_rng = np.random.default_rng((*self._seed, int(i)))
    picture = self._codec.decode(frame)
    return self._codec.encode(self._change(picture, self._severity, clip_rng, frame_rng))


def dark(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """A share `severity` of the light is left."""
  del clip_rng, frame_rng
  return np.rint(x * severity).astype(x.dtype)


def noise(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Adds white noise with a deviation of `severity` to every value, of 0 to 255."""
  del clip_rng
  return _bytes(x + severity * frame_rng.standard_normal(x.shape, np.float32))


def blur(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Blurs by a Gaussian whose deviation is `severity` of the short side."""
  del clip_rng, frame_rng
  radius = severity * min(x.shape[:2])
  return np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(radius)))


def occlusion(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Something grey (in depth: nothing) of the picture's shape hides a share of it, in one place."""
  del frame_rng
  (height, width), side = x.shape[:2], np.sqrt(severity)
  tall, wide = round(height * side), round(width * side)
  top = int(clip_rng.integers(height - tall + 1))
  left = int(clip_rng.integers(width - wide + 1))
  y = x.copy()
  y[top : top + tall, left : left + wide] = 0 if x.dtype == np.uint16 else 128
  return y


def resolution(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """`severity` pixels along the short side are left; depth takes one pixel of many."""
  del clip_rng, frame_rng
  height, width = x.shape[:2]
  factor = min(severity / min(height, width), 1)
  rows, columns = max(round(height * factor), 1), max(round(width * factor), 1)
  if x.dtype == np.uint16:
    taken = [
      ((np.arange(n) * few // n + 0.5) * n / few).astype(int)
      for n, few in ((height, rows), (width, columns))
    ]
    return x[taken[0]][:, taken[1]]
  small = Image.fromarray(x).resize((columns, rows), Image.Resampling.BOX)
  return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def black(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Nothing is seen, and nobody is told."""
  del severity, clip_rng, frame_rng
  return np.zeros_like(x)


def still(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """A flow in which nothing moves, and nobody is told."""
  del severity, clip_rng, frame_rng
  return np.full_like(x, coding.STILL)


def depth_noise(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Adds white noise with a deviation of `severity` mm where something is seen."""
  del clip_rng
  y = np.rint(x + severity * frame_rng.standard_normal(x.shape, np.float32))
  return np.where(x > 0, np.clip(y, 1, 65535), 0).astype(np.uint16)


def holes(x: np.ndarray, severity: float, clip_rng, frame_rng) -> np.ndarray:
  """Of a share `severity` of the pixels no depth is found."""
  del clip_rng
  return np.where(frame_rng.random(x.shape, np.float32) < severity, 0, x).astype(x.dtype)


def dropped(count: int, severity: float, rate: float, rng: np.random.Generator) -> np.ndarray:
  """A share `severity` of the frames is lost; the last one that came is shown."""
  del rate
  return held(count, severity, rng)


def frozen(count: int, severity: float, rate: float, rng: np.random.Generator) -> np.ndarray:
  """In the last `severity` of a recording the picture stands still."""
  del rate, rng
  return np.minimum(np.arange(count), max(round(count * (1 - severity)) - 1, 0))


def late(count: int, severity: float, rate: float, rng: np.random.Generator) -> np.ndarray:
  """Each frame comes up to `severity` seconds late; of those that came the latest is shown."""
  arrived = np.arange(count) + rng.random(count) * severity * rate
  newest = np.zeros(count, np.int64)
  for i in range(1, count):
    newest[i] = max(np.flatnonzero(arrived[: i + 1] <= i), default=0)
  return newest


def shift(count: int, severity: float, rate: float, rng: np.random.Generator) -> np.ndarray:
  """What was at t seconds is shown at t + `severity`."""
  del rng
  return np.clip(np.arange(count) - round(severity * rate), 0, count - 1)


def _bytes(x: np.ndarray) -> np.ndarray:
  return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _open(mode: str) -> Callable[[bytes], np.ndarray]:
  def decode(frame: bytes) -> np.ndarray:
    try:
      return np.asarray(Image.open(io.BytesIO(frame)).convert(mode))
    except UnidentifiedImageError as error:
      raise UserError(video.NO_IMAGE) from error

  return decode


def _store(x: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(x).save(buffer, 'BMP')  # No time is lost with packing.
  return buffer.getvalue()


CODECS: Mapping[str, Codec] = {
  'frames': Codec(_open('RGB'), _store),
  'flow': Codec(_open('L'), _store),
  'depth': Codec(decode_depth, encodings.pack_depth),
}
"""By kind of input."""

_TIMING: Mapping[str, Effect] = {
  'frozen': Effect(frozen, (0.25, 0.5, 0.75), 'of the recording'),
  'dropped frames': Effect(dropped, (0.25, 0.5, 0.8), 'of all'),
  'late frames': Effect(late, (0.2, 0.5, 1.0), 's at most'),
}
TIMING = frozenset(_TIMING)
"""Names of what changes which frames are shown; the others change what is on them."""
NEEDS_RATE = frozenset({'late frames'})

_COVERED: Mapping[str, Effect] = {
  'occlusion': Effect(occlusion, (0.1, 0.25, 0.5), 'of the picture'),
  'lower resolution': Effect(resolution, (48.0, 24.0, 12.0), 'pixels'),
  'black': Effect(black, (1.0,), ''),
}

FRAMES: Mapping[str, Effect] = {
  'dark': Effect(dark, (0.5, 0.25, 0.1), 'of the light'),
  'noise': Effect(noise, (10.0, 25.0, 50.0), 'of 255'),
  'blur': Effect(blur, (0.01, 0.02, 0.04), 'of the short side'),
  **_COVERED,
  **_TIMING,
}
DEPTH: Mapping[str, Effect] = {
  'noise': Effect(depth_noise, (20.0, 50.0, 150.0), 'mm'),
  'holes': Effect(holes, (0.1, 0.3, 0.6), 'of the pixels'),
  **_COVERED,
  **_TIMING,
}
FLOW: Mapping[str, Effect] = {
  'noise': Effect(noise, (10.0, 25.0, 50.0), 'of 255'),
  'still': Effect(still, (1.0,), ''),
  **_TIMING,
}
