"""What is known of a folder's recordings: by a list, by their paths or by class folders."""

import dataclasses
import fnmatch
import math
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

from data_builders import csv_text, stamps
from data_builders.folders import Folder, clean, natural, read_file
from har.errors import UserError

LABELS = 'labels.csv'
SENSOR = 'sensor'
_MATCHED = '_matched'
_SPLITS = {
  **dict.fromkeys(('train', 'training'), 'train'),
  **dict.fromkeys(('val', 'valid', 'validation'), 'validation'),
  **dict.fromkeys(('test', 'testing'), 'test'),
}
_FIELD = re.compile(r'\{(\w+)\}')
_WHOLE = re.compile(r'-?\d{1,18}', re.ASCII)


@dataclasses.dataclass(frozen=True)
class Entry:
  """One record to be made.

  Attributes:
    key: its name, unique.
    label: as the list or the path has it, spaces mended.
    files: paths by sensor, '' where there is only one.
    columns: what else is known, by column.
    where: the line or file that says so, for messages.
    start: seconds in the recording's clock; None for its beginning.
    end: likewise; None for its end.
  """

  key: str
  label: str
  files: Mapping[str, str]
  columns: Mapping[str, str]
  where: str
  start: float | None = None
  end: float | None = None


def by_pattern(folder: Folder, pattern: str, sensors: Sequence[str]) -> list[Entry]:
  """Records from paths.

  Args:
    folder: with the recordings.
    pattern: of the end of a path, such as `{label}/U{subject}_R{trial}_{sensor}.csv`. A part in
      braces is a column; `label` is needed, `sensor` tells the files of one record apart.
    sensors: whose files belong together.

  Raises:
    UserError: a pattern without a label, that fits no path, or one in two ways.
  """
  names = _FIELD.findall(pattern)
  if 'label' not in names or len(set(names)) < len(names):
    raise UserError(f'pattern={pattern!r}: must have {{label}}, and no name twice')
  if (SENSOR in names) != bool(sensors):
    raise UserError(f'pattern={pattern!r}: {{sensor}} and the option sensors go together')
  lazy, greedy = (_compile(pattern, some) for some in ('+?', '+'))
  files: dict[str, dict[str, str]] = {}
  facts: dict[str, dict[str, str]] = {}
  for path in folder.paths:
    match = lazy.fullmatch(path)
    if not match:
      continue
    found = match.groupdict()
    if found != greedy.fullmatch(path).groupdict():  # type: ignore[union-attr]
      raise UserError(
        f'{folder.where(path)}: fits pattern={pattern!r} in two ways; write more of what stands '
        'between its names'
      )
    sensor = found.pop(SENSOR, '')
    if sensors and sensor not in sensors:
      continue
    key = _key(found.pop(_MATCHED), sensor)
    if sensor in files.setdefault(key, {}):
      raise UserError(f'{folder.where(path)}: the same record as {files[key][sensor]}')
    files[key][sensor] = path
    facts[key] = {name: clean(text) for name, text in found.items()}
  if not files:
    raise UserError(f'{folder.root}: no path ends like pattern={pattern!r}{_there(folder)}')
  return [
    Entry(key, found.pop('label'), files[key], found, folder.where(min(files[key].values())))
    for key, found in sorted(facts.items(), key=lambda item: natural(item[0]))
  ]


def _there(folder: Folder) -> str:
  found = folder.others(())
  return f'; there is {found}' if found else ''


def _compile(pattern: str, some: str) -> re.Pattern:
  """A path that ends like the pattern; each name in it stands for `some` of all but /."""
  parts = _FIELD.split(pattern)
  inner = ''.join(
    f'(?P<{part}>[^/]{some})' if i % 2 else re.escape(part) for i, part in enumerate(parts)
  )
  return re.compile(f'(?:.*/)?(?P<{_MATCHED}>{inner})')


def _key(path: str, sensor: str) -> str:
  """A path without its ending and without the sensor's name."""
  stem = path[: -len(suffix)] if (suffix := pathlib.PurePosixPath(path).suffix) else path
  if not sensor:
    return stem
  # The last one: in front of it may be a folder that is called so, too.
  before, _, after = stem.rpartition(sensor)
  return (before.rstrip('_- ./') + after).strip('_- ./')


