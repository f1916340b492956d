"""What goes wrong with sequences of samples: noise, mounting, loss, clocks.

Every function takes `Samples`, a severity and a generator, and gives `Samples` of as many rows;
what was silent stays so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_ANGLES = ('deg', 'rad', 'degrees', 'radians')
_LOOKED_AT = 100  # recordings


class Sensor(NamedTuple):
  """What is known of a field's samples.

  Attributes:
    rates: samples a second: one number, or one of each of S sensors whose channels follow each
      other; empty if it is not known.
    spread: float `[C]`, of training recordings: the root mean square of each sensor's deviation
      from a recording's mean (for x, y and z alike), in its unit.
    most: float `[C]`, likewise the highest magnitude of a sample.
    turns: bool `[C]`, false for channels that a turned housing does not mix, such as angles.
  """

  rates: tuple[float, ...]
  spread: np.ndarray
  most: np.ndarray
  turns: np.ndarray


class Samples(NamedTuple):
  """A recording.

  Attributes:
    x: float32 `[T, C]`, or `[T, J, 3]`.
    mask: bool `[T, S]`, false where one of S sensors was silent; None if none ever is.
    sensor: see `Sensor`.
  """

  x: np.ndarray
  mask: np.ndarray | None
  sensor: Sensor

  def with_values(self, x: np.ndarray) -> 'Samples':
    """Others, which stay zero where a sensor is silent."""
    if self.mask is not None:
      x = np.where(np.repeat(self.mask, x.shape[1] // self.mask.shape[1], 1), x, 0)
    return self._replace(x=x.astype(np.float32))

  def at(self, rows: np.ndarray) -> 'Samples':
    """In place of each row another one, int `[T]`."""
    return self._replace(x=self.x[rows], mask=None if self.mask is None else self.mask[rows])


Change = Callable[[Samples, float, np.random.Generator], Samples]


def sensor_of(
  records: Any,
  positions: Sequence[int] | np.ndarray,
  field: str,
  rates: Sequence[float],
  units: Sequence[str],
) -> Sensor:
  """Looks at up to 100 recordings, spread over those of training.

  Args:
    records: random access.
    positions: of recordings, at least one.
    field: `[T, C]` or `[T, J, 3]`; the latter are positions, whose severities are in their unit.
    rates: see `Sensor`.
    units: of each channel; may be empty.
  """
  chosen = np.unique(np.linspace(0, len(positions) - 1, _LOOKED_AT).round().astype(int))
  squares, most, rows = 0.0, 0.0, 0
  for i in np.asarray(positions)[chosen].tolist():
    x = records[i][field]
    if not len(x) or x.ndim > 2:
      continue
    heard = x.any(1)  # What is silent is zero.
    x = np.asarray(x[heard], np.float64)
    squares += np.square(x - x.mean(0)).sum(0) if len(x) else 0.0
    most = np.maximum(most, np.abs(x).max(0)) if len(x) else most
    rows += len(x)
  if not rows:  # Positions of joints, or nothing at all.
    return Sensor(tuple(rates), np.ones(1), np.ones(1), np.ones(1, bool))
  channels = len(np.atleast_1d(squares))
  width = 3 if channels % 3 == 0 else channels
  triples = np.reshape(squares, (-1, width)).mean(1) / rows
  turns = np.full(channels, channels % 3 == 0)
  if len(units) == channels:
    turns &= ~np.isin([unit.casefold() for unit in units], _ANGLES)
  return Sensor(
    tuple(rates),
    np.repeat(np.sqrt(triples), width),
    np.repeat(np.reshape(most, (-1, width)).max(1), width),
    turns,
  )


def noise(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Adds white noise of `severity` times the sensor's spread."""
  return one.with_values(one.x + severity * one.sensor.spread * rng.standard_normal(one.x.shape))


