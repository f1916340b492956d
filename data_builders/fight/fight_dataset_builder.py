"""Surveillance Camera Fight (Akti, Tataroglu and Ekenel, IPTA 2019): 300 clips of two seconds."""

import dataclasses
import re
from collections.abc import Iterator

from data_builders import catalogue, folders
from data_builders.catalogue import Entry
from data_builders.clips import owned
from har.errors import UserError

SOURCES = 'videos.txt'
_MAX_BYTES = 2**20
_CLIP = re.compile(r'(\D+\d+)\s*:.*')
_RANGE = re.compile(r'(\D+)(\d{1,6})\s*-\s*\1(\d{1,6})\s*:\s*(.+)')


class Builder(owned.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of the owners' folder: `fight/*.mp4`, `noFight/*.mp4` and `videos.txt`.

  The column `group` is what a clip was cut from; see `sources`.
  """

  TITLE = 'fight'

  def _records(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    path = owned.find_one(folder, SOURCES, 'what says what clips were cut from')
    text = folder.read(path, _MAX_BYTES).decode('utf-8-sig', 'replace')
    source_of = sources(text, folder.where(path))
    entries, faults = [], []
    for entry in catalogue.by_folder(folder, self.SUFFIXES):
      name = entry.key.rpartition('/')[2]
      if name in source_of:
        columns = {**entry.columns, 'group': source_of[name]}
        entries.append(dataclasses.replace(entry, columns=columns))
      else:
        faults.append(f'{entry.where}: {folder.where(path)} does not say what it was cut from')
    if not entries:
      raise UserError(f'{faults[0]}; nor does it of any other clip')
    return entries, faults


def sources(text: str, where: str) -> dict[str, str]:
  """What each clip was cut from, of the owners' `videos.txt`.

  Below the address of a video stand its clips, `fi001: 0.13.50 - 0.15.60`. In the end there are
  ranges, `nofi062 - nofi076 : CamNet Dataset`: clips of two or three cameras each, which are one
  source, so that no fold parts clips of one camera. A clip that is there twice, as nofi022 and
  nofi076 are, is of the first: both show the scenes of the other clips there.

  Args:
    text: the file.
    where: it is, for messages.

  Raises:
    UserError: a line that is none of these, or a clip above all addresses.
  """
  found: dict[str, str] = {}
  video = ''
  for number, line in enumerate(text.splitlines(), 1):
    line = line.strip()
    at = f'{where}, line {number}'
    if line.startswith('http'):
      video = line
    elif match := _RANGE.fullmatch(line):
      for clip in _clips(*match.groups()[:3]):
        found.setdefault(clip, match[4])
    elif match := _CLIP.fullmatch(line):
      if not video:
        raise UserError(f'{at}: {match[1]} stands above the first address of a video')
      found.setdefault(match[1], video)
    elif line:
      raise UserError(f'{at}: {line!r} is neither an address, a clip with its times nor a range')
  return found


def _clips(name: str, first: str, last: str) -> Iterator[str]:
  for i in range(int(first), int(last) + 1):
    yield f'{name}{i:0{len(first)}}'
