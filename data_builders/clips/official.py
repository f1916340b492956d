"""The base of builders of videos that their owners divide into training and test by lists."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from data_builders import fingerprint, folder_builder, folders
from data_builders.catalogue import Entry
from data_builders.clips import owned
from har.errors import UserError

# Of a list, bytes.
_MAX_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class Clip:
  """What lists say of a video.

  Attributes:
    label: its class.
    group: what it was cut from.
    parts: train, test or unused, in each official split.
    where: the line that names it first.
  """

  label: str
  group: str
  parts: tuple[str, ...]
  where: str


@dataclasses.dataclass(frozen=True)
class Lists:
  """What the official lists say.

  Attributes:
    classes: in label order.
    clips: by file name.
  """

  classes: tuple[str, ...]
  clips: Mapping[str, Clip]


class Builder(owned.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of videos in official lists; see `clips` for what is stored.

  Columns `split1`, `split2` and `split3` are the lists, for `protocol=official`, and `group` is
  what a video was cut from. All is read in place but RAR archives, which are unpacked into a
  temporary folder if something that they may hold is not there; those that a prepared dataset was
  made of, and that are still the same, only if they hold the lists. A video that is listed and not
  there, or there and not listed, is a fault.

  A subclass sets `WHERE_LISTS`, what to say if there are none.
  """

  WHERE_LISTS: ClassVar[str]

  def _read_lists(self, folder: folders.Folder) -> Lists | None:
    """The official lists; None if there are none; UserError for some of them, or wrong ones."""
    raise NotImplementedError

  @functools.cached_property
  def listing(self) -> folder_builder.Listing:
    """As any folder's, classes in the lists' order whatever is missing."""
    found = super().listing
    if self._options['classes']:
      return found
    label_of = {label: label for label in self._lists.classes}
    return dataclasses.replace(found, classes=self._lists.classes, label_of=label_of)

  def unpacked(self) -> Mapping[str, Sequence[str]]:
    """What is in the archives that cannot be read in place, by path below `raw_dir`."""
    return self.listing.folder.unpacked

  def _records(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    lists = self._read_lists(folder)
    if lists is None:
      self._unpack(folder, of_lists=True)
      lists = self._read_lists(folder)
    if lists is None:
      raise UserError(f'{folder.root}: the official lists are not there; {self.WHERE_LISTS}')
    self._lists = lists
    paths = self._videos(folder)
    if any(name.casefold() not in paths for name in map(_stem, lists.clips)):
      self._unpack(folder, of_lists=False)
      paths = self._videos(folder)
    entries, faults = [], []
    for name, clip in lists.clips.items():
      if path := paths.pop(_stem(name).casefold(), ''):
        columns = {'group': clip.group}
        columns |= {f'split{i}': part for i, part in enumerate(clip.parts, 1)}
        key = f'{clip.label}/{_stem(name)}'
        entries.append(Entry(key, clip.label, {'': path}, columns, folder.where(path)))
      else:
        faults.append(f'{clip.where}: there is no file {name}')
    faults += [f'{folder.where(path)}: is in no official list' for path in paths.values()]
    if not entries:
      raise UserError(f'{faults[0]}, nor any other of the {len(lists.clips)} that are listed')
    return entries, faults

  def _unpack(self, folder: folders.Folder, of_lists: bool) -> None:
    """Unpacks RAR archives: those that hold lists, by their names, or the others."""
    known = fingerprint.same_archives(self.data_dir, folder.root)
    for path in folder.paths:
      name = path.rpartition('/')[2].lower()
      if name.endswith('.rar') and ('split' in name) == of_lists and not folder.is_member(path):
        folder.unpack(path, known.get(path))

  def _videos(self, folder: folders.Folder) -> dict[str, str]:
    """Paths by name without ending, in small letters."""
    found: dict[str, str] = {}
    for path in folder.paths:
      if path.lower().endswith(self.SUFFIXES):
        other = found.setdefault(_stem(path.rpartition('/')[2]).casefold(), path)
        if other != path:
          raise UserError(f'{folder.where(path)}: is also {folder.where(other)}; remove one')
    return found


def _stem(name: str) -> str:
  return pathlib.PurePosixPath(name).stem


def rows(folder: folders.Folder, path: str) -> list[tuple[str, list[str]]]:
  """The words of each line of a list that has any, and where it is."""
  text = folder.read(path, _MAX_BYTES).decode('utf-8-sig', 'replace')
  lines = [(f'{folder.where(path)}, line {i}', line) for i, line in enumerate(text.splitlines(), 1)]
  return [(where, line.split()) for where, line in lines if line.strip()]
