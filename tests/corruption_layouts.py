"""The raw files that `corruption.py` spoils: small, valid, one entry a layout."""

import dataclasses
import json
import pathlib
import random
from collections.abc import Callable
from typing import Any

from data_builders import raw_files
from data_builders.clips import clips_dataset_builder
from data_builders.mmact import generate, mmact_dataset_builder, report
from data_builders.table import table_dataset_builder
from tests.data_builders import raw_trees, test_trials

KINDS = (
  *('flipped', 'truncated', 'emptied', 'wrong format', 'hostile path', 'oversized'),
  *('in its place', 'half download', 'litter', 'beyond float32'),
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """A way to lay out raw files, and who reads them.

  Attributes:
    write: writes valid files into a folder that it makes.
    build: a builder of (raw_dir, data_dir, unreadable files that may be left out).
    records: how many it yields.
    suffixes: of the files to spoil; each is as likely as the others.
    numbers: likewise, of those that hold recorded numbers.
    forms: how the files may be kept: 'folder', 'zip', 'tar' or 'tar.gz'.
    archive: the archive's name without its form, by a file's path.
    kinds: what can be done to these files.
    left_out: of a builder that is done, how many records it left out, and the places it names.
  """

  write: Callable[[pathlib.Path], object]
  build: Callable[[pathlib.Path, str, int], Any]
  records: int
  suffixes: tuple[str, ...]
  numbers: tuple[str, ...]
  forms: tuple[str, ...]
  archive: Callable[[str], str]
  kinds: tuple[str, ...] = KINDS
  left_out: Callable[[Any], tuple[int, list[str]]] = lambda builder: (0, [])


def _write_trials(folder: pathlib.Path) -> None:
  for modality in raw_files.FOLDERS:
    raw_trees.write_folder(folder, modality)


def _write_trials_73(folder: pathlib.Path) -> None:
  """The same, the matrices in files of MATLAB 7.3."""
  _write_trials(folder)
  for path in folder.rglob('*.mat'):
    path.write_bytes(raw_trees.as_73(path.read_bytes()))


def _write_mmact(folder: pathlib.Path) -> None:
  actions = ('fall', 'walking')
  rows = [f'{s},{c},1,1,{a},30' for s in (1, 17) for c in (1, 2) for a in actions]
  manifest = folder.parent / 'clips.csv'
  manifest.write_text('\n'.join(['subject,cam,scene,session,action,openpose_frames', *rows]))
  generate.write_raw(folder, manifest, clips=len(rows), defects=False)
  (folder / generate.PLANTED).unlink()


def _build_trials(raw: pathlib.Path, data_dir: str, allowed: int):
  del allowed
  return test_trials.Tiny(modalities=tuple(raw_files.FOLDERS), raw_dir=raw, data_dir=data_dir)


def _build_mmact(raw: pathlib.Path, data_dir: str, allowed: int):
  return mmact_dataset_builder.Builder(
    raw_dir=raw, data_dir=data_dir, short_side=24, workers=0, allow_corrupt=allowed
  )


_LISTED = 4


def _write_table(folder: pathlib.Path) -> None:
  folder.mkdir()
  lines = ['file,label,subject']
  for number in range(_LISTED):
    rows = (f'{i / 20},{number + i / 9:.3f},{-i / 9:.3f},9.81' for i in range(40))
    (folder / f'walk{number}.csv').write_text('\n'.join(['time,x,y,z', *rows]) + '\n')
    lines.append(f'walk{number}.csv,{"fall" if number % 2 else "walk"},{number // 2}')
  (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')


def _build_table(raw: pathlib.Path, data_dir: str, allowed: int):
  return table_dataset_builder.Builder(
    title='tiny', rates=20.0, raw_dir=raw, data_dir=data_dir, allow_corrupt=allowed
  )


def _write_clips(folder: pathlib.Path) -> None:
  for trial in raw_trees.LAYOUT.expected()[:_LISTED]:
    path = folder / raw_trees.LAYOUT.actions[trial.action - 1] / f'{trial.key}.avi'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw_trees.content('rgb', trial))


def _build_clips(raw: pathlib.Path, data_dir: str, allowed: int):
  return clips_dataset_builder.Builder(
    title='tiny', short_side=24, raw_dir=raw, data_dir=data_dir, allow_corrupt=allowed
  )


def _left_out_of_mmact(builder) -> tuple[int, list[str]]:
  content = json.loads((pathlib.Path(builder.data_dir) / report.FILE).read_text())
  places = [place for files in content['files'].values() for place in files]
  return len(content['left_out']), [*content['ignored'], *places]


def _left_out_of_list(builder) -> tuple[int, list[str]]:
  keys = [key for keys in builder.info.metadata['missing'].values() for key in keys]
  # A list that lost rows is a list; what it does not name any more is noted.
  listing = builder.listing
  listed = {path for entry in listing.entries for path in entry.files.values()}
  recordings = {p for p in listing.folder.paths if p.endswith(builder.SUFFIXES)}
  unlisted = recordings - listed - {'labels.csv'}
  places = [f'{key}{suffix}' for key in keys for suffix in builder.SUFFIXES]
  lost = max(_LISTED - len(listing.entries), 0) if unlisted else 0
  return max(len(keys), lost), places + ['labels.csv'] * bool(lost)


_TRIALS = Layout(
  write=_write_trials,
  build=_build_trials,
  records=len(raw_trees.LAYOUT.expected()),
  suffixes=('.avi', '.mat'),
  numbers=('.mat',),
  forms=('folder', 'zip'),
  archive=lambda path: path.partition('/')[0],
)
LAYOUTS = {
  'utd_mhad': _TRIALS,
  'mmact': Layout(
    write=_write_mmact,
    build=_build_mmact,
    records=8,
    suffixes=('.mp4', '.csv'),
    numbers=('.csv',),
    forms=('zip', 'tar.gz', 'folder', 'tar'),
    archive=lambda path: 'MMAct',
    left_out=_left_out_of_mmact,
  ),
  'table': Layout(
    write=_write_table,
    build=_build_table,
    records=_LISTED,
    suffixes=('.csv',),
    numbers=('0.csv', '3.csv'),
    forms=('folder', 'zip'),
    archive=lambda path: 'recordings',
    left_out=_left_out_of_list,
  ),
  'clips': Layout(
    write=_write_clips,
    build=_build_clips,
    records=_LISTED,
    suffixes=('.avi',),
    numbers=(),
    forms=('folder', 'zip'),
    archive=lambda path: 'videos',
    left_out=_left_out_of_list,
    kinds=tuple(kind for kind in KINDS if kind != 'beyond float32'),
  ),
  'utd_mhad 7.3': dataclasses.replace(_TRIALS, write=_write_trials_73, suffixes=('.mat',)),
}


@dataclasses.dataclass
class Tree:
  """Raw files by path."""

  files: dict[str, bytes]

  def choose(self, rng: random.Random, *suffixes: str) -> str:
    return rng.choice([n for n in sorted(self.files) if n.endswith(suffixes or '')])


def trees(scratch: pathlib.Path) -> dict[str, Tree]:
  """Valid files of every layout."""
  scratch.mkdir(parents=True)
  found = {}
  for number, (name, layout) in enumerate(LAYOUTS.items()):
    folder = scratch / str(number)
    layout.write(folder)
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file()]
    found[name] = Tree({p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})
  return found
