"""Reads CSV files as programs and people really write them, where their meaning is certain.

A byte-order mark, a header line or none, commas, semicolons, tabs or spaces between fields, decimal
commas (except between commas), quoted fields, comment lines and blank lines, CR LF: all are read.
What has two meanings is an error that names file, line and remedy.

A last line that has no line end and too few fields, or a last field that is no number, is what a
recorder leaves that was switched off while it wrote: it is dropped and counted. Anything else that
does not fit is an error.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from data_builders import csv_text, stamps
from data_builders.csv_text import (
  COMMA_NUMBER,
  GROUPED,
  NO_NUMBER,
  NUMBER,
  PERHAPS_GROUPED,
  Lines,
  is_decimal,
  is_value,
)
from har.errors import UserError

# What tells samples apart, not what was measured: as channels they would give labels away.
_NO_CHANNEL = re.compile(
  r'(time|date|epoch|unnamed).*|index|labels?|class|activity|action|target|subject|person|user|id',
  re.IGNORECASE,
)
_UNIT = re.compile(r'(.*?)\s*[\[(]\s*([^\[\]()]*)\s*[\])]')
_FLOAT32 = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Table:
  """Columns of numbers.

  Attributes:
    names: of the columns of `values`, their units left aside; empty texts without a header.
    units: of the same, as the header gives them; empty where it gives none.
    values: float64 `[N, C]`, finite and within float32.
    time: seconds, float64 `[N]`; None if no column was asked for.
    oddities: what was amiss, and how often: 'cut_line' and 'midnight'.
  """

  names: tuple[str, ...]
  units: tuple[str, ...]
  values: np.ndarray
  time: np.ndarray | None
  oddities: dict[str, int]


def read(
  data: bytes,
  where: str,
  columns: Sequence[str | int] = (),
  time: str | int | None = None,
  time_unit: str = '',
) -> Table:
  """Reads a recording.

  Args:
    data: the file.
    where: how to name it.
    columns: those to take, by the header's names (with or without their units) or by position from
      0; none: all but `time`.
    time: the column with time stamps.
    time_unit: of numeric ones, a key of `stamps.UNITS`; '' for what the header says, or else
      seconds.

  Raises:
    UserError: whatever has no certain meaning; the line is named.
  """
  found = csv_text.read_lines(data, where)
  header, units = _header(found)
  cut = _check_widths(found, header, where)
  if not found.rows:
    raise UserError(f'{where}: has no samples')
  width = len(found.rows[0])
  full = header or [''] * width
  at = None if time is None else _position(time, full, units, where)
  chosen = [_position(column, full, units, where) for column in columns]
  chosen = chosen or [i for i in range(width) if i != at]
  if not chosen:
    raise UserError(f'{where}: has no column besides the time')
  if not columns:
    _check_channels([full[i] for i in chosen], where)
  values = np.stack([_numbers(found, i, where, _FLOAT32) for i in chosen], -1)
  if not columns:
    _check_clocks(values, chosen, full, units, where)
  seconds, midnights = None, 0
  if at is not None:
    seconds, midnights = _seconds(found, at, full[at], units.get(at, ''), time_unit, where)
  oddities = {name: n for name, n in (('cut_line', cut), ('midnight', midnights)) if n}
  return Table(
    tuple(full[i] for i in chosen),
    tuple(units.get(i, '') for i in chosen),
    values,
    seconds,
    oddities,
  )


def _check_channels(names: Sequence[str], where: str) -> None:
  """Raises UserError if a column that nobody chose is called like no measurement."""
  for name in names:
    if _NO_CHANNEL.fullmatch(name):
      others = [one for one in names if not _NO_CHANNEL.fullmatch(one)]
      raise UserError(
        f'{where}: the column {name!r} is hardly a measurement; choose the channels, such as '
        f'columns={tuple(others)}'
      )


def _check_clocks(
  values: np.ndarray,
  chosen: Sequence[int],
  header: Sequence[str],
  units: dict[int, str],
  where: str,
) -> None:
  """Raises UserError if a column that nobody chose counts rows or seconds by name and values."""
  named = any(header)
  for i, column in zip(chosen, values.T, strict=True):
    counts = named and (not header[i] or stamps.unit(header[i], units.get(i, '')))
    if counts and len(column) > 2 and (np.diff(column) > 0).all():
      raise UserError(
        f'{where}: the column {header[i]!r} (position {i}) counts rows or seconds; choose the '
        'channels by the option columns'
      )


def _header(found: Lines) -> tuple[list[str], dict[int, str]]:
  """Takes the header off, and a line of units below it; names and units by position."""
  if not found.rows or any(map(is_value, found.rows[0])):
    return [], {}
  header, units = found.pop(), {}
  for i, name in enumerate(header):
    if bracket := _UNIT.fullmatch(name):
      header[i], units[i] = bracket[1], bracket[2]
  below = found.rows[0] if len(found.rows) > 1 else []
  if len(below) == len(header) and not any(map(is_value, below)):
    units.update(enumerate(text.strip('[]()') for text in found.pop()))
  return header, units


def _check_widths(found: Lines, header: list[str], where: str) -> int:
  """Drops separators at every line's end, and a cut last line; 1 if there was one."""
  rows = found.rows
  cut = 0
  if len(rows) > 1 and not found.ended:
    fields = rows[-1]
    if len(fields) < len(rows[0]) or not (is_decimal(fields[-1]) or stamps.is_stamp(fields[-1])):
      cut = 1
      del rows[-1], found.numbers[-1]
  if rows and all(len(row) > 1 and not row[-1] for row in rows):
    named = len(header) == len(rows[0])
    if not (named and header[-1]):
      for row in rows:
        row.pop()
      if named:
        header.pop()
  width = len(header) or (len(rows[0]) if rows else 0)
  for number, row in zip(found.numbers, rows, strict=True):
    if len(row) != width:
      what = f'the header has {width} names' if header else f'the first line has {width}'
      commas = '; if its commas are decimal, part the fields by semicolons'
      raise UserError(
        f'{where}, line {number}: {len(row)} fields, and {what}; mend or remove the line'
        + (commas if found.delimiter == ',' else '')
      )
  return cut


