"""How late alarms are, of recordings in which the times of events are known.

python -m har.stream.delays --model=EXPORT --folder=FOLDER --events=TABLE.csv \
    --files={name}_accel.csv,{name}_gyro.csv [--only=PATTERN,PATTERN] [--by={class}/U{person}_*] \
    [--output=FILE.csv]

TABLE has a header and then lines `name,start,end`, in seconds from a recording's first sample. All
recordings of the folder that have these files (and a name like one of the patterns) are streamed,
one after another; those that the table does not name count as normal. An event is found if an
alarm is raised from its start on until --within seconds after its end. All other alarms are false,
those before and after an event, too. A delay is from an event's end to the end of the window with
which the alarm was raised, below 0 if that was sooner; what computing takes comes on top. An alarm
of a classifier begins above the threshold that was fitted, or above --on. With --by the figures are
given by class and by person, too, or by whatever names tell: each part in braces is a group, *
stands for anything. No JAX is needed.
"""

import csv
import dataclasses
import fnmatch
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from har.errors import UserError
from har.evaluate.files import aligned, write_text
from har.stream import command, groups, recordings
from har.stream.exported import LOGITS, Model, open_model
from har.stream.options import Options, Rule
from har.stream.session import Session

WITHIN = 5.0
"""Seconds after an event's end until which an alarm is of it, if not told."""
_NAME = '{name}'

Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Streamed:
  """What came of a recording.

  Attributes:
    name: its.
    seconds: from its first sample to its last.
    event: start and end, seconds; None of a normal recording.
    found: when the first alarm of the event was raised, seconds; None if there was none.
    false: how many alarms are none of the event.
  """

  name: str
  seconds: float
  event: Span | None
  found: float | None
  false: int

  @property
  def delay(self) -> float | None:
    """Seconds from the event's end to its alarm; None without one."""
    return None if self.found is None or self.event is None else self.found - self.event[1]


def read_events(path: Path) -> dict[str, Span]:
  """Start and end of the event of each recording, by name.

  Raises:
    UserError: the file cannot be read, a line is no event, or a recording has two.
  """
  try:
    text = path.read_text(encoding='utf-8-sig')
  except (OSError, UnicodeDecodeError) as e:
    raise UserError(f'--events={path}: cannot be read ({e})') from e
  found: dict[str, Span] = {}
  for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
    if number == 1 or not any(row):
      continue
    try:
      name, start, end = row[0].strip(), float(row[1]), float(row[2])
      good = 0 <= start <= end < math.inf
    except (IndexError, ValueError):
      name, start, end, good = '', 0.0, 0.0, False
    if not good or not name:
      raise UserError(f'--events={path}: line {number} is not NAME,START,END with START <= END')
    if name in found:
      raise UserError(f'--events={path}: line {number}: {name} has an event already')
    found[name] = (start, end)
  return found


def matches(name: str, only: Sequence[str]) -> bool:
  """Whether a name is like one of the patterns; without patterns any is."""
  return not only or any(fnmatch.fnmatchcase(name, one) for one in only)


def names_in(folder: Path, files: Sequence[str], only: Sequence[str]) -> list[str]:
  """Names of the recordings of which the folder has the first of the files, in order.

  Raises:
    UserError: there is none.
  """
  before, _, after = files[0].partition(_NAME)
  paths = (p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())
  fit = (p for p in paths if p.startswith(before) and p.endswith(after))
  names = (p.removeprefix(before).removesuffix(after) for p in fit)
  chosen = [name for name in names if name and matches(name, only)]
  if not chosen:
    raise UserError(f'--folder={folder}: has no recordings {files[0]} that --only lets through')
  return sorted(chosen)


def assign(raised: Sequence[float], event: Span | None, within: float) -> tuple[float | None, int]:
  """The alarm of an event, None if there is none, and how many others there are."""
  if event is None:
    return None, len(raised)
  own = [t for t in raised if event[0] <= t <= event[1] + within]
  return (min(own), len(raised) - len(own)) if own else (None, len(raised))


def stream(model: Model, paths: Sequence[str], options: Options) -> tuple[list[float], float]:
  """When alarms were raised in a recording, and its length, in seconds; see `recordings`."""
  files = recordings.open_files(paths, model, rate=options.rate, time_unit=options.time_unit)
  session, last = Session(model, {one.source: one.rate for one in files}, options), 0.0
  found = []
  for item in recordings.merged(files):
    found += session.push(item)
    last = item.time
  found += session.end()
  raised = [e.raised for one in found for what, e in one.events if what == 'raised']
  return raised, last


def fitted(model: Model, options: Options, on: float | None) -> Options:
  """Options with the threshold that was fitted for a model.

  Raises:
    UserError: there is none, and no `on` (or threshold) is given either; or a classifier names no
      abnormal class.
  """
  value = (model.about.get('alarm') or {}).get('value')
  if LOGITS not in model.about['outputs']:
    if value is None and not options.threshold:
      raise UserError('the model has no threshold: give --threshold')
    return options
  if not model.about.get('abnormal'):
    raise UserError('the model names no abnormal class: its events are no alarms')
  if on is None:
    if value is None:
      raise UserError('the model has no threshold: give --on')
    # Of certainties none is above 1, to which large odds are rounded.
    on = min(1 / (1 + math.exp(-value)), math.nextafter(1, 0))
  rule = dataclasses.replace(options.rule, on=on, off=min(options.rule.off, on))
  return dataclasses.replace(options, rule=rule)


