"""UCF101 (Soomro, Zamir and Shah, 2012): 13,320 clips of 101 actions, in three official splits."""

import re

from data_builders import folders
from data_builders.clips import official, owned
from data_builders.clips.official import Clip, Lists
from har.errors import UserError

SPLITS = (1, 2, 3)
CLASSES = 'classInd.txt'
_NAME = re.compile(r'v_\w+_(g\d+)_c\d+\.avi')


class Builder(official.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of `UCF-101/CLASS/v_CLASS_g01_c01.avi` and `ucfTrainTestlist/*.txt`.

  Videos of one class and number g01 to g25 show one person or place, the column `group`; no
  official list parts them.
  """

  TITLE = 'ucf101'
  WHERE_LISTS = 'UCF101TrainTestSplits-RecognitionTask.zip has them'

  def _read_lists(self, folder: folders.Folder) -> Lists | None:
    if not any(path.rpartition('/')[2].lower() == CLASSES.lower() for path in folder.paths):
      return None
    path = owned.find_one(folder, CLASSES, 'the list of classes')
    label_of = _classes(folder, path)
    group_of: dict[str, tuple[str, str, str]] = {}
    part_of: list[dict[str, str]] = []
    for split in SPLITS:
      parts: dict[str, str] = {}
      for part in ('train', 'test'):
        path = owned.find_one(folder, f'{part}list{split:02}.txt', 'an official list')
        for where, words in official.rows(folder, path):
          name, label, group = _clip(words, label_of, where)
          group_of.setdefault(name, (label, group, where))
          if parts.setdefault(name, part) != part:
            raise UserError(f'{where}: {name} is for training, too')
      part_of.append(parts)
    for split, parts in zip(SPLITS, part_of, strict=True):
      if absent := group_of.keys() - parts.keys():
        raise UserError(
          f'{folder.root}: {min(absent)} is in other official lists, and in neither of split '
          f'{split} ({len(absent)} such files); fetch the lists again'
        )
    clips = {
      name: Clip(label, group, tuple(parts[name] for parts in part_of), where)
      for name, (label, group, where) in group_of.items()
    }
    return Lists(tuple(label_of.values()), clips)


def _classes(folder: folders.Folder, path: str) -> dict[str, str]:
  """Classes by their numbers, `{'1': 'ApplyEyeMakeup', ...}`, in order."""
  found: dict[str, str] = {}
  for where, words in official.rows(folder, path):
    if len(words) != 2 or words[0] != str(len(found) + 1) or words[1] in found.values():
      raise UserError(
        f'{where}: {" ".join(words)!r} is not number {len(found) + 1} and a new class'
      )
    found[words[0]] = words[1]
  return found


def _clip(words: list[str], label_of: dict[str, str], where: str) -> tuple[str, str, str]:
  """File name, class and group, of `CLASS/NAME.avi` and, to train, the class's number."""
  label, _, name = words[0].rpartition('/')
  match = _NAME.fullmatch(name)
  if not match or len(words) > 2:
    raise UserError(f'{where}: {" ".join(words)!r} is not CLASS/v_NAME_g01_c01.avi and a number')
  if label not in label_of.values():
    raise UserError(f'{where}: {label!r} is no class of {CLASSES}')
  if len(words) == 2 and label_of.get(words[1]) != label:
    raise UserError(f'{where}: {label} is not number {words[1]} in {CLASSES}')
  return name, label, f'{label}_{match[1]}'
