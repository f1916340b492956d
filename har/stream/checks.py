"""Whether a recording is such as the model learnt from: channels, units, rate."""

from collections.abc import Sequence

import numpy as np

from har.errors import UserError

GRAVITY = {'g': 1.0, 'm/s^2': 9.80665, 'm/s2': 9.80665, 'm/s²': 9.80665}
"""What an accelerometer that is held still shows, by unit."""
_NEAR = 2.0  # Times gravity, or a half of it: what daily life has as its median.
_SLOWEST, _FASTEST = 0.5, 5.0  # Times the model's rate.
_FEW = 8  # Samples that tell nothing.

Channels = Sequence[tuple[str, str]]


def check_rate(measured: float, wanted: float, where: str) -> str:
  """A note on a rate that will be brought to the model's; empty if it is the model's.

  Raises:
    UserError: it is too low, or so high that the stamps must be of another unit.
  """
  ratio = measured / wanted
  if not _SLOWEST <= ratio <= _FASTEST:
    raise UserError(
      f'{where}: has {measured:.4g} samples or frames a second, and the model takes {wanted:g}; '
      'give another recording, or --rate or --time_unit if its rate or stamps are misread'
    )
  if 0.95 <= ratio <= 1.05:
    return ''
  return f'{where}: {measured:.4g} samples or frames a second, brought to {wanted:g}'


def check_width(width: int, channels: Channels, where: str) -> None:
  """Raises UserError unless samples have the model's channels."""
  if width != len(channels):
    names = ', '.join(name for name, _ in channels)
    raise UserError(
      f'{where}: has {width} channels, and the model takes {len(channels)} ({names}), besides a '
      'first column with the time'
    )


def check_units(units: Sequence[str], channels: Channels, where: str) -> None:
  """Raises UserError if a header gives a channel in another unit than the model's."""
  for unit, (name, wanted) in zip(units, channels, strict=True):
    if unit and wanted and _plain(unit) != _plain(wanted):
      raise UserError(
        f'{where}: gives {name} in {unit}, and the model takes {wanted}; convert the recording'
      )


def _plain(unit: str) -> str:
  return unit.strip().lower().replace('²', '2').replace('^', '').replace('°', 'deg')


def check_gravity(samples: np.ndarray, channels: Channels, where: str) -> str:
  """Tells units of acceleration by gravity's magnitude.

  Args:
    samples: `[T, C]`, some seconds of them or more.
    channels: name and unit of each, as the model takes them.
    where: how to name the recording.

  Returns:
    A note if gravity is in none of the known units; empty if all is well or nothing can be told.

  Raises:
    UserError: its median magnitude is that of another unit.
  """
  for first in _accelerometers(channels):
    unit = channels[first][1]
    still = float(np.median(np.linalg.norm(samples[:, first : first + 3], axis=1)))
    if len(samples) < _FEW or 1 / _NEAR <= still / GRAVITY[unit] <= _NEAR:
      continue
    name = channels[first][0]
    told = f'{where}: {name} and the two after it have a median magnitude of {still:.3g}'
    for other, gravity in GRAVITY.items():
      if 1 / _NEAR <= still / gravity <= _NEAR:
        raise UserError(
          f'{told}, which is gravity in {other}, and the model takes {unit}; convert the recording '
          f'(1 g is 9.80665 m/s^2)'
        )
    return f'{told}, which is gravity neither in g nor in m/s^2; the model takes {unit}'
  return ''


def _accelerometers(channels: Channels) -> list[int]:
  """The first of each three channels in a unit of acceleration."""
  found, i = [], 0
  while i + 2 < len(channels):
    units = {unit for _, unit in channels[i : i + 3]}
    if len(units) == 1 and units <= GRAVITY.keys():
      found.append(i)
      i += 3
    else:
      i += 1
  return found
