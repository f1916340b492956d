"""What the runs of a row left behind, and its figures."""

import csv
import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy import stats

from har.errors import UserError
from har.evaluate import results, sections
from har.study.grid import Run
from har.study.row import LAST, Row

FLOAT = 'float32'
PARTS = 'hidden', 'others'
"""Of the test examples, where classes are hidden from a modality."""
RUNTIME, THREADS = 'litert', '1'
"""Where speed is taken from: rows of `benchmark.csv`."""


@dataclasses.dataclass(frozen=True)
class Measured:
  """What the runs of one row gave for one variant of a stage that is judged.

  Attributes:
    row: name of the row.
    stage: of the experiment, or `product`, what its experts give untrained.
    variant: float32, int8...
    metrics: as in `results.json`, by split, then by seed.
    file: the row of `benchmark.csv`, of the first run; None if there is none.
    published: Top-1 that others state, of float32; None if nobody does.
    at: where the row stands in the picture; None if it does not.
  """

  row: str
  stage: str
  variant: str
  metrics: Mapping[str, Mapping[int, Mapping[str, float]]]
  file: Mapping[str, str] | None
  published: float | None = None
  at: float | None = None

  @property
  def seeds(self) -> int:
    return len(next(iter(self.metrics.values())))

  def of_splits(self, name: str) -> list[float]:
    """A metric's mean over the seeds, of each split."""
    return [statistics.mean(m[name] for m in seeds.values()) for seeds in self.metrics.values()]

  def mean(self, name: str) -> float:
    """Over splits and seeds, each run counting the same; NaN where a run has no such metric."""
    if any(name not in m for seeds in self.metrics.values() for m in seeds.values()):
      return math.nan
    return statistics.mean(self.of_splits(name))

  def deviation(self, name: str) -> float:
    """The sample standard deviation over the splits of means over seeds; NaN of a single one."""
    return _deviation(self.of_splits(name))

  def of_seeds(self, name: str) -> list[float]:
    """A metric's mean over the splits, of each seed."""
    of_split = [[m[name] for m in seeds.values()] for seeds in self.metrics.values()]
    return [statistics.mean(values) for values in zip(*of_split, strict=True)]

  def deviation_of_seeds(self, name: str) -> float:
    """The sample standard deviation over the seeds of means over splits; NaN of a single one."""
    return _deviation(self.of_seeds(name))

  def interval(self, name: str) -> tuple[float, float]:
    """The 95% interval of a fraction's mean, by Student's t over the seeds; NaN of a single one.

    It is about other seeds, which draw the initial values, the order and what else the study has
    them draw, not about other people than those of the splits.
    """
    values = self.of_seeds(name)
    if len(values) < 2:
      return math.nan, math.nan
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return max(0.0, self.mean(name) - half), min(1.0, self.mean(name) + half)

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
  """What the runs of a row gave, stage by stage and variant by variant.

  Of the last stage, asked for as `LAST`, these are float32, int8 and what the row asks for; of
  others float32.

  Raises:
    UserError: a run has no results, or not that stage.
  """
  row, tables = runs[0].row, [results.read_results(run.folder) for run in runs]
  found = []
  for name in row.stages:
    stage = stage_of(tables[0], name)
    blocks = [_blocks(run.folder, table, stage) for run, table in zip(runs, tables, strict=True)]
    files = _files(runs[0].folder, stage)
    for variant in blocks[0]:
      if _wanted(row, name, variant) and all(variant in block for block in blocks):
        metrics: dict[str, dict[int, Mapping[str, float]]] = {run.split: {} for run in runs}
        for run, block in zip(runs, blocks, strict=True):
          metrics[run.split][run.seed] = block[variant]
        published = row.published if variant == FLOAT and stage != sections.PRODUCT else None
        file = files.get(variant)
        found.append(Measured(row.name, stage, variant, metrics, file, published, row.at))
  return found


def stage_of(table: Mapping, name: str) -> str:
  """The stage that `Row.stages` or a pair means, of an experiment with these results."""
  return list(table['stages'])[-1] if name == LAST else name


def _blocks(folder: Path, table: Mapping, stage: str) -> Mapping[str, Mapping[str, float]]:
  """Metrics by variant."""
  if stage == sections.PRODUCT and stage in table.get('baselines', {}):
    found = {FLOAT: table['baselines'][stage]}
  elif stage in table['stages']:
    found = dict(table['stages'][stage])
  else:
    raise UserError(f'{folder}: its results have no {stage}; delete the folder to have it run anew')
  of_hidden = table.get('hidden', {}).get('top1', {}).get(stage, {})
  parts = {f'top1_{part}': of_hidden[part] for part in PARTS if part in of_hidden}
  return found | {FLOAT: {**found[FLOAT], **parts}}


def _wanted(row: Row, stage: str, variant: str) -> bool:
  """Others are schemes of quantisation that --mode=compress compares."""
  if stage != LAST:
    return variant == FLOAT
  wanted = (FLOAT, 'int8', *row.variants)
  return variant in wanted or variant.removesuffix('_int8') in row.variants


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
