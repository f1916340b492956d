"""GMDCSA24 (Alam et al., 2024): falls and daily activities of four people, as parts of videos."""

import re
import sys
from collections.abc import Iterator

from data_builders import folders
from data_builders.catalogue import Entry
from data_builders.clips import owned
from har.errors import UserError

_MAX_BYTES = 2**20
_LIST = re.compile(r'(?:.*/)?Subject (\d+)/(Fall|ADL)\.csv')
_VIDEO = re.compile(r'(?:.*/)?Subject \d+/(?:Fall|ADL)/[^/]+\.mp4')
# An activity and its times, `Falling (SW)[1.8 to 5]; Standing[0 to 0.5; 4.2 to 6.5]`, and in some
# lines without `to`, a bracket or a parenthesis.
_ACTIVITY = re.compile(r'([A-Z][a-z]+)\s*(?:\(([A-Z]+)\)?)?\s*\[?([^A-Z\]]*)\]?[\s:;]*')
_TIMES = re.compile(r'\s*(\d+\.?\d*)\s+(?:to\s+)?(\d+\.?\d*)\s*')


class Builder(owned.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of `Subject 1/Fall/01.mp4`, `Subject 1/Fall.csv` and so on.

  A record is an activity from its start to its end, as the CSV files have it, such as
  `Falling (SW)` (sideways, FW forwards, BW backwards), with the column `subject`. Activities at the
  same time, such as reading and sitting, are a record each. A few have no time or end before they
  start: they are told of and left out.
  """

  TITLE = 'gmdcsa24'

  def _records(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    faults: list[str] = []
    videos = {path for path in folder.paths if _VIDEO.fullmatch(path)}
    listed = set()
    for path in folder.paths:
      if match := _LIST.fullmatch(path):
        for where, name, text in _rows(folder, path):
          video = f'{path.removesuffix(".csv")}/{name}'
          listed.add(video)
          if video in videos:
            entries += _parts(video, match[1], text, where)
          else:
            faults.append(f'{where}: there is no file {folder.root / video}')
    faults += [f'{folder.where(path)}: is in no list' for path in sorted(videos - listed)]
    if not entries:
      fault = faults[0] if faults else f'{folder.root}: has no Subject 1/Fall.csv and the like'
      raise UserError(f'{fault}; no record can be made')
    return entries, faults


def _rows(folder: folders.Folder, path: str) -> Iterator[tuple[str, str, str]]:
  """Of each video where it is listed, its name and its activities."""
  text = folder.read(path, _MAX_BYTES).decode('utf-8-sig', 'replace')
  for number, line in enumerate(text.splitlines(), 1):
    name, *_, activities = line.split(',') if ',' in line else (line, '')
    if name.strip() and name.strip() != 'File Name':
      yield f'{folder.where(path)}, line {number}', name.strip(), activities.strip()


def _parts(video: str, subject: str, text: str, where: str) -> Iterator[Entry]:
  """The records of one video."""
  at = 0
  while at < len(text):
    match = _ACTIVITY.match(text, at)
    if not match:
      raise UserError(f'{where}: {text[at:]!r} is no activity with its times')
    at = match.end()
    name, direction, times = match.groups()
    name = 'Falling' if name == 'Fall' else name
    label = f'{name} ({direction})' if direction else name
    for one in [part for part in times.split(';') if part.strip()] or ['']:
      found = _TIMES.fullmatch(one)
      start, end = map(float, found.groups()) if found else (0.0, 0.0)
      if one and not found:
        raise UserError(f'{where}: {one.strip()!r} of {label} is no time')
      if not start < end:
        what = f'ends before it starts ({one.strip()})' if one else 'has no time'
        print(f'note: {where}: {label} {what} and is left out', file=sys.stderr)
        continue
      key = f'{video.removesuffix(".mp4")}@{start:g}-{end:g} {label}'
      yield Entry(key, label, {'': video}, {'subject': subject}, where, start, end)