def summary(streamed: Sequence[Streamed]) -> dict[str, Any]:
  """Figures of recordings; None where there is nothing to count.

  `events`, `found` (a share), `delay` (seconds: `median`, and quantiles `p5` and `p95`),
  `within_1s` (the share of events with an alarm at most 1 s after their end), `normal`
  (recordings), `normal_alarmed` (the share with an alarm), `hours` of them, `false_per_hour`, and
  `false_beside` (alarms before or after events).
  """
  events = [one for one in streamed if one.event is not None]
  normal = [one for one in streamed if one.event is None]
  delays = np.array([one.delay for one in events if one.delay is not None])
  hours = sum(one.seconds for one in normal) / 3600
  quantiles = {'p5': 0.05, 'median': 0.5, 'p95': 0.95}
  return {
    'events': len(events),
    'found': len(delays) / len(events) if events else None,
    'delay': {
      n: float(np.quantile(delays, q)) if len(delays) else None for n, q in quantiles.items()
    },
    'within_1s': float((delays <= 1).sum()) / len(events) if events else None,
    'normal': len(normal),
    'normal_alarmed': sum(one.false > 0 for one in normal) / len(normal) if normal else None,
    'hours': hours,
    'false_per_hour': sum(one.false for one in normal) / hours if hours else None,
    'false_beside': sum(one.false for one in events),
  }


def summaries(streamed: Sequence[Streamed], by: str) -> dict[str, dict[str, Any]]:
  """`summary` of groups, by part of a pattern and what stands there in names; see `groups`."""
  found = groups.by_names(by, [one.name for one in streamed])
  return {
    part: {text: summary([streamed[i] for i in places]) for text, places in own.items()}
    for part, own in found.items()
  }


def lines(part: str, found: Mapping[str, Mapping[str, Any]]) -> str:
  """A part of `summaries` as a table, with empty cells where there is nothing to count."""
  head = [part, 'Events', 'With alarm', 'Median delay (s)', 'Normal', 'Minutes', 'False/h']
  rows = [head]
  for text, one in found.items():
    cells = [
      ('{:.1f}%', one['found'] and 100 * one['found']),
      ('{:.2f}', one['delay']['median']),
      ('{}', one['normal']),
      ('{:.1f}', 60 * one['hours'] if one['normal'] else None),
      ('{:.1f}', one['false_per_hour']),
    ]
    known = ('' if value is None else form.format(value) for form, value in cells)
    rows.append([text, str(one['events']), *known])
  return aligned(rows, left=1)


def measure(
  model: Model,
  folder: Path,
  files: Sequence[str],
  events: Mapping[str, Span],
  options: Options,
  *,
  only: Sequence[str] = (),
  within: float = WITHIN,
) -> list[Streamed]:
  """Streams recordings.

  Args:
    model: opened.
    folder: with the recordings.
    files: of each, below the folder, with `{name}` for its name.
    events: by name.
    options: of windows and events.
    only: patterns of names; empty for all.
    within: seconds after an event's end until which an alarm is of it.

  Raises:
    UserError: no recordings, or one that the model does not take.
  """
  names, streamed = names_in(folder, files, only), []
  if lost := sorted(n for n in events.keys() - set(names) if matches(n, only)):
    print(f'{len(lost)} events are of recordings that are not there: {lost[0]}', file=sys.stderr)
  for name in names:
    paths = [str(folder / one.replace(_NAME, name)) for one in files]
    raised, seconds = stream(model, paths, options)
    event = events.get(name)
    streamed.append(Streamed(name, seconds, event, *assign(raised, event, within)))
  return streamed


def table(streamed: Sequence[Streamed]) -> str:
  """Recordings as CSV."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['name', 'seconds', 'start', 'end', 'raised', 'delay', 'false_alarms'])
  for one in streamed:
    values = [one.seconds, *(one.event or (None, None)), one.found, one.delay]
    writer.writerow([one.name, *('' if v is None else round(v, 4) for v in values), one.false])
  return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = command.parser(__doc__ or '', 'python -m har.stream.delays')
  add = parser.add_argument
  add('--folder', required=True, help='with the recordings')
  add('--events', required=True, help='CSV: a header, then name,start,end')
  add('--files', required=True, help='of a recording, parted by commas, with {name} in each')
  add('--only', default='', help='patterns of names, such as */U01_*,*/U02_*')
  add('--by', default='', help='groups by parts of names, such as {class}/U{person}_*')
  add('--within', type=float, default=WITHIN, help='seconds after an event for its alarm')
  add('--output', default='', help='CSV file: a line for each recording')
  parser.set_defaults(on=None)
  args = parser.parse_args(argv)
  with command.told():
    files = command.files(args.files)
    if not files or any(one.count(_NAME) != 1 for one in files):
      raise UserError(f'--files={args.files}: must have {_NAME} once in each')
    if not 0 <= args.within < math.inf:
      raise UserError(f'--within={args.within:g}: must be a number, 0 or more')
    folder, only = Path(args.folder), command.files(args.only)
    if args.by:  # Told before all is streamed.
      groups.by_names(args.by, names_in(folder, files, only))
    given, args.on = args.on, Rule.on if args.on is None else args.on
    options = command.options(args)
    kinds = {recordings.kind(one) for one in files}
    model = open_model(args.model, args.variant, args.stage, kinds, args.threads)
    streamed = measure(
      model,
      folder,
      files,
      read_events(Path(args.events)),
      fitted(model, options, given),
      only=only,
      within=args.within,
    )
    if args.output:
      write_text(Path(args.output), table(streamed))
    found = summaries(streamed, args.by) if args.by else {}
    for part, own in found.items():
      print(lines(part, own), end='\n\n', file=sys.stderr)
    print(json.dumps(summary(streamed) | ({'by': found} if found else {})))
  return 0


if __name__ == '__main__':
  sys.exit(main())