def by_folder(folder: Folder, suffixes: Collection[str]) -> list[Entry]:
  """Records from class folders: the label is the name of the folder that a file lies in.

  Where all those lie in folders such as `train` and `test`, records have these as column `split`.

  Raises:
    UserError: no file with one of these endings in a folder.
  """
  found = [path.split('/') for path in folder.paths if path.lower().endswith(tuple(suffixes))]
  found = [parts for parts in found if len(parts) > 1]
  splits = [_SPLITS.get(parts[-3].lower()) if len(parts) > 2 else None for parts in found]
  official = None not in splits and len(set(splits)) > 1
  entries = []
  for parts, split in zip(found, splits, strict=True):
    key, path = _key('/'.join(parts[-3 if official else -2 :]), ''), '/'.join(parts)
    columns = {'split': split} if official and split else {}
    entries.append(Entry(key, clean(parts[-2]), {'': path}, columns, folder.where(path)))
  if not entries:
    raise UserError(
      f'{folder.root}: neither a {LABELS} nor folders named by class with '
      f'{" ".join(sorted(suffixes))} files in it{_there(folder)}'
    )
  return sorted(entries, key=lambda entry: natural(entry.key))


def by_list(folder: Folder, labels: str, sensors: Sequence[str]) -> tuple[list[Entry], list[str]]:
  """Records from a list.

  Args:
    folder: with the recordings.
    labels: path of the list, in the folder or anywhere else.
    sensors: whose files belong together: either the list has a column for each, or its column
      `file` has {sensor} in place of their names.

  Returns:
    The records of the rows that are right, and what is wrong with each of the others.

  Raises:
    UserError: the list cannot be read, lacks a column, or has no row.
  """
  inside = pathlib.PurePosixPath(labels).as_posix() in folder.paths
  path = pathlib.Path(labels).expanduser()
  where = folder.where(labels) if inside else str(path)
  try:
    limit = csv_text.MAX_BYTES
    data = folder.read(labels, limit) if inside else read_file(path, limit)
  except OSError as error:
    raise UserError(f'{where}: cannot be read ({error.strerror}); set the option labels') from error
  header = csv_text.read_names(data, where)
  columns = list(sensors) if sensors and set(sensors) <= set(header) else ['file']
  rows = csv_text.read_records(data, where, [*columns, 'label'])
  beside = pathlib.PurePosixPath(labels).parent.as_posix() if inside else '.'
  finder = _Finder(folder, beside)
  entries, faults = [], []
  for number, row in rows:
    at = f'{where}, line {number}'
    try:
      entries.append(_entry(row, at, finder, sensors, columns))
    except UserError as error:
      faults.append(str(error))
  if not rows:
    raise UserError(f'{where}: has no row below its header')
  if not entries:
    raise UserError(f'{faults[0]}; none of the {len(rows)} rows can be used')
  return entries, faults


class _Finder:
  """Finds the files that a list names."""

  def __init__(self, folder: Folder, beside: str):
    self._beside, self._paths = beside, set(folder.paths)
    self._by_name: dict[str, list[str]] = {}
    for path in folder.paths:
      self._by_name.setdefault(path.rpartition('/')[2], []).append(path)

  def find(self, name: str, where: str, optional: bool) -> str:
    """A path of the folder: beside the list, or else anywhere if only one ends so.

    With `optional` it is '' if there is none.

    Raises:
      UserError: there is none, there are several, or the name points outside.
    """
    path = pathlib.PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or ':' in path.parts[0]:
      raise UserError(f'{where}: {name!r} is not a path inside the folder; write it relative to it')
    here = (pathlib.PurePosixPath(self._beside) / path).as_posix()
    if here in self._paths:
      return here
    found = [one for one in self._by_name.get(path.name, ()) if f'/{one}'.endswith(f'/{path}')]
    if not found and optional:
      return ''
    if len(found) != 1:
      what = (
        f'several files end so, {found[0]} and {found[1]}' if found else 'there is no such file'
      )
      raise UserError(f'{where}: {name!r}: {what}; write its whole path below the folder')
    return found[0]


