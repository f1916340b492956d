"""Sequences of samples (IMU, skeleton) brought to a fixed length, with a mask of real samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from har.data.steps import step
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


def check_resampling(options: Mapping[str, Any], where: str, lengths: Mapping[str, int]) -> str:
  """Checks that `resample` makes no recording into something else.

  Squeezed, a recording loses what is faster than the samples that are left can show; stretched, it
  has nothing new to show, which is a waste and no error.

  Args:
    options: `length`, `fit` and `most_resampling`.
    where: the section of the config.
    lengths: rows of each recording by key; those of 0 rows are lacking.

  Returns:
    A warning where more than `most_resampling` samples are made of one; empty if there is none.

  Raises:
    UserError: more than `most_resampling` samples become one.
  """
  length, most = options['length'], options['most_resampling']
  lengths = {key: count for key, count in lengths.items() if count}
  if options['fit'] != 'resample' or not lengths:
    return ''
  longest, shortest = (pick(lengths, key=lambda key: lengths[key]) for pick in (max, min))
  text = (
    f"{where}: fit='resample' {{}} the {{}} samples of {{}} into length={length}, {{:.3g}} times"
  )
  if (factor := lengths[longest] / length) > most:
    raise UserError(
      text.format('squeezes', lengths[longest], longest, factor)
      + ': cut windows (config.dataset.windows.seconds), choose a greater length, or raise '
      f'{where}.most_resampling={most:g}'
    )
  if (factor := length / lengths[shortest]) > most:
    return text.format('stretches', lengths[shortest], shortest, factor)
  return ''


def stride(count: int, length: int, how: str) -> float:
  """Recorded samples from one sample to the next once `fit` has brought `count` to `length`."""
  return max(count - 1, 1) / max(length - 1, 1) if how == 'resample' else 1.0


def _read_at(x: np.ndarray, mask: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Linear interpolation at float rows, true where all that goes into it is."""
  at = np.minimum(at, len(x) - 1)
  left = at.astype(np.int64)
  right = np.minimum(left + 1, len(x) - 1)
  weight = (at - left).astype(np.float32)
  heard = mask[left] & (mask[right] | (weight == 0))
  y = x[left] * (1 - weight[:, None]) + x[right] * weight[:, None]
  return np.where(heard[:, None], y, 0).astype(np.float32), heard


def smooth(x: np.ndarray, mask: np.ndarray, rates: Sequence[float], seconds: float) -> np.ndarray:
  """Averages each sensor's samples, weighted by a Hann window of `seconds` around each.

  Args:
    x: as `fit_streams` takes it.
    mask: likewise; what was not recorded has no weight.
    rates: samples a second of each sensor.
    seconds: length of the window; what is faster than about 2 / `seconds` Hz is gone.

  Returns:
    float32 `[T, C]`.
  """
  width, y = x.shape[1] // len(rates), np.zeros(x.shape, np.float32)
  for s, rate in enumerate(rates):
    reach = int(seconds * rate / 2)
    weights = np.cos(np.pi * np.arange(-reach, reach + 1) / (seconds * rate)) ** 2
    heard = mask[:, s].astype(np.float64)
    total = np.convolve(heard, weights)[reach : reach + len(x)]
    for c in range(s * width, (s + 1) * width):
      sums = np.convolve(x[:, c] * heard, weights)[reach : reach + len(x)]
      y[:, c] = np.where(mask[:, s], sums / np.maximum(total, 1e-9), 0)
  return y


def fit_streams(
  x: np.ndarray, mask: np.ndarray, length: int, how: str, rates: Sequence[float], rate: float = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Brings several sensors, each stored at its own rate from a common instant on, to one length.

  Args:
    x: `[T, C]`, C / S channels for each of S sensors in turn; row i of sensor s is i / rates[s]
      seconds after the start, and T rows at the highest rate are the duration.
    mask: bool `[T, S]`, false where a sensor was silent, throughout for one that is absent. T may
      be 0: none was there.
    length: samples to return.
    how: 'resample' for `length` instants, the same for all sensors, over the whole duration; 'pad'
      for zeros after what is short, and the middle of what is long.
    rates: samples a second of each sensor.
    rate: with 'pad', one rate for all; 0 for their own.

  Returns:
    float32 `[length, C]`, zero where the mask, bool `[length, S]`, is false.
  """
  if how not in FITS:
    raise UserError(f'fit={how!r}: not one of {", ".join(FITS)}')
  width = x.shape[1] // len(rates)
  signal = np.zeros((length, len(rates), width), np.float32)
  heard = np.zeros((length, len(rates)), bool)
  duration = (len(x) - 1) / max(rates)
  for s, own in enumerate(rates):
    if not mask[:, s].any():
      continue
    # A hair more, so that a whole number of samples stays one.
    count = int(duration * own + 1e-6) + 1
    part, silence = x[:count, s * width : (s + 1) * width], mask[:count, s]
    if how == 'resample':
      part, silence = _read_at(part, silence, np.linspace(0, duration * own, length))
    elif rate:
      at = np.arange(int(duration * rate + 1e-6) + 1) * (own / rate)
      part, silence = _read_at(part, silence, at)
    start = max(len(part) - length, 0) // 2
    kept = slice(start, start + length)
    signal[: len(part[kept]), s], heard[: len(part[kept]), s] = part[kept], silence[kept]
  return signal.reshape(length, -1), heard


def smooth_step(seconds: float, rates: Sequence[float]) -> dict[str, Any]:
  """`smooth` as a step of the preprocessing."""
  how = (
    'each sample becomes the mean of those of its sensor that are recorded and within seconds / 2 '
    'of it, at d seconds of it weighted by cos(pi d / seconds)^2'
  )
  return step('smooth', how, seconds=seconds, rates=list(rates))


def fit_step(length: int, how: str, rates: Sequence[float] = (), rate: float = 0) -> dict[str, Any]:
  """`fit`, or with `rates` `fit_streams`, as a step of the preprocessing."""
  if how == 'resample':
    text = (
      'linear interpolation at `length` instants, evenly spaced from the first recorded sample to '
      'the last; the mask is 1 throughout'
    )
  else:
    text = (
      'of N recorded samples, if there are more than `length`, those from (N - length) // 2 on; if '
      'fewer, zeros after them, where the mask is 0'
    )
  if not rates:
    return step(how, text, length=length)
  text = (
    'channels are those of len(rates) sensors in turn, each recorded at its own rate from one '
    'instant on; for each sensor: ' + text + '; zero where the sensor was silent'
  )
  if rate:
    text += '; before that, each by linear interpolation at `rate` samples a second'
  return step(f'{how}_sensors', text, length=length, rates=list(rates), rate=rate)