def bias(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Adds a constant of `severity` times the sensor's spread, in a random direction."""
  direction = rng.standard_normal((one.x.shape[1] // 3 or 1, min(one.x.shape[1], 3)))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  offset = np.resize(direction.ravel(), one.x.shape[1])
  return one.with_values(one.x + severity * one.sensor.spread * offset)


def scale(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Multiplies all samples by `severity`."""
  del rng
  return one.with_values(one.x * severity)


def rotation(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Turns the housing by `severity` degrees about a random axis (Rodrigues' formula)."""
  x, y, z = axis = rng.standard_normal(3)
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / np.linalg.norm(axis)
  angle = np.deg2rad(severity)
  matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
  if not one.sensor.turns.any():
    return one
  turned = (one.x.reshape(len(one.x), -1, 3) @ matrix.T).reshape(one.x.shape)
  return one.with_values(np.where(one.sensor.turns, turned, one.x))


def clipped(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Cuts off what is beyond `severity` times the sensor's highest magnitude."""
  del rng
  most = severity * one.sensor.most
  return one.with_values(np.clip(one.x, -most, most))


def silent(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """`severity` axes of the first sensor give zeros, which ones is drawn."""
  x = one.x.copy()
  x[:, rng.permutation(min(x.shape[1], 3))[: int(severity)]] = 0
  return one._replace(x=x)


def dead(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """All channels give zeros, and nobody is told."""
  del severity, rng
  return one._replace(x=np.zeros_like(one.x))


def dropped(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """A share `severity` of the samples is lost; the last one that came is held."""
  return one.at(held(len(one.x), severity, rng))


def lower_rate(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """Each `severity`-th sample is taken; between them it is interpolated linearly."""
  del rng
  every, rows = int(severity), np.arange(len(one.x))
  left = rows // every * every
  right = np.minimum(left + every, len(rows) - 1)
  weight = ((rows - left) / every * (right > left)).reshape(-1, *(1,) * (one.x.ndim - 1))
  if one.mask is not None:  # Beside silence the last sample is held.
    both = one.mask[left] & one.mask[right]
    weight = weight * np.repeat(both, one.x.shape[1] // both.shape[1], 1)
  taken = one.at(left)
  return taken.with_values(taken.x * (1 - weight) + one.x[right] * weight)


def shift(one: Samples, severity: float, rng: np.random.Generator) -> Samples:
  """What was at t seconds comes at t + `severity`; needs rates.

  What is not known then is what came first, or last; where there is a mask, silence.
  """
  del rng
  rows, (first, *others) = np.arange(len(one.x)), one.sensor.rates
  if one.mask is None:
    return one.at(np.clip(rows - round(severity * first), 0, len(rows) - 1))
  x, mask = np.zeros_like(one.x), np.zeros_like(one.mask)
  width = x.shape[1] // mask.shape[1]
  for s, rate in enumerate((first, *others)):
    source = rows - round(severity * rate)
    inside = (source >= 0) & (source < len(rows))
    columns = slice(s * width, (s + 1) * width)
    x[inside, columns] = one.x[source[inside], columns]
    mask[inside, s] = one.mask[source[inside], s]
  return Samples(x, mask, one.sensor)


def held(count: int, share: float, rng: np.random.Generator) -> np.ndarray:
  """Of each of `count` rows the last one that was not lost, int64; the first one never is."""
  came = rng.random(count) >= share
  return np.maximum.accumulate(np.where(came, np.arange(count), 0))


class Effect(NamedTuple):
  """One kind of corruption.

  Attributes:
    change: a `Change`, or one of `pictures`.
    severities: mildest first.
    unit: of severities, in words.
  """

  change: Callable[..., Any]
  severities: tuple[float, ...]
  unit: str


SIGNAL: Mapping[str, Effect] = {
  'noise': Effect(noise, (0.1, 0.3, 1.0), 'of the spread'),
  'bias': Effect(bias, (0.1, 0.3, 1.0), 'of the spread'),
  'scale': Effect(scale, (0.5, 0.8, 1.25, 2.0), 'times'),
  'rotation': Effect(rotation, (15.0, 45.0, 90.0), 'degrees'),
  'dropped samples': Effect(dropped, (0.1, 0.3, 0.6), 'of all'),
  'lower rate': Effect(lower_rate, (2.0, 4.0, 8.0), 'times lower'),
  'clipped range': Effect(clipped, (0.5, 0.25, 0.1), 'of the highest'),
  'silent axis': Effect(silent, (1.0, 2.0, 3.0), 'axes'),
  'dead': Effect(dead, (1.0,), ''),
}
SKELETON: Mapping[str, Effect] = {
  'noise': Effect(noise, (0.01, 0.03, 0.1), 'm'),
  'dropped frames': Effect(dropped, (0.1, 0.3, 0.6), 'of all'),
  'lower rate': Effect(lower_rate, (2.0, 4.0, 8.0), 'times lower'),
}
