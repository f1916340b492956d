"""The steps of a description's preprocessing in NumPy: from a window's rows to what a file takes.

Each function is one operation of `Input.steps` in har/data; har/export/README.md has the words.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from har.data import sensors, video
from har.errors import UserError

Step = Mapping[str, Any]


@dataclasses.dataclass
class Clip:
  """A window on its way.

  Attributes:
    x: a signal float32 `[T, C]`; or pictures uint8 `[N, S, S, C]`, cut to squares as they came.
    heard: bool, false where nothing was recorded: `[T]`, of several sensors `[T, S]`.
    mask: bool `[T]`, what enters the model as the mask.
    recorded: bool, false on what `mask` blanks: `[T, 1]` or `[T, C]`.
    chosen: int `[T]` or `[T, K]`, rows of `x` that are used; None: all.
  """

  x: np.ndarray
  heard: np.ndarray
  mask: np.ndarray | None = None
  recorded: np.ndarray | None = None
  chosen: np.ndarray | None = None


def run(clip: Clip, steps: Sequence[Step]) -> Clip:
  """Takes the steps in turn; `clip.x` is then what enters the model, float32 `[T, ...]`.

  Raises:
    UserError: a step that is not known here.
  """
  for one in steps:
    if one['operation'] not in OPERATIONS:
      raise UserError(
        f'the step {one["operation"]} of the preprocessing is not known here: {one.get("how")}'
      )
    OPERATIONS[one['operation']](clip, one)
  return clip


def _resample(clip: Clip, step: Step) -> None:
  clip.x, clip.mask = sensors.resample(clip.x, step['length'])
  clip.recorded = clip.mask[:, None]


def _pad(clip: Clip, step: Step) -> None:
  clip.x, clip.mask = sensors.pad(clip.x, step['length'])
  clip.recorded = clip.mask[:, None]


def _smooth(clip: Clip, step: Step) -> None:
  heard = clip.heard.reshape(len(clip.x), -1)
  clip.x = sensors.smooth(clip.x, heard, step['rates'], step['seconds'])


def _fit_sensors(clip: Clip, step: Step) -> None:
  how = step['operation'].removesuffix('_sensors')
  heard = clip.heard.reshape(len(clip.x), -1)
  clip.x, streams = sensors.fit_streams(
    clip.x, heard, step['length'], how, step['rates'], step['rate']
  )
  last = np.flatnonzero(streams.any(1))[-1:]
  clip.mask = np.arange(step['length']) <= (last[0] if len(last) else -1)
  clip.recorded = np.repeat(streams, clip.x.shape[1] // streams.shape[1], 1)


def _normalise(clip: Clip, step: Step) -> None:
  mean, std = (np.asarray(step[name], np.float32) for name in ('mean', 'std'))
  clip.x = (np.asarray(clip.x, np.float32) - mean) / std


def _mask(clip: Clip, step: Step) -> None:
  del step
  assert clip.recorded is not None
  clip.x = np.where(clip.recorded, clip.x, np.float32(0))


def _choose_frames(clip: Clip, step: Step) -> None:
  clip.chosen = video.choose_frames(len(clip.x), step['count'])


def _neighbours(clip: Clip, step: Step) -> None:
  assert clip.chosen is not None
  clip.chosen = video.with_neighbours(clip.chosen, len(clip.x), step['apart'])


def _as_it_came(clip: Clip, step: Step) -> None:
  """What has been done to every frame when it came."""


def _stack(clip: Clip, step: Step) -> None:
  assert clip.chosen is not None
  later = step['apart'] * np.arange(step['stack'])
  places = np.minimum(clip.chosen[:, None] + later, len(clip.x) - 1)
  clip.x = np.concatenate([clip.x[column] for column in places.T], -1)
  clip.chosen = None


def _square(clip: Clip, step: Step) -> None:
  """Every frame has been cut to its square when it came."""
  del step
  if clip.chosen is None:
    return
  pictures = clip.x[clip.chosen.ravel()]
  clip.x = pictures if clip.chosen.ndim == 1 else video.as_channels(pictures)


def _crop_centre(clip: Clip, step: Step) -> None:
  size = step['size']
  start = (clip.x.shape[1] - size) // 2
  clip.x = clip.x[:, start : start + size, start : start + size] / np.float32(255)


def _motion(clip: Clip, step: Step) -> None:
  del step
  before, now, after = (clip.x[..., i] for i in range(3))
  half = np.float32(0.5)
  clip.x = np.stack([now, half + after - now, half + now - before], -1)


def _length(clip: Clip, step: Step) -> None:
  still = step['still'] / np.float32(255)
  away = np.linalg.norm(clip.x - still, axis=-1, keepdims=True)
  clip.x = np.concatenate([clip.x, np.minimum(still + away, np.float32(1))], -1)


OPERATIONS: dict[str, Callable[[Clip, Step], None]] = {
  'resample': _resample,
  'pad': _pad,
  'smooth': _smooth,
  'resample_sensors': _fit_sensors,
  'pad_sensors': _fit_sensors,
  'normalise': _normalise,
  'mask': _mask,
  'choose_frames': _choose_frames,
  'neighbours': _neighbours,
  'square': _square,
  'whole': _square,
  'crop_centre': _crop_centre,
  'motion': _motion,
  'flow': _as_it_came,
  'levels': _as_it_came,
  'stack': _stack,
  'length': _length,
}
