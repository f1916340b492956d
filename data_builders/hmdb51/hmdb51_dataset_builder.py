"""HMDB51 (Kuehne et al., ICCV 2011): 6,766 clips of 51 actions, in three official splits."""

import collections
import re

from data_builders import folders
from data_builders.clips import official
from data_builders.clips.official import Clip, Lists
from har.errors import UserError

PARTS = {'0': 'unused', '1': 'train', '2': 'test'}
_LIST = re.compile(r'(\w+)_test_split([123])\.txt')
# What stands behind the class in a name: body, camera, people, viewpoint, quality and number.
_FACTS = r'_[fhlu]_[a-z]{2}_np\d+_[a-z]{2}_[a-z]{3}_\d+\.avi'


class Builder(official.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of `CLASS/NAME.avi` and `testTrainMulti_7030_splits/CLASS_test_split1.txt`.

  In each official split a class has 70 clips for training and 30 for the test; the others are
  unused. The column `group` is the film or video that a clip was cut from, all that stands in front
  of the class in its name. The official lists part no film within a class; across classes they do.
  """

  TITLE = 'hmdb51'
  WHERE_LISTS = 'test_train_splits.rar has them'

  def _read_lists(self, folder: folders.Folder) -> Lists | None:
    paths = collections.defaultdict[str, dict[str, str]](dict)
    for path in folder.paths:
      if match := _LIST.fullmatch(path.rpartition('/')[2]):
        other = paths[match[1]].setdefault(match[2], path)
        if other != path:
          raise UserError(f'{folder.where(path)}: is also {folder.where(other)}; remove one')
    clips: dict[str, Clip] = {}
    for label in sorted(paths):
      for name, clip in _of_class(folder, label, paths[label]).items():
        if name in clips:
          raise UserError(f'{clip.where}: {name} is also in {clips[name].where}')
        clips[name] = clip
    return Lists(tuple(sorted(paths)), clips) if paths else None


def _of_class(folder: folders.Folder, label: str, paths: dict[str, str]) -> dict[str, Clip]:
  """The clips of a class by name, from its lists by split."""
  splits: list[dict[str, str]] = []
  group_of: dict[str, tuple[str, str]] = {}
  for split in '123':
    if split not in paths:
      raise UserError(f'{folder.root}: has no {label}_test_split{split}.txt; fetch the lists again')
    parts: dict[str, str] = {}
    for where, words in official.rows(folder, paths[split]):
      if len(words) != 2 or words[1] not in PARTS:
        raise UserError(f'{where}: {" ".join(words)!r} is not a file and 0, 1 or 2')
      if words[0] in parts:
        raise UserError(f'{where}: {words[0]} is there twice')
      match = re.fullmatch(f'(.+?)_{re.escape(label)}{_FACTS}', words[0])
      if not match:
        raise UserError(
          f'{where}: {words[0]} is not named FILM_{label}_..., and so of another class'
        )
      parts[words[0]] = PARTS[words[1]]
      group_of.setdefault(words[0], (match[1], where))
    splits.append(parts)
  for split, parts in zip('123', splits, strict=True):
    if absent := group_of.keys() - parts.keys():
      raise UserError(f'{folder.where(paths[split])}: lacks {min(absent)}; fetch it again')
  return {
    name: Clip(label, group, tuple(parts[name] for parts in splits), where)
    for name, (group, where) in group_of.items()
  }