def _entry(
  row: dict[str, str], where: str, finder: _Finder, sensors: Sequence[str], columns: Sequence[str]
) -> Entry:
  row = dict(row)
  start, end = (_seconds(row.pop(name, ''), name, where) for name in ('start', 'end'))
  if start is not None and end is not None and not start < end:
    raise UserError(f'{where}: start {start:g} is not before end {end:g}')
  names = {s: row.pop(s) for s in sensors} if columns != ['file'] else _names(row, where, sensors)
  found = {s: finder.find(name, where, len(names) > 1) for s, name in names.items() if name}
  files = {s: path for s, path in found.items() if path}
  if not files:
    raise UserError(f'{where}: names no file')
  label = clean(row.pop('label'))
  if not label:
    raise UserError(f'{where}: the label is empty')
  sensor, path = next(iter(files.items()))
  key = row.pop('key', '')
  if not key:
    times = '-'.join('' if t is None else f'{t:g}' for t in (start, end))
    key = _key(path, sensor) + (f'@{times}' if times != '-' else '')
  row.pop('file', None)
  return Entry(key, label, files, {n: clean(v) for n, v in row.items()}, where, start, end)


def _names(row: dict[str, str], where: str, sensors: Sequence[str]) -> dict[str, str]:
  """The files of a row that has a column `file`."""
  name, place = row.pop('file'), f'{{{SENSOR}}}'
  if not sensors:
    return {'': name}
  if place not in name and len(sensors) > 1:
    raise UserError(
      f'{where}: {name!r} does not say where the names of {" and ".join(sensors)} stand; write '
      f'{place} there'
    )
  return {sensor: name.replace(place, sensor) for sensor in sensors}


def _seconds(text: str, name: str, where: str) -> float | None:
  """A start or end, seconds or a time stamp; None if it is left out."""
  if not text:
    return None
  try:
    value = stamps.parse(text) if stamps.is_stamp(text) else csv_text.number(text)
  except ValueError as error:
    raise UserError(f'{where}: {name} {text!r} is no time in seconds ({error})') from error
  if not math.isfinite(value):
    raise UserError(f'{where}: {name} {text!r} is no time in seconds')
  return value


def in_groups(entries: Sequence[Entry]) -> list[Entry]:
  """The records with a column `group`: what must not be parted by folds.

  Without one it is the subject; where it is empty, the recording itself, all its parts.
  """
  grouped = []
  for entry in entries:
    known = entry.columns.get('group' if 'group' in entry.columns else 'subject', '')
    group = known or min(entry.files.values())
    grouped.append(dataclasses.replace(entry, columns={**entry.columns, 'group': group}))
  return grouped


def is_whole(texts: Sequence[str]) -> bool:
  """Whether a column holds whole numbers, each written in one way: not `1` here and `01` there."""
  if not all(_WHOLE.fullmatch(text) for text in texts):
    return False
  return len({int(text) for text in texts}) == len(set(texts))


def name_classes(
  entries: Sequence[Entry], wanted: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], dict[str, str]]:
  """Classes in label order, and the class of each label.

  Args:
    entries: the records.
    wanted: pairs of a class and a pattern of labels; none: each label is a class.

  Raises:
    UserError: labels that differ in capitals alone, or a label that fits no pattern, or none does.
  """
  first: dict[str, Entry] = {}
  for entry in entries:
    other = first.setdefault(entry.label.casefold(), entry)
    if other.label != entry.label:
      raise UserError(
        f'{entry.where}: the label {entry.label!r} is {other.label!r} in {other.where}; write both '
        'alike'
      )
  labels = sorted({entry.label for entry in entries}, key=natural)
  if not wanted:
    return tuple(labels), {label: label for label in labels}
  label_of = {}
  for label in labels:
    fitting = [name for name, pattern in wanted if fnmatch.fnmatchcase(label, pattern)]
    if not fitting:
      raise UserError(
        f'classes: {label!r} fits none of {[p for _, p in wanted]}; add a pair for it'
      )
    label_of[label] = fitting[0]
  classes = tuple(dict.fromkeys(name for name, _ in wanted))
  for name in classes:
    if name not in label_of.values():
      raise UserError(f'classes: no label is of the class {name!r}; there are {", ".join(labels)}')
  return classes, label_of


def once(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
  """The first record of each key, and what is wrong with the others."""
  first: dict[str, Entry] = {}
  faults = []
  for entry in entries:
    if (other := first.setdefault(entry.key, entry)) is not entry:
      faults.append(
        f'{entry.where}: the record {entry.key!r} is also in {other.where}; remove one, or give '
        'each a name of its own in a column `key`'
      )
  return list(first.values()), faults
