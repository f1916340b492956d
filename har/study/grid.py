"""A study's runs: experiments, each on every fold, and what they left behind."""

import csv
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.evaluate import folds, results
from har.evaluate.files import write_text

RUNTIME, THREADS = 'litert', '1'
"""Where speed is taken from: rows of `benchmark.csv`."""


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table.

  Attributes:
    name: for people and for its folder.
    config: what `--config` of `launch.py` takes.
    flags: further ones.
    variants: trained by `--mode=compress` besides, of `har.compress`.
  """

  name: str
  config: str
  flags: tuple[str, ...] = ()
  variants: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Measured:
  """What the runs of one row gave for one variant of the stage that is judged.

  Attributes:
    row: name of the row.
    stage: the last of the experiment.
    variant: float32, int8...
    metrics: of each fold, as in `results.json`.
    file: the row of `benchmark.csv`, of the first fold.
  """

  row: str
  stage: str
  variant: str
  metrics: tuple[Mapping[str, float], ...]
  file: Mapping[str, str]

  def mean(self, name: str) -> float:
    return statistics.mean(m[name] for m in self.metrics)

  def deviation(self, name: str) -> float:
    """The sample standard deviation over the folds; 0 of a single one."""
    values = [m[name] for m in self.metrics]
    return statistics.stdev(values) if len(values) > 1 else 0.0

  @property
  def pooled(self) -> float:
    """Top-1 over the examples of all folds together."""
    total = sum(m['examples'] for m in self.metrics)
    return sum(m['top1'] * m['examples'] for m in self.metrics) / total

  def speed(self, column: str) -> float:
    return float(self.file[column])


def run(row: Row, workdir: Path, flags: Sequence[str]) -> list[Path]:
  """Trains, compresses and measures a row; what is finished is not done again.

  Args:
    row: the experiment.
    workdir: the study's; the row's folds are in `workdir / row.name`.
    flags: of `launch.py`, for all rows.

  Returns:
    The folders of the folds.

  Raises:
    UserError: a command failed, which has said why.
  """
  variants = [f'--config.compress.variants={row.variants!r}'] if row.variants else []
  given = [f'--config={row.config}', *row.flags, *variants, *flags]
  found = folds.commands([*given, f'--workdir={workdir / row.name}'])
  for k, (folder, command) in enumerate(found.items()):
    for mode in ['train'] + ['compress'] * bool(row.variants) + ['benchmark'] * (k == 0):
      _once(folder, mode, [*command, f'--mode={mode}'])
  return list(found)


def _once(folder: Path, mode: str, command: list[str]) -> None:
  """Runs a command unless the same one has ended well in this folder before."""
  path = folder / 'study.json'
  done = json.loads(path.read_text()) if path.exists() else {}
  if done.get(mode) == command[1:]:
    return
  print(f'{folder}: {mode}', file=sys.stderr, flush=True)
  if status := subprocess.run(command, check=False).returncode:
    raise UserError(f'{folder}: --mode={mode} ended with status {status}; see above')
  if not (folder / 'results.json').exists():
    raise UserError(f'{folder}: --mode={mode} was stopped; the same command continues')
  write_text(path, json.dumps({**done, mode: command[1:]}, indent=2))


def collect(row: Row, folders: Sequence[Path]) -> list[Measured]:
  """What the folds of a row gave, variant by variant.

  Raises:
    UserError: a fold has no results, or the first no benchmark.
  """
  tables = [results.read_results(folder) for folder in folders]
  stage = list(tables[0]['stages'])[-1]
  path = folders[0] / 'benchmark.csv'
  try:
    with open(path, encoding='utf-8', newline='') as file:
      rows = [r for r in csv.DictReader(file) if (r['runtime'], r['threads']) == (RUNTIME, THREADS)]
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error
  files = {r['variant']: r for r in rows if r['stage'] == stage}
  found = []
  for variant in tables[0]['stages'][stage]:
    if variant in files and all(variant in table['stages'][stage] for table in tables):
      metrics: tuple[Any, ...] = tuple(table['stages'][stage][variant] for table in tables)
      found.append(Measured(row.name, stage, variant, metrics, files[variant]))
  return found
