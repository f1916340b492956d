"""What the runs of a row left behind, and its figures."""

import csv
import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from har.errors import UserError
from har.evaluate import results
from har.study.grid import Run

RUNTIME, THREADS = 'litert', '1'
"""Where speed is taken from: rows of `benchmark.csv`."""


@dataclasses.dataclass(frozen=True)
class Measured:
  """What the runs of one row gave for one variant of the stage that is judged.

  Attributes:
    row: name of the row.
    stage: the last of the experiment.
    variant: float32, int8...
    metrics: as in `results.json`, by split, then by seed.
    file: the row of `benchmark.csv`, of the first run; None if there is none.
    published: Top-1 that others state, of float32; None if nobody does.
  """

  row: str
  stage: str
  variant: str
  metrics: Mapping[str, Mapping[int, Mapping[str, float]]]
  file: Mapping[str, str] | None
  published: float | None = None

  @property
  def seeds(self) -> int:
    return len(next(iter(self.metrics.values())))

  def of_splits(self, name: str) -> list[float]:
    """A metric's mean over the seeds, of each split."""
    return [statistics.mean(m[name] for m in seeds.values()) for seeds in self.metrics.values()]

  def mean(self, name: str) -> float:
    """Over splits and seeds, each run counting the same."""
    return statistics.mean(self.of_splits(name))

  def deviation(self, name: str) -> float:
    """The sample standard deviation over the splits of means over seeds; NaN of a single one."""
    return _deviation(self.of_splits(name))

  def deviation_of_seeds(self, name: str) -> float:
    """The sample standard deviation over the seeds of means over splits; NaN of a single one."""
    of_split = [[m[name] for m in seeds.values()] for seeds in self.metrics.values()]
    by_seed = zip(*of_split, strict=True)
    return _deviation([statistics.mean(values) for values in by_seed])

  @property
  def examples(self) -> int:
    """Of all runs; one that several seeds predict counts as often."""
    return int(sum(m['examples'] for seeds in self.metrics.values() for m in seeds.values()))

  @property
  def pooled(self) -> float:
    """Top-1 over the examples of all runs together."""
    found = [m for seeds in self.metrics.values() for m in seeds.values()]
    return sum(m['top1'] * m['examples'] for m in found) / self.examples

  def speed(self, column: str) -> float:
    """Of `benchmark.csv`; NaN where it was not measured."""
    return math.nan if self.file is None else float(self.file[column])


def _deviation(values: Sequence[float]) -> float:
  return statistics.stdev(values) if len(values) > 1 else math.nan


def collect(runs: Sequence[Run]) -> list[Measured]:
  """What the runs of a row gave, variant by variant: float32, int8 and what the row asks for.

  Raises:
    UserError: a run has no results.
  """
  row, tables = runs[0].row, [results.read_results(run.folder) for run in runs]
  stage = list(tables[0]['stages'])[-1]
  files = _files(runs[0].folder, stage)
  wanted = ('float32', 'int8', *row.variants)
  found = []
  for variant in tables[0]['stages'][stage]:
    # Others are schemes of quantisation that --mode=compress compares.
    asked = variant in wanted or variant.removesuffix('_int8') in row.variants
    if asked and all(variant in table['stages'][stage] for table in tables):
      metrics: dict[str, dict[int, Mapping[str, float]]] = {run.split: {} for run in runs}
      for run, table in zip(runs, tables, strict=True):
        metrics[run.split][run.seed] = table['stages'][stage][variant]
      published = row.published if variant == 'float32' else None
      found.append(Measured(row.name, stage, variant, metrics, files.get(variant), published))
  return found


def _files(folder: Path, stage: str) -> dict[str, Mapping[str, str]]:
  """The rows of a run's `benchmark.csv` by variant; none if it was not measured."""
  path = folder / 'benchmark.csv'
  try:
    with open(path, encoding='utf-8', newline='') as file:
      rows = [r for r in csv.DictReader(file) if (r['runtime'], r['threads']) == (RUNTIME, THREADS)]
  except FileNotFoundError:
    return {}
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error
  return {r['variant']: r for r in rows if r['stage'] == stage}
