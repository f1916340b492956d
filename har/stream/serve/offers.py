"""What the exported files of a folder can follow, and what a page has to send them."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.stream import inputs
from har.stream.exported import SOURCES, Model, locate, open_model
from har.stream.options import Options
from har.stream.recordings import Signal
from har.stream.session import Session

Sources = frozenset[str]
"""Of 'imu' and 'video'."""
_COMBINATIONS = (frozenset({'imu'}), frozenset({'video'}), frozenset({'imu', 'video'}))
_USUAL_RATE = 15.0  # Frames a second, of a model that does not tell.
_LEAST_SIDE = 240  # Pixels: the server scales down as data sets do.
# What browsers measure (W3C, Device Orientation and Motion) by a channel's unit: what of the event,
# and by what it is multiplied. It is in m/s^2, gravity included, and deg/s.
_MEASURED = {
  'g': ('acceleration', 1 / 9.80665),
  'm/s^2': ('acceleration', 1.0),
  'm/s2': ('acceleration', 1.0),
  'm/s²': ('acceleration', 1.0),
  'deg/s': ('rotation', 1.0),
  'dps': ('rotation', 1.0),
  'rad/s': ('rotation', math.pi / 180),
}


@dataclasses.dataclass(frozen=True)
class Offer:
  """A model for some sources.

  Attributes:
    open: the model, anew, for a thread of its own.
    about: what a page has to know, for JSON.
    signal: what it takes of IMU samples.
    rates: samples and frames a second that it was trained with, by source; 0 where unknown.
    file: of it, .tflite.
  """

  open: Callable[[], Model]
  about: dict[str, Any]
  signal: Signal | None
  rates: Mapping[str, float]
  file: Path


def find(
  path: str, variant: str, stage: str, threads: int, options: Options
) -> dict[Sources, Offer]:
  """The models of a folder, by what they follow.

  Raises:
    UserError: none can be followed.
  """
  found: dict[Sources, Offer] = {}
  fault: UserError | None = None
  for given in _COMBINATIONS:

    def opened(given: Sources = given) -> Model:
      return open_model(path, variant, stage, given, threads)

    try:
      file = locate(Path(path), variant, stage, given)
      found[given] = _offer(opened, file, given, options)
    except UserError as e:
      fault = fault or e
  if not found:
    assert fault is not None
    raise fault
  return found


def _offer(opened: Callable[[], Model], file: Path, given: Sources, options: Options) -> Offer:
  """Raises UserError if the model does not follow just these sources."""
  model = opened()
  if not given <= model.sources:
    raise UserError(f'the model takes {" and ".join(sorted(model.sources))}')
  rates = {source: _rate(model, source) for source in given}
  wanted = {source: rate or _USUAL_RATE for source, rate in rates.items()}
  session = Session(model, wanted, options, live=True)
  signal = Signal.of(model) if 'imu' in given else None
  about: dict[str, Any] = {
    'sources': sorted(given),
    'stage': model.about['stage'],
    'variant': model.about['variant'],
    'dataset': model.about.get('dataset', ''),
    'labels': list(model.labels),
    'abnormal': list(session.alarms),
    'seconds': session.windows.seconds,
    'step': session.windows.step,
    'rule': vars(session.rule),
    'threshold': session.threshold or None,
  }
  if signal is not None:
    about['imu'] = {'rate': wanted['imu'], 'channels': channels(signal)}
  if 'video' in given:
    about['video'] = {'rate': wanted['video'], 'short_side': _short_side(model)}
  return Offer(opened, about, signal, rates, file)


def _rate(model: Model, source: str) -> float:
  if source == 'imu':
    signal = Signal.of(model)
    return max(signal.rates) if signal is not None else 0.0
  known = (one['rate_hz'] for one in model.recorded.values() if SOURCES[one['kind']] == source)
  return float(next(known, None) or 0.0)


def _short_side(model: Model) -> int:
  stored = (
    inputs.stored_side(one) for one in model.recorded.values() if SOURCES[one['kind']] == 'video'
  )
  return max(_LEAST_SIDE, *stored)


def channels(signal: Signal) -> list[dict[str, Any]]:
  """The channels of a model, each with what of a phone's motion it is: `of`, 'acceleration' or
  'rotation', its `axis`, 0 to 2, and the `factor` to the model's unit.

  Without those three where a phone does not measure it: another unit, or a second such sensor.
  """
  units = [unit.strip() for _, unit in signal.channels]
  plain: list[dict[str, Any]] = [
    {'name': name, 'unit': unit} for (name, _), unit in zip(signal.channels, units, strict=True)
  ]
  taken: set[str] = set()
  for first in range(0, len(units) - 2, 3):
    kind, factor = _MEASURED.get(units[first], ('', 0.0))
    if not kind or kind in taken or len(set(units[first : first + 3])) > 1:
      continue
    taken.add(kind)
    for axis in range(3):
      plain[first + axis] |= {'of': kind, 'axis': axis, 'factor': factor}
  return plain
