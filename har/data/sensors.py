"""Sequences of samples (IMU, skeleton) brought to a fixed length, with a mask of real samples."""

import numpy as np

from har.errors import UserError


def resample(x: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Interpolates the whole trial linearly at `length` evenly spaced instants.

  Args:
    x: `[T, ...]`, T at least 1.
    length: samples to return, first and last at the trial's ends.

  Returns:
    float32 `[length, ...]` and a mask bool `[length]`, all true.
  """
  position = np.linspace(0, len(x) - 1, length)
  left = np.minimum(position.astype(np.int64), max(len(x) - 2, 0))
  right = np.minimum(left + 1, len(x) - 1)
  weight = (position - left).astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1))
  y = x[left] * (1 - weight) + x[right] * weight
  return y.astype(np.float32), np.ones(length, bool)


def pad(x: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Keeps the trial's own rate: zeros after a short trial, the middle of a long one.

  Args:
    x: `[T, ...]`.
    length: samples to return.

  Returns:
    float32 `[length, ...]` and a mask bool `[length]`, false on the zeros.
  """
  start = max(len(x) - length, 0) // 2
  kept = x[start : start + length]
  y = np.zeros((length, *x.shape[1:]), np.float32)
  y[: len(kept)] = kept
  return y, np.arange(length) < len(kept)


FITS = {'resample': resample, 'pad': pad}


def fit(x: np.ndarray, length: int, how: str) -> tuple[np.ndarray, np.ndarray]:
  """Applies `resample` or `pad`, chosen by name."""
  if how not in FITS:
    raise UserError(f'fit={how!r}: not one of {", ".join(FITS)}')
  return FITS[how](x, length)
