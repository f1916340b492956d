"""Any folder of CSV recordings: of one sensor or several, each at a rate of its own."""

import dataclasses
import functools
import pathlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_builders import csv_file, csv_text, folder_builder, stamps, timeline
from data_builders.catalogue import Entry
from har.errors import UserError

# Stamps that give another number of samples a second are in another unit, or no time.
_RATE_FACTOR = 5.0
_FASTER = 1.2  # times the stored rate; beyond, interpolation folds into it what it cannot show
_TRIED = 10  # files that are looked at for the names of channels
_FEW = 8  # steps that tell nothing of a rate
_DISORDER = 0.25  # of the steps of a clock, at most, go another way than the others
_TOLERANCE = 1.0  # seconds that a list may have a part begin before the recording, or end after it


class Builder(folder_builder.FolderBuilder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of CSV recordings; see `FolderBuilder` for what is stored besides.

  Records have `imu`, float32 `[T, C]`, the columns of each sensor in turn at its own rate from one
  instant on, and `imu_mask`, bool `[T, S]`, false where a sensor was silent or is absent (see
  `timeline.merge`). Of a row with `start` and `end` they hold that part of the recording.
  `info.metadata` has `streams`, `stream_rates`, `channels` (name and unit of each) and `oddities`
  (what was amiss in how many files, see `timeline.Samples` and `csv_file.Table`) besides.
  """

  FIELD = 'imu'
  SUFFIXES = ('.csv', '.tsv')

  def __init__(
    self,
    *,
    title: str = '',
    rates: float | Sequence[float] = (),
    sensors: Sequence[str] = (),
    columns: Sequence[str | int] = (),
    units: Sequence[str] = (),
    time: str | int = 0,
    time_unit: str = '',
    labels: str = '',
    pattern: str = '',
    classes: Sequence[Sequence[str]] = (),
    train_subjects: Sequence[int | str] = (),
    require_complete: bool = True,
    allow_corrupt: int = 0,
    raw_dir: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
  ):
    """Describes a dataset; see `FolderBuilder` for arguments that are not here.

    Args:
      rates: samples a second to store, one number or one for each sensor.
      sensors: names of the sensors that have files of their own; none: one file holds everything.
      columns: of each file, by name or by position from 0; none: all but the time.
      units: of the channels, one for each sensor or one for each channel.
      time: the column with time stamps, by name or position; '' if there is none, and samples are
        `rates` a second.
      time_unit: s, ms, us or ns, of numbers; '' for what the header says, or else seconds.
      require_complete: whether a record that lacks a sensor is a fault.

    Raises:
      UserError: an argument that makes no sense, and what `FolderBuilder` raises.
    """
    folder_builder.check_tuples(
      columns=(columns, lambda one: isinstance(one, int | str)),
      units=(units, lambda one: isinstance(one, str)),
      sensors=(sensors, lambda one: isinstance(one, str)),
    )
    if time_unit and time_unit not in stamps.UNITS:
      raise UserError(f'time_unit={time_unit!r}: not one of {", ".join(stamps.UNITS)}')
    self._streams = tuple(sensors) or ('imu',)
    self._rates = _rates_of(self._streams, rates)
    self._oddities: Counter[str] = Counter()
    recorded = {'rates': list(self._rates.values()), 'sensors': list(sensors)}
    layout = {'columns': list(columns), 'units': list(units), 'time': time, 'time_unit': time_unit}
    super().__init__(
      title=title,
      labels=labels,
      pattern=pattern,
      classes=classes,
      train_subjects=train_subjects,
      allow_corrupt=allow_corrupt,
      raw_dir=raw_dir,
      data_dir=data_dir,
      sensors=sensors,
      options={**recorded, **layout, 'require_complete': require_complete},
    )

  @property
  def CHANNELS(self) -> dict[str, list[list[str]]]:
    """Name and unit of each channel."""
    return {'imu': [list(pair) for pair in self.info.metadata['channels']]}

  @functools.cached_property
  def _headers(self) -> dict[str, csv_file.Table]:
    """By sensor, the first file that can be read."""
    return {s: self._any_table(s if self._sensors else '') for s in self._streams}

  @functools.cached_property
  def _channels(self) -> dict[str, list[list[str]]]:
    """Names and units by sensor, of the first record that has it."""
    tables = self._headers
    units = list(self._options['units'])
    if len(units) == len(tables):
      units = [u for u, t in zip(units, tables.values(), strict=True) for _ in t.names]
    total = sum(len(table.names) for table in tables.values())
    if units and len(units) != total:
      raise UserError(
        f'units={tuple(units)!r}: must be one for each of {len(tables)} sensors or of {total} '
        'channels'
      )
    given = iter(units or [''] * total)
    found = {
      stream: [
        [f'{stream} {name or number}', next(given) or own]
        for number, (name, own) in enumerate(zip(table.names, table.units, strict=True))
      ]
      for stream, table in tables.items()
    }
    widths = {stream: len(names) for stream, names in found.items()}
    if len(set(widths.values())) > 1:
      raise UserError(
        f'{self.listing.folder.root}: sensors have different numbers of columns, {widths}; choose '
        'as many of each with the option columns'
      )
    return found

  def _more_features(self) -> dict[str, Any]:
    channels, streams = sum(map(len, self._channels.values())), len(self._streams)
    return {
      'imu': tfds.features.Tensor(shape=(None, channels), dtype=np.float32),
      'imu_mask': tfds.features.Tensor(shape=(None, streams), dtype=np.bool_),
    }

  def _more_facts(self) -> dict[str, Any]:
    return {
      'rates': {'imu': max(self._rates.values())},
      'streams': list(self._streams),
      'stream_rates': self._rates,
      'channels': [pair for pairs in self._channels.values() for pair in pairs],
      'oddities': {},
    }

  def _table(self, path: str) -> csv_file.Table:
    folder, options = self.listing.folder, self._options
    return csv_file.read(
      folder.read(path, csv_text.MAX_BYTES),
      folder.where(path),
      options['columns'],
      None if options['time'] == '' else options['time'],
      options['time_unit'],
    )

  def _any_table(self, sensor: str) -> csv_file.Table:
    """The first file of a sensor that can be read; a few bad ones are named while they are read."""
    paths = [entry.files[sensor] for entry in self.listing.entries if sensor in entry.files]
    fault: UserError | None = None
    for path in paths[:_TRIED]:
      try:
        return self._table(path)
      except UserError as error:
        fault = fault or error
    raise fault or UserError(f'{self.listing.folder.root}: no record has a file of {sensor}')

  @functools.lru_cache(maxsize=4)  # noqa: B019 the builder lives as long as the process
  def _series(self, path: str, stream: str) -> timeline.Series:
    """A file on an even grid; rows of a list that cut one recording come one after another."""
    where, rate = self.listing.folder.where(path), self._rates[stream]
    table = self._table(path)
    if table.values.shape[1] != len(self._channels[stream]):
      raise UserError(
        f'{where}: has {table.values.shape[1]} columns of values and other files '
        f'{len(self._channels[stream])}; choose some with the option columns'
      )
    time = table.time
    if time is None:
      time = np.arange(len(table.values)) / rate
    else:
      likely = _check_rate(time, rate, where)
      if likely > _FASTER * rate:
        self._oddities.update(['faster'])
    self._check_names(table, stream, where)
    series = timeline.regular(time, table.values, rate, where)
    self._oddities.update({*table.oddities, *series.oddities})
    return series

  def _check_names(self, table: csv_file.Table, stream: str, where: str) -> None:
    """Raises UserError if a header names other columns or units than the first file's."""
    by_position = any(isinstance(column, int) for column in self._options['columns'])
    first = self._headers[stream]
    pairs = zip(table.names, table.units, first.names, first.units, strict=True)
    for number, (name, unit, other, other_unit) in enumerate(pairs):
      if name and other and name.casefold() != other.casefold() and not by_position:
        raise UserError(
          f'{where}: its column {number} of values is {name!r}, and of other files {other!r}; '
          'choose columns by name, or by position if they mean the same'
        )
      if unit and other_unit and unit != other_unit:
        raise UserError(
          f'{where}: gives {name!r} in {unit}, and other files in {other_unit}; bring them to one '
          'unit'
        )

  def _read(self, entry: Entry) -> dict[str, Any]:
    missing = [s for s in self._sensors if s not in entry.files]
    if missing and self._options['require_complete']:
      raise UserError(
        f'{entry.where}: has no file of {missing[0]}; take such records masked with '
        '--config.dataset.require_complete=false'
      )
    whole, sensors = {}, {}
    for stream in self._streams:
      path = entry.files.get(stream if self._sensors else '')
      width, rate = len(self._channels[stream]), self._rates[stream]
      whole[stream] = self._series(path, stream) if path else timeline.absent(width, rate)
      sensors[stream] = _part(whole[stream], entry)
    _check_clocks(whole, entry)
    values, mask = timeline.merge(sensors)
    if not mask.any():
      raise UserError(f'{entry.where}: nothing was recorded from its start to its end')
    return {'imu': values, 'imu_mask': mask}

  def _describe(self) -> None:
    super()._describe()
    names = ', '.join(f'{name} ({unit})' if unit else name for name, unit in self.CHANNELS['imu'])
    print(f'{self.name}: channels: {names}', file=sys.stderr)

  def _download_and_prepare(self, dl_manager, download_config):
    super()._download_and_prepare(dl_manager, download_config)
    self.info.metadata['oddities'] = dict(sorted(self._oddities.items()))
    if self._oddities:
      found = ', '.join(f'{name} in {n}' for name, n in sorted(self._oddities.items()))
      print(f'{self.name}: of the files, {found}', file=sys.stderr)


def _rates_of(streams: Sequence[str], rates: float | Sequence[float]) -> dict[str, float]:
  """Samples a second by sensor; UserError if one is no such number."""
  numbers = (rates,) * len(streams) if isinstance(rates, int | float) else tuple(rates)
  whole = all(isinstance(rate, int | float) and 0 < rate < float('inf') for rate in numbers)
  if len(numbers) != len(streams) or not whole:
    raise UserError(
      f'rates={rates!r}: must be above 0, the samples a second to store, one number or one for '
      f'each of {len(streams)} sensors'
    )
  return dict(zip(streams, map(float, numbers), strict=True))


def _check_clocks(sensors: Mapping[str, timeline.Series], entry: Entry) -> None:
  """Raises UserError unless sensors were on at one time, and an entry's start and end are of it."""
  recorded = {name: one for name, one in sensors.items() if len(one.samples.time)}
  spans = {name: one.samples.time[[0, -1]] for name, one in recorded.items()}
  late, early = (pick(spans, key=lambda s: spans[s][i]) for pick, i in ((max, 0), (min, 1)))
  if spans[late][0] > spans[early][1]:
    raise UserError(
      f'{entry.where}: {early} ends at {spans[early][1]:.10g} s, and {late} begins at '
      f'{spans[late][0]:.10g} s; the time stamps of all sensors must be of one clock'
    )
  for what, at, sign in (('starts', entry.start, -1), ('ends', entry.end, 1)):
    if at is None:
      continue
    beyond = {
      name: sign * (one.start + float(one.seconds(at)) - spans[name][int(sign > 0)])
      for name, one in recorded.items()
    }
    name = min(beyond, key=lambda name: beyond[name])
    if beyond[name] > _TOLERANCE:
      first, last = (
        recorded[name].samples.pieces[0].stamps[0],
        recorded[name].samples.pieces[-1].stamps[1],
      )
      raise UserError(
        f'{entry.where}: {what} at {at:.10g} s, and what was recorded is from {first:.10g} to '
        f'{last:.10g} s on its clock'
      )


def _part(series: timeline.Series, entry: Entry) -> timeline.Series:
  """The samples from an entry's start to its end."""
  if entry.start is None and entry.end is None:
    return series
  samples = series.samples
  first, last = (
    series.start + float(series.seconds(seconds)) if seconds is not None else whole
    for seconds, whole in ((entry.start, -np.inf), (entry.end, np.inf))
  )
  inside = (samples.time >= first) & (samples.time < last)
  kept = dataclasses.replace(samples, time=samples.time[inside], values=samples.values[inside])
  return timeline.series(kept, series.rate, series.max_gap)


def _check_rate(time: np.ndarray, rate: float, where: str) -> float:
  """Samples a second; UserError if stamps are no time, or that is wholly another than `rate`."""
  steps = np.diff(time)
  if len(steps) < _FEW:
    return rate
  back = float((steps < 0).mean())
  if _DISORDER < back < 1 - _DISORDER or not steps.any():
    what = f'go back in {back:.0%} of the lines' if back else 'are all the same'
    raise UserError(
      f'{where}: its time stamps {what}; set the option time to the column that has them, or '
      'to nothing if there is none'
    )
  measured = len(steps) / float(np.ptp(time))
  # A clock that was set in between is no sign of another rate, if almost all steps are small.
  small = np.abs(steps[np.abs(steps) <= timeline.MAX_PAUSE])
  if len(small) >= (1 - _DISORDER) * len(steps) and small.any():
    likely = min(measured, len(small) / float(small.sum()), key=lambda one: abs(np.log(one / rate)))
  else:
    likely = measured
  if not 1 / _RATE_FACTOR <= likely / rate <= _RATE_FACTOR:
    raise UserError(
      f'{where}: its time stamps give {measured:.4g} samples a second, not {rate:g}; set the '
      'options time (the column), time_unit or rates'
    )
  return likely
