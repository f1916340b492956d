"""Optical flow between the stored frames of a video, as pictures of 8 bits."""

import importlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from har.errors import UserError

BOUND = 20.0
"""Pixels, of the stored size, between two stored frames: a faster motion is cut to that."""
STILL = 128
"""The level that stands for no motion; the highest, 255, for `BOUND`."""
QUALITY = 90
NOTE = (
  f'DIS (medium preset), in pixels cut to {BOUND:g}; x above y in one greyscale JPEG, quality '
  f'{QUALITY}, {STILL} + {255 - STILL} / {BOUND:g} times the pixels'
)


def estimator() -> Any:
  """OpenCV's DIS (Kroeger et al., ECCV 2016), medium preset.

  Raises:
    UserError: OpenCV is not installed.
  """
  try:
    cv2: Any = importlib.import_module('cv2')  # Whose types leave its functions out.
  except ImportError as error:
    raise UserError('flow needs OpenCV: pip install -r requirements-flow.txt') from error
  opencv: Any = cv2  # Its types lack much of it.
  opencv.setNumThreads(1)  # Videos are what is worked on in parallel.
  return opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)


def encode(frames: Sequence[bytes], apart: int = 1) -> list[bytes]:
  """The flow from each frame to the one `apart` later.

  Args:
    frames: two or more JPEG pictures of one size, `[H, W]`.
    apart: at least 1; in a shorter clip the flow is to its last frame.

  Returns:
    As many greyscale JPEG pictures `[2 H, W]`, see `NOTE`; frames that none is so much later than
    have the last flow there is.

  Raises:
    UserError: as `estimator`.
  """
  dis, shown = estimator(), [grey(frame) for frame in frames]
  apart = min(apart, len(shown) - 1)
  found = [pack(dis.calc(a, b, None)) for a, b in zip(shown[:-apart], shown[apart:], strict=True)]
  return found + found[-1:] * apart


def pack(flow: np.ndarray) -> bytes:
  """Float `[H, W, 2]`, pixels along x and y, as a picture; see `NOTE`."""
  levels = np.rint(STILL + np.clip(flow, -BOUND, BOUND) * ((255 - STILL) / BOUND)).astype(np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(np.concatenate([levels[..., 0], levels[..., 1]])).save(
    buffer, 'JPEG', quality=QUALITY
  )
  return buffer.getvalue()


def grey(frame: bytes) -> np.ndarray:
  """A JPEG picture as flow is computed from it, uint8 `[H, W]`."""
  return np.asarray(Image.open(io.BytesIO(frame)).convert('L'))
