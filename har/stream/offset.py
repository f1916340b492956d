"""How far a recording's IMU and video are apart, by when there is motion in each.

Both become a curve of motion over time, and the lag is told at which they look most alike. Nothing
is shifted by it: that is for a person to decide.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

RATE = 25.0
"""Instants a second at which motion is looked at."""
MOST = 2.0
"""Seconds of offset, either way, that are looked for."""
HARMLESS = 0.25
"""Seconds that harm no model much, unless it has been measured."""
FINEST = 0.1
"""Seconds that are not told from none."""
SURE = 0.5
"""The confidence from which an offset is one."""
_SMOOTH = 0.3  # Seconds of the window that motion is averaged over.
_APART = 0.4  # Seconds within which two lags are one peak.
_LEAST_OVERLAP = 0.6  # Of the shorter recording.
_SIZE = 64, 48
_TURNING = ('deg/s', 'rad/s', '°/s')


@dataclasses.dataclass(frozen=True)
class Offset:
  """An estimate.

  Attributes:
    seconds: what happens at t in the video is in the IMU at t + `seconds`: positive if the IMU is
      late.
    confidence: 0 to 1, the correlation times how far it stands out from that of the next best lag.
    correlation: of the two curves at that lag, -1 to 1.
  """

  seconds: float
  confidence: float
  correlation: float

  @property
  def known(self) -> bool:
    """Whether the two recordings say enough of each other."""
    return self.confidence >= SURE

  def plain(self, harmless: float) -> dict[str, Any]:
    """For JSON, with whether it is more than `harmless` seconds."""
    return {
      'seconds': round(self.seconds, 3),
      'confidence': round(self.confidence, 3),
      'correlation': round(self.correlation, 3),
      'harmless': harmless,
      'exceeds': bool(self.known and abs(self.seconds) > harmless),
    }

  def text(self, harmless: float) -> str:
    """A sentence."""
    if not self.known:
      return f'the offset of IMU and video cannot be told (confidence {self.confidence:.2f})'
    side = 'late' if self.seconds > 0 else 'early'
    text = f'the IMU is {abs(self.seconds):.2f} s {side} (confidence {self.confidence:.2f})'
    if abs(self.seconds) <= harmless:
      return f'{text}, which does no harm'
    return f'{text}: more than the {harmless:g} s that do no harm; bring the recordings together'


class Motion:
  """The motion of two sources as they come; see `har.stream.recordings.Item`.

  Args:
    units: of each channel of the IMU.
    sensors: whose samples come by themselves; 1 if all channels come together.
  """

  def __init__(self, units: Sequence[str], sensors: int = 1):
    turning = np.array([unit.casefold() in _TURNING for unit in units])
    own = turning.reshape(sensors, -1)
    self._sensor = int(own.any(1).argmax()) if sensors > 1 else None
    self._turning = own[self._sensor or 0]
    self._samples: list[tuple[float, np.ndarray]] = []
    self._frames: list[tuple[float, float]] = []
    self._last: np.ndarray | None = None

  def push(self, item: Any) -> None:
    """Takes a sample `[C]`, or a frame as PyAV gives it."""
    if item.source == 'imu':
      if item.sensor == self._sensor:
        self._samples.append((item.time, np.asarray(item.value, np.float64)))
      return
    width, height = _SIZE
    picture = item.value.reformat(width=width, height=height, format='gray').to_ndarray()
    picture = picture.astype(np.float32)
    if self._last is not None:
      self._frames.append((item.time, float(np.abs(picture - self._last).mean())))
    self._last = picture

  def estimate(self) -> Offset | None:
    """None if there are not both, or too short."""
    if len(self._samples) < 2 or len(self._frames) < 2:
      return None
    times, values = zip(*self._samples, strict=True)
    imu = curve(times, motion_of_samples(np.stack(values), self._turning))
    times, motion = zip(*self._frames, strict=True)
    return estimate(imu, curve(times, np.array(motion)))


def motion_of_samples(x: np.ndarray, turning: np.ndarray) -> np.ndarray:
  """How much an IMU moves at each sample, float `[T]`.

  How fast it turns; where nothing tells that, how much the first sensor's sample differs from the
  one before.

  Args:
    x: `[T, C]`.
    turning: bool `[C]`, which channels are a gyroscope's.
  """
  if turning.any():
    return np.linalg.norm(x[:, turning], axis=1)
  first = x[:, :3]
  return np.linalg.norm(np.diff(first, axis=0, prepend=first[:1]), axis=1)


def motion_of_frames(frames: np.ndarray) -> np.ndarray:
  """How much changes from the frame before to each, float `[T - 1]`, of pictures `[T, H, W]`."""
  return np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2))


def curve(times: Sequence[float], motion: np.ndarray) -> np.ndarray:
  """Motion at `RATE`, smoothed, float `[N]`, from second 0 on; before the first time it is NaN."""
  grid = np.arange(int(times[-1] * RATE) + 1) / RATE
  values = np.interp(grid, np.asarray(times, np.float64), motion)
  reach = int(_SMOOTH * RATE / 2)
  window = np.cos(np.pi * np.arange(-reach, reach + 1) / (_SMOOTH * RATE)) ** 2
  weight = np.convolve(np.ones(len(values)), window, 'same')
  if len(values) > len(window):
    values = np.convolve(values, window, 'same') / weight
  return np.where(grid < times[0], np.nan, np.sqrt(np.maximum(values, 0)))


def estimate(imu: np.ndarray, video: np.ndarray, most: float = MOST) -> Offset | None:
  """The lag at which two curves of motion are most alike.

  Args:
    imu: as `curve` gives it.
    video: likewise, from the same instant on.
    most: seconds of lag, either way.

  Returns:
    An estimate; None if the curves are shorter than a second, or one of them shows no motion.
  """
  if min(len(imu), len(video)) < RATE:
    return None
  reach = int(most * RATE)
  lags = np.arange(-reach, reach + 1)
  found = np.array([_alike(imu, video, int(lag)) for lag in lags])
  if np.isnan(found).all():
    return None
  found = np.where(np.isnan(found), -1.0, found)
  best = int(found.argmax())
  peaks = _peaks(found)
  others = peaks[np.abs(lags[peaks] - lags[best]) > _APART * RATE]
  second = float(found[others].max()) if len(others) else 0.0
  height = float(found[best])
  prominence = (height - max(second, 0.0)) / height if height > 0 else 0.0
  confidence = max(height, 0.0) * min(2 * prominence, 1.0) ** 0.5
  return Offset(float(lags[best] + _vertex(found, best)) / RATE, confidence, height)


def _alike(imu: np.ndarray, video: np.ndarray, lag: int) -> float:
  """The correlation of the video with the IMU `lag` instants later; NaN if too little overlaps."""
  a, b = imu[max(lag, 0) :], video[max(-lag, 0) :]
  count = min(len(a), len(b))
  a, b = a[:count], b[:count]
  both = ~np.isnan(a) & ~np.isnan(b)
  if both.sum() < _LEAST_OVERLAP * min(len(imu), len(video)):
    return np.nan
  a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
  norm = np.sqrt((a**2).sum() * (b**2).sum())
  return float((a * b).sum() / norm) if norm > 0 else np.nan


def _peaks(x: np.ndarray) -> np.ndarray:
  """Places that are no lower than both neighbours."""
  padded = np.concatenate([[-np.inf], x, [-np.inf]])
  return np.flatnonzero((x >= padded[:-2]) & (x >= padded[2:]))


def _vertex(x: np.ndarray, at: int) -> float:
  """Where, from `at` on, a parabola through it and its neighbours is highest."""
  if not 0 < at < len(x) - 1:
    return 0.0
  before, here, after = x[at - 1 : at + 2]
  bend = before - 2 * here + after
  return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