def _position(column: str | int, header: Sequence[str], units: dict[int, str], where: str) -> int:
  if isinstance(column, int):
    if not 0 <= column < len(header):
      raise UserError(f'{where}: has no column {column}, only 0 to {len(header) - 1}')
    return column
  full = [f'{name} ({units[i]})' if units.get(i) else name for i, name in enumerate(header)]
  for names in (header, full):
    if names.count(column) == 1:
      return list(names).index(column)
  if column in header:
    raise UserError(f'{where}: has several columns {column!r}; name them by position, from 0')
  known = ', '.join(filter(None, full)) or f'no header; name its {len(header)} columns from 0 on'
  raise UserError(f'{where}: has no column {column!r}; it has {known}')


def _numbers(found: Lines, column: int, where: str, limit: float) -> np.ndarray:
  """A column, float64 `[N]`."""
  texts = [row[column] for row in found.rows]
  if any(',' in text for text in texts):
    texts = _with_points(found, column, where)
  values = np.empty(len(texts))
  for i, text in enumerate(texts):
    if not NUMBER.fullmatch(text):
      _refuse(text, f'{where}, line {found.numbers[i]}')
    values[i] = float(text)
  if (wrong := np.flatnonzero(~(np.abs(values) <= limit))).size:
    number, text = found.numbers[wrong[0]], texts[wrong[0]]
    raise UserError(f'{where}, line {number}: {text} is too large for a 32-bit number; mend it')
  return values


def _with_points(found: Lines, column: int, where: str) -> list[str]:
  """The texts of a column with decimal commas."""
  texts = [row[column] for row in found.rows]
  for number, text in zip(found.numbers, texts, strict=True):
    if GROUPED.fullmatch(text):
      _refuse(text, f'{where}, line {number}')
    if '.' in text:
      raise UserError(
        f'{where}, line {number}: {text!r} has a decimal point and other lines decimal commas; '
        'use one of them'
      )
  unclear = all(PERHAPS_GROUPED.fullmatch(text) for text in texts if ',' in text)
  if unclear and not _proves_commas(found):
    i = next(i for i, text in enumerate(texts) if ',' in text)
    raise UserError(
      f'{where}, line {found.numbers[i]}: {texts[i]!r} may be {texts[i].replace(",", ".")} or '
      f'{texts[i].replace(",", "")}; write decimals with points'
    )
  return [text.replace(',', '.') for text in texts]


def _proves_commas(found: Lines) -> bool:
  """Whether some field has a comma that can only be a decimal one."""
  return any(
    COMMA_NUMBER.fullmatch(field) and not PERHAPS_GROUPED.fullmatch(field)
    for row in found.rows
    for field in row
  )


def _refuse(text: str, line: str) -> None:
  shown = repr(text[:40])
  if not text:
    raise UserError(f'{line}: a field is empty; fill it or remove the line')
  if text.lower() in NO_NUMBER:
    raise UserError(f'{line}: {shown} where a number should be; fill it in or remove the line')
  if GROUPED.fullmatch(text):
    raise UserError(f'{line}: {shown} has thousands separators; write numbers without them')
  raise UserError(f'{line}: {shown} is not a number; mend it, or choose other columns')


def _seconds(
  found: Lines, column: int, name: str, unit: str, time_unit: str, where: str
) -> tuple[np.ndarray, int]:
  """The column with time stamps, float64 `[N]`, and how often a time of day began anew."""
  texts = [row[column] for row in found.rows]
  if stamps.is_stamp(texts[0]):
    seconds = np.empty(len(texts))
    for i, text in enumerate(texts):
      try:
        seconds[i] = stamps.parse(text)
      except ValueError as error:
        line = f'{where}, line {found.numbers[i]}'
        raise UserError(f'{line}: {text[:40]!r} is no time like {texts[0]!r} ({error})') from error
    return stamps.over_midnight(seconds, texts)
  known = stamps.unit(name, unit)
  if known and time_unit and known != time_unit:
    raise UserError(f'{where}: its header gives the time in {known}, the option in {time_unit}')
  scale = stamps.UNITS[time_unit or known or 's']
  return _numbers(found, column, where, np.finfo(np.float64).max) * scale, 0
