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
from har.evaluate import anomaly_table, results, sections
from har.evaluate.files import aligned
from har.metrics import classification
from har.train import claims

FREE = (
  'seed',
  'dataset.test_subject',
  'dataset.fold',
  'dataset.validation_subjects',
  'runtime',
  'alarm.baselines',
)
"""Keys of the config in which runs may differ."""

_FLOAT = 'float32'
# By the figure that a stage is judged by: what else its row gives.
_TABLES = {
  'top1': ('top5', 'f1'),
  'auroc': ('average_precision', 'error'),
  'error': (),
}


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
    results.read_keys(folder, next(iter(table['stages'])), _FLOAT)
    for folder, table in tables.items()
  ]
  disjoint = len(set().union(*keys)) == sum(map(len, keys))
  seeds = sorted({table['seed'] for table in tables.values()})
  lines = [
    f'{first["dataset"]}, {first["protocol"]}, {first.get("split", "test")} split: {len(tables)} '
    f'runs, {len(set().union(*keys))} examples, seeds {", ".join(map(str, seeds))}',
  ]
  cautions = (caution for table in tables.values() for caution in table.get('cautions', ()))
  lines += [f'caution: {caution}' for caution in dict.fromkeys(cautions)]
  for figure, others in _TABLES.items():
    if rows := _rows(tables.values(), figure, others):
      lines += ['', aligned(rows, left=2)]
  if detected := anomaly_table.text(tables.values()):
    lines += ['', detected]
  lines += _never(list(tables.values()))
  if pairs := _pairs(tables, disjoint):
    lines += ['', aligned(pairs, left=2)]
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
  defaults = (_config(one, split, claims.DEFAULTS) for one in (first, other))
  found = [
    f'{key} is {a!r} there and {b!r} here'
    for key, a, b in claims.differences(*configs, FREE, *defaults)
  ]
  if found:
    raise UserError(f'{first} and {other} are not of one experiment: {"; ".join(found[:3])}')


def _config(folder: Path, split: str, name: str = claims.CONFIG) -> dict:
  path = (folder if split == 'test' else folder.resolve().parent) / name
  if name == claims.DEFAULTS and not path.exists():  # Of before it was written.
    return {}
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(f'cannot read {path}: {error}') from error


def _rows(tables: Collection[Mapping], figure: str, others: Sequence[str]) -> list[list[str]]:
  """The head, and a row for each stage and variant judged by this figure; baselines last."""
  blocks: dict[tuple[str, str], list[Mapping]] = {}
  for table in tables:
    for row in results.table_rows({**table, 'removed': {}}):
      if figure == next(name for name in _TABLES if name in row['metrics']):
        blocks.setdefault((row['stage'], row['variant']), []).append(row['metrics'])
  if not blocks:
    return []
  titles = [results.metric_title(name) for name in (figure, *others)]
  rows = [['Stage', 'Variant', 'Runs', titles[0], 'Std', 'Lowest', 'Highest', *titles[1:]]]
  rows[0] += ['Wrong', 'Examples'] if figure == 'top1' else ['Examples']
  for (stage, variant), found in sorted(blocks.items(), key=lambda one: one[0][1] == 'untrained'):
    values = [block[figure] for block in found]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    cells = [statistics.mean(values), deviation, min(values), max(values)]
    texts = [results.metric_text(figure, value) for value in cells]
    means = {name: statistics.mean(block[name] for block in found) for name in others}
    texts += [results.metric_text(name, value) for name, value in means.items()]
    if figure == 'top1':
      texts.append(str(sum(round((1 - b['top1']) * b['examples']) for b in found)))
    total = sum(block['examples'] for block in found)
    rows.append([stage, variant, str(len(found)), *texts, str(total)])
  return rows


def _never(tables: Sequence[Mapping]) -> list[str]:
  """Alarms of people without an abnormal recording, of each stage that has a threshold."""
  lines: list[str] = []
  for stage, variants in tables[0].get('anomaly', {}).get('stages', {}).items():
    for variant, block in variants.items():
      if block['threshold'] is not None:
        head = [f'{stage} ({variant}), people never abnormal', 'Recordings', 'Alarms', '%']
        lines += ['', aligned([head, *anomaly_table.never(tables, stage, variant)], left=1)]
  return lines


def _pairs(tables: Mapping[Path, Mapping], disjoint: bool) -> list[list[str]]:
  """The head, and a row for what each fusion is compared with; empty without a fusion."""
  counts: dict[tuple[str, str], list[int]] = {}
  for folder, table in tables.items():
    names = sections.singles(table) + list(table['baselines'])
    fused = sections.fusions(table)
    if not fused:
      return []
    predicted = {n: results.read_predictions(folder, n, _FLOAT) for n in (*fused, *names)}
    for name in (*fused, *names):
      if predicted[name].keys != predicted[fused[0]].keys:
        raise UserError(f'{folder}: predictions of {fused[0]} and {name} are of different examples')
    for pair in sections.pairs(table, predicted):
      total = counts.setdefault((pair['fusion'], pair['name']), [0, 0])
      total[0] += pair['fixed']
      total[1] += pair['broke']
  rows = [['Fusion', 'Against', 'Fixed', 'Broke', 'Net', 'p']]
  for (fusion, name), (fixed, broke) in counts.items():
    p = classification.sign_test(fixed, broke)
    chance = '< 0.001' if p < 0.001 else f'{p:.3f}'
    net = f'{fixed - broke:+d}'
    rows.append([fusion, name, str(fixed), str(broke), net, chance if disjoint else '-'])
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
