"""Several runs of one experiment in one table: its seeds, or the subjects that it left out in turn.

    python -m har.evaluate.summary runs/seed_0 runs/seed_1 runs/seed_2

Each argument is a workdir, or its folder `validation`. Runs may differ in the seed and in whom they
test and validate on, and in nothing else. Written are means over the runs, each counting the same,
and the sample standard deviation of Top-1.
"""

import json
import statistics
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from absl import app

from har.errors import UserError
from har.evaluate import metrics, results
from har.evaluate.files import aligned
from har.evaluate.report import FUSION
from har.train import experiment

FREE = ('seed', 'dataset.test_subject', 'dataset.validation_subjects', 'runtime')
"""Keys of the config in which runs may differ."""

_FLOAT = 'float32'
_HEADS = (
  *('Stage', 'Variant', 'Runs', 'Top-1', 'Std', 'Lowest', 'Highest', 'Top-5', 'F1'),
  *('Wrong', 'Examples'),
)


def summarise(folders: Sequence[Path]) -> str:
  """The text that the command prints.

  Args:
    folders: of the runs, each with its `results.json` and `predictions`.

  Raises:
    UserError: no folder, one twice, one without results, or runs of different experiments.
  """
  tables = _read(folders)
  first = next(iter(tables.values()))
  keys = [
    results.read_predictions(folder, next(iter(table['stages'])), _FLOAT).keys
    for folder, table in tables.items()
  ]
  disjoint = len(set().union(*keys)) == sum(map(len, keys))
  seeds = sorted({table['seed'] for table in tables.values()})
  lines = [
    f'{first["dataset"]}, {first["protocol"]}, {first.get("split", "test")} split: {len(tables)} '
    f'runs, {len(set().union(*keys))} examples, seeds {", ".join(map(str, seeds))}',
    '',
    aligned(_rows(tables.values()), left=2),
  ]
  if pairs := _pairs(tables, disjoint):
    lines += ['', aligned(pairs, left=1)]
    if not disjoint:
      lines.append('No p: runs share examples, so their errors are not independent.')
  return '\n'.join(lines)


def _read(folders: Sequence[Path]) -> dict[Path, dict]:
  """The runs' results, of which one experiment is left."""
  tables: dict[Path, dict] = {}
  known: list[Path] = []
  for folder in folders:
    if folder.resolve() in known:
      raise UserError(f'{folder} is given twice')
    known.append(folder.resolve())
    tables[folder] = results.read_results(folder)
    _check(folders[0], tables[folders[0]], folder, tables[folder])
  if not tables:
    raise UserError('name the workdirs of the runs')
  return tables


def _check(first: Path, table: Mapping, other: Path, other_table: Mapping) -> None:
  """Raises UserError unless both are runs of one experiment."""
  split, other_split = (t.get('split', 'test') for t in (table, other_table))
  if split != other_split:
    raise UserError(f'{first} holds figures of the {split} split, {other} of {other_split}')
  configs = (_config(first, split), _config(other, split))
  found = [
    f'{key} is {a!r} there and {b!r} here' for key, a, b in experiment.differences(*configs, FREE)
  ]
  if found:
    raise UserError(f'{first} and {other} are not of one experiment: {"; ".join(found[:3])}')


def _config(folder: Path, split: str) -> dict:
  path = (folder if split == 'test' else folder.resolve().parent) / 'config.json'
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(f'cannot read {path}: {error}') from error


def _rows(tables: Collection[Mapping]) -> list[list[str]]:
  """The head, and a row for each stage and variant; baselines last."""
  blocks: dict[tuple[str, str], list[Mapping]] = {}
  for table in tables:
    for stage, variants in table['stages'].items():
      for variant, block in variants.items():
        blocks.setdefault((stage, variant), []).append(block)
  for table in tables:
    for name, block in table.get('baselines', {}).items():
      blocks.setdefault((name, 'untrained'), []).append(block)
  rows = [list(_HEADS)]
  for (stage, variant), found in blocks.items():
    top1 = [100 * block['top1'] for block in found]
    wrong = sum(round((1 - block['top1']) * block['examples']) for block in found)
    figures = (
      statistics.mean(top1),
      statistics.stdev(top1) if len(top1) > 1 else None,
      min(top1),
      max(top1),
      *(100 * statistics.mean(block[name] for block in found) for name in ('top5', 'f1')),
    )
    cells = ['-' if value is None else f'{value:.1f}' for value in figures]
    total = sum(block['examples'] for block in found)
    rows.append([stage, variant, str(len(found)), *cells, str(wrong), str(total)])
  return rows


def _pairs(tables: Mapping[Path, Mapping], disjoint: bool) -> list[list[str]]:
  """The head, and a row for what the fusion is compared with; empty without a fusion."""
  first = next(iter(tables.values()))
  if FUSION not in first['stages']:
    return []
  others = [stage for stage in first['stages'] if stage != FUSION] + list(first['baselines'])
  rows = [['Fusion against', 'Fixed', 'Broke', 'Net', 'p']]
  for name in others:
    fixed = broke = 0
    for folder in tables:
      fused = results.read_predictions(folder, FUSION, _FLOAT)
      other = results.read_predictions(folder, name, _FLOAT)
      if fused.keys != other.keys:
        raise UserError(f'{folder}: predictions of {FUSION} and {name} are of different examples')
      fixed += int((fused.correct & ~other.correct).sum())
      broke += int((~fused.correct & other.correct).sum())
    p = metrics.sign_test(fixed, broke)
    chance = '< 0.001' if p < 0.001 else f'{p:.3f}'
    rows.append([name, str(fixed), str(broke), f'{fixed - broke:+d}', chance if disjoint else '-'])
  return rows


def main(argv: Sequence[str]) -> None:
  """Prints the summary."""
  try:
    print(summarise([Path(name) for name in argv[1:]]))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  app.run(main)
