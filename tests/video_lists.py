"""Builds UCF101 and HMDB51 from their owners' lists and made-up clips under all true names.

    python tests/video_lists.py --lists=FOLDER

The folder has `ucf101` (classInd.txt, trainlist01.txt and so on) and `hmdb51` (the files
CLASS_test_split1.txt and so on). Every clip that they name is made, two frames of 16x16 pixels, and
each dataset is built from all of them. What is stored is compared with the lists, which are read
here once more: every clip in its class, each split with its training, test and unused clips, drawn
parts without a source in common. It takes a minute; `--rar` does it from RAR archives, which needs
a program that unpacks them.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from har.data import dataset, protocols  # noqa: E402
from tests.data_builders import films, rars  # noqa: E402

ODD = re.compile(r'[^\w.-]')
PARTS = {'0': 'unused', '1': 'train', '2': 'test'}
# By dataset: where its owners' archives have videos and lists, and the archives' names.
PLACES = {
  'ucf101': ('UCF-101', 'ucfTrainTestlist', 'UCF101.rar', 'UCF101_splits.rar'),
  'hmdb51': ('hmdb51_org', 'testTrainMulti_7030_splits', 'hmdb51_org.rar', 'test_train_splits.rar'),
}

Splits = dict[str, dict[int, str]]
"""By CLASS/NAME.avi, its part in each split."""


def read_ucf101(folder: pathlib.Path) -> Splits:
  found: Splits = collections.defaultdict(dict)
  for path in folder.glob('t*list0[123].txt'):
    for line in path.read_text().split('\n'):
      if line.strip():
        found[line.split()[0]][int(path.stem[-1])] = path.stem.partition('list')[0]
  return found


def read_hmdb51(folder: pathlib.Path) -> Splits:
  found: Splits = collections.defaultdict(dict)
  for path in folder.glob('*_test_split[123].txt'):
    label, _, number = path.stem.partition('_test_split')
    for line in path.read_text().split('\n'):
      if line.strip():
        name, _, part = line.strip().rpartition(' ')
        found[f'{label}/{name}'][int(number)] = PARTS[part]
  return found


READERS = {'ucf101': read_ucf101, 'hmdb51': read_hmdb51}


def make_tree(name: str, lists: pathlib.Path, clips: Splits, root: pathlib.Path, rar: bool) -> None:
  """Writes the raw folder of a dataset."""
  videos, place, *archives = PLACES[name]
  shutil.copytree(lists, root / place)
  one = root.parent / 'one.avi'
  one.write_bytes(films.film('avi', 'mpeg4', times=range(2), size=(16, 16)))
  for path in clips:
    target = root / videos / path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(one, target)
  if not rar:
    return
  classes = sorted((root / videos).iterdir())
  packed = rars.folder_rar(root / videos)
  if name == 'hmdb51':
    packed = rars.rar({f'{path.name}.rar': rars.folder_rar(path) for path in classes})
  for folder, archive, data in zip(
    (videos, place), archives, (packed, rars.folder_rar(root / place)), strict=True
  ):
    (root / archive).write_bytes(data)
    shutil.rmtree(root / folder)


def check(name: str, clips: Splits, raw: pathlib.Path, data_dir: pathlib.Path) -> None:
  """Builds a dataset, and prints its counts; AssertionError if it is not what the lists say."""
  data = dataset.load(
    name,
    ('rgb',),
    data_dir=str(data_dir),
    raw_dir=str(raw),
    builder_options={'short_side': 256},
  )
  paths = [f'{key}.avi' for key in data.index.key]
  assert sorted(paths) == sorted(clips)
  labels = [data.class_names[i] for i in data.index.label]
  assert labels == [path.partition('/')[0] for path in paths]
  odd = [path for path in paths if ODD.search(path.rpartition('/')[2])]
  classes, sources = len(set(labels)), len(set(data.index.group))
  print(f'{name}: {len(paths)} clips, {classes} classes, {len(odd)} odd names, {sources} sources')
  for fold in (1, 2, 3):
    options = protocols.SplitOptions(protocol='official', fold=fold, group='group')
    splits = protocols.make_splits(data.index, data.metadata, options)
    counts = {}
    for part in protocols.PARTS:
      found = {paths[i] for i in getattr(splits, part)}
      assert found == {path for path, parts in clips.items() if parts[fold] == part}, (fold, part)
      counts[part] = len(found)
    print(f'  split {fold}: {counts}')
  for protocol in protocols.DRAWN:
    options = protocols.SplitOptions(protocol=protocol, fold=1, group='group')
    splits = protocols.make_splits(data.index, data.metadata, options)
    drawn = [getattr(splits, part) for part in protocols.PARTS[:3]]
    groups = [set(data.index.group[at]) for at in drawn]
    shared = len(groups[0] & groups[2])
    assert protocol == 'by_clip' or sum(map(len, groups)) == sources
    print(f'  {protocol}: {[len(at) for at in drawn]}, {shared} tested sources are trained on, too')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--lists', type=pathlib.Path, required=True)
  parser.add_argument('--rar', action='store_true', help='from RAR archives')
  given = parser.parse_args()
  for name, read in READERS.items():
    clips = read(given.lists / name)
    if not clips:
      parser.error(f'{given.lists / name}: no lists of {name} are there')
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      make_tree(name, given.lists / name, clips, root / 'raw', given.rar)
      check(name, clips, root / 'raw', root / 'data')


if __name__ == '__main__':
  main()
