"""A study's runs: every row on each of its splits with each seed, and what is left of them."""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.evaluate import folds
from har.evaluate.files import write_text
from har.study import claims
from har.study.launcher import Launcher
from har.study.row import Row

TRAIN, COMPRESS, BENCHMARK = 'train', 'compress', 'benchmark'
_JOURNAL = 'study.json'
# Where things lie decides nothing about them.
_PLACES = ('--workdir', '--raw_dir', '--data_dir', '--config.runtime.cache_dir')

_QUICKLY = {
  'XLA_FLAGS': '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
}


class Stopped(Exception):
  """The study was asked to stop; what it ran is saved."""


@dataclasses.dataclass(frozen=True)
class Run:
  """One experiment.

  Attributes:
    row: that it belongs to.
    split: name of the split.
    seed: of everything.
    folder: its workdir.
    commands: by mode, in order.
    environment: variables that their environment has besides.
    claim: the lock of whoever does it; not in the folder, which a refusal removes.
  """

  row: Row
  split: str
  seed: int
  folder: Path
  commands: Mapping[str, list[str]]
  environment: Mapping[str, str]
  claim: Path

  def left(self) -> list[str]:
    """Modes that have not ended well with these flags."""
    done = _journal(self.folder)
    return [
      mode
      for mode, command in self.commands.items()
      if not (done.get(mode) or _NOTHING).of(command).finished
    ]

  @property
  def finished(self) -> bool:
    """Whether all is done but the benchmark."""
    return not {*self.left()} - {BENCHMARK}

  @property
  def seconds(self) -> float | None:
    """What it took, the benchmark aside; None if that is not known, or it is not finished."""
    if not self.finished:
      return None
    done = _journal(self.folder)
    found = [done[mode].seconds for mode in self.commands if mode != BENCHMARK]
    return None if None in found else sum(filter(None, found))


@dataclasses.dataclass(frozen=True)
class Failure:
  """A command that failed.

  Attributes:
    row: its name.
    folder: the run's.
    mode: of `launch.py`.
    error: the last line that says why.
  """

  row: str
  folder: Path
  mode: str
  error: str

  def __str__(self) -> str:
    return f'row {self.row}: {self.folder}: --mode={self.mode}: {self.error}'


@dataclasses.dataclass(frozen=True)
class _Done:
  """What is known of a command: with which flags, in how many seconds (None: not known)."""

  flags: Mapping[str, str]
  seconds: float | None
  finished: bool

  def of(self, command: Sequence[str]) -> '_Done':
    """The same if the command has these flags, else nothing."""
    return self if self.flags == _flags(command) else _NOTHING


_NOTHING = _Done({}, 0.0, False)


def _flags(command: Sequence[str]) -> dict[str, str]:
  """What a command decides by; of a flag that is given twice the last counts."""
  found = dict(word.partition('=')[::2] for word in command if word.startswith('--'))
  return {name: value for name, value in found.items() if name not in _PLACES}


def _journal(folder: Path) -> dict[str, _Done]:
  path = folder / _JOURNAL
  try:
    text = path.read_text()
  except FileNotFoundError:
    return {}
  try:
    found = {}
    for mode, one in json.loads(text).items():
      if isinstance(one, list):  # As it was before there were seconds.
        one = {'command': one, 'seconds': None, 'finished': True}
      found[mode] = _Done(_flags(one['command']), one['seconds'], one['finished'])
    return found
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path}: cannot be read; delete it to have the run looked at anew') from error


def plan(
  rows: Sequence[Row], seeds: int, workdir: Path, flags: Sequence[str], *, quick: bool = False
) -> dict[str, list[Run]]:
  """The runs of each row, by its name; those of one seed come before those of the next.

  Args:
    rows: of the study.
    seeds: 0 to one less are run.
    workdir: the runs are in WORKDIR/ROW/seed_N/SPLIT. A run of that seed in WORKDIR/ROW/SPLIT,
      where there were none of several, stays where it is.
    flags: of `launch.py`, for all rows.
    quick: they compile quickly, since they run little.
  """
  environment = _QUICKLY if quick else {}
  found: dict[str, list[Run]] = {}
  for row in rows:
    found[row.name] = []
    for seed in range(seeds):
      for split, chosen in row.splits.items():
        first = not found[row.name]
        folder = _folder(workdir / row.name, seed, split)
        given = [f'--config={row.config}', *row.flags, *chosen, f'--config.seed={seed}', *flags]
        given += [f'--config.compress.variants={row.variants!r}'] * bool(row.variants)
        modes = [TRAIN] + [COMPRESS] * bool(row.variants) + [BENCHMARK] * (first and row.benchmark)
        start = [sys.executable, str(folds.LAUNCH), *given, f'--workdir={folder}']
        commands = {mode: [*start, f'--mode={mode}'] for mode in modes}
        claim = workdir / claims.CLAIMS / f'{row.name}-seed_{seed}-{split}'
        found[row.name].append(Run(row, split, seed, folder, commands, environment, claim))
  return found


def _folder(place: Path, seed: int, split: str) -> Path:
  path = place / split / 'config.json'
  try:
    old = json.loads(path.read_text())['seed']
  except FileNotFoundError:
    old = None
  except (ValueError, KeyError) as error:
    raise UserError(f'{path}: cannot be read; delete its folder') from error
  return place / split if old == seed else place / f'seed_{seed}' / split


def run(runs: Sequence[Run], launcher: Launcher) -> list[Failure]:
  """Does what is left of a row's runs; the first that fails, its benchmark aside, ends the row.

  A run that another process does is left to it.

  Raises:
    Stopped: the study was asked to stop.
  """
  failures = []
  for one in runs:
    if not one.left():
      continue
    with claims.held(one.claim) as mine:
      if not mine:
        print(f'{one.folder}: another process does it', file=sys.stderr, flush=True)
      # What is left is looked up again: it may have been done just now.
      for mode in one.left() if mine else ():
        if failure := _do(one, mode, launcher):
          failures.append(failure)
          if mode != BENCHMARK:
            return failures
  return failures


def complete(runs: Sequence[Run]) -> bool:
  """Whether a row has all but perhaps its benchmark."""
  return all(one.finished for one in runs)


def _do(one: Run, mode: str, launcher: Launcher) -> Failure | None:
  """Runs a command and writes down that it ended, in the folder if that is there."""
  if launcher.stopped:
    raise Stopped
  print(f'{one.folder}: {mode}', file=sys.stderr, flush=True)
  before = (_journal(one.folder).get(mode) or _NOTHING).of(one.commands[mode])
  seconds = before.seconds
  if before is _NOTHING and mode == TRAIN and (one.folder / 'config.json').exists():
    seconds = None  # Begun by something that was killed.
  started = time.monotonic()
  ended = launcher.run(one.commands[mode], one.environment)
  if seconds is not None:
    seconds += time.monotonic() - started
  saved = any(line.startswith('stopped: ') for line in ended.said)  # Which ends with status 0.
  finished = not ended.status and not saved
  if (one.folder / 'config.json').exists():  # A run that is refused leaves no folder.
    _write(one, mode, seconds, finished)
  if not finished and (saved or launcher.stopped):
    raise Stopped
  return None if finished else Failure(one.row.name, one.folder, mode, ended.error)


def _write(one: Run, mode: str, seconds: float | None, finished: bool) -> None:
  path = one.folder / _JOURNAL
  known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
  entry = {'command': one.commands[mode][1:], 'seconds': seconds, 'finished': finished}
  write_text(path, json.dumps({**known, mode: entry}, indent=2))
