"""The results that a run leaves behind for programs: `results.json` and `predictions/*.csv`."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from har.errors import UserError
from har.evaluate.files import aligned, file_size, write_text
from har.metrics.classification import METRICS, Predictions
from har.metrics.detection import Detections

KEYS = ('dataset', 'protocol', 'seed', 'stages', 'parameters', 'bytes', 'seconds')
OPTIONAL: dict[str, Any] = {
  'split': 'test',
  'modalities': {},
  'baselines': {},
  'missing': {},
  'removed': {},
  'alarms': {},
  'cautions': [],
  'anomaly': {},
  'decision': {},
  'hidden': {},
}
"""Further keys, and what is written where they are not given."""
_TITLES = {'top1': 'Top-1', 'top5': 'Top-5', 'auroc': 'AUROC'}
_NO_FRACTIONS = ('error',)


def write_results(workdir: str | os.PathLike, results: Mapping) -> Path:
  """Writes WORKDIR/results.json atomically.

  Args:
    workdir: the run's folder.
    results: `dataset`, `protocol`, `seed`; `stages` {stage: {variant: metrics}}; `parameters`
      {stage: count}; `bytes` {stage: {variant: size}}; `seconds` {stage: training time}; and those
      of `OPTIONAL` that there are: `split` that was evaluated on, `modalities` {stage: [names]},
      `baselines` {'product' and 'decision': metrics}, `missing` {modality: [trial keys]}, `removed`
      {stage: {modality: metrics without it}}, `alarms` {stage: counts of `sections.alarms`},
      `cautions` [sentences that say why figures flatter], `anomaly`, see
      `har.evaluate.anomaly.table`, `decision`, what `har.evaluate.decision` fitted and its
      `calibration` on the split, and `hidden`, see `har.data.hidden`: the fields `from` which
      `classes` are hidden, and `top1` {stage or baseline: of those classes and of the others}.
      `metrics` are what the `metrics` of predictions and detections return.

  Raises:
    ValueError: keys that the contract does not know or lacks, or a value that is not finite.
    UserError: the file cannot be written.
  """
  _check(results)
  ordered = {key: results.get(key, OPTIONAL.get(key)) for key in (*KEYS, *OPTIONAL)}
  text = json.dumps(ordered, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
  return write_text(Path(workdir) / 'results.json', text + '\n')


def read_results(workdir: str | os.PathLike) -> dict:
  """The content of WORKDIR/results.json.

  Raises:
    UserError: there is none, or it is not what `write_results` writes.
  """
  path = Path(workdir) / 'results.json'
  try:
    results = json.loads(path.read_text(encoding='utf-8'))
    _check(results)
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}: train the stages first') from error
  except ValueError as error:
    raise UserError(f'{path} is not a results file: {error}') from error
  return results


def predictions_path(workdir: str | os.PathLike, stage: str, variant: str) -> Path:
  return Path(workdir) / 'predictions' / f'{stage}-{variant}.csv'


def write_predictions(
  workdir: str | os.PathLike, stage: str, variant: str, predictions: Predictions | Detections
) -> Path:
  """Writes WORKDIR/predictions/{stage}-{variant}.csv atomically; equal scores give equal bytes.

  One row per example, in the order given: what its `rows` yields.
  """
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows(predictions.rows())
  return write_text(predictions_path(workdir, stage, variant), text.getvalue())


def read_predictions(workdir: str | os.PathLike, stage: str, variant: str) -> Predictions:
  """What `write_predictions` wrote of a classifier, probabilities to 6 decimals.

  Raises:
    UserError: there is no such file, or its rows do not fit its header.
  """
  path, (header, *rows) = _read_rows(workdir, stage, variant)
  try:
    keys, true, predicted = zip(*(row[:3] for row in rows), strict=True)
    probabilities = np.array([row[3:] for row in rows], np.float64)
    if probabilities.shape != (len(rows), len(header) - 3):
      raise ValueError(f'{len(header)} columns expected')
    labels, classes = np.array(true, np.int64), np.array(predicted, np.int64)
  except ValueError as error:
    raise UserError(f'{path} is not a predictions file: {error}') from error
  return Predictions(keys, labels, classes, probabilities, tuple(header[3:]))


def read_keys(workdir: str | os.PathLike, stage: str, variant: str) -> tuple[str, ...]:
  """The examples of a file of `write_predictions`; UserError if there is none."""
  path, (_, *rows) = _read_rows(workdir, stage, variant)
  if not all(rows):
    raise UserError(f'{path} is not a predictions file: a line is empty')
  return tuple(row[0] for row in rows)


def _read_rows(workdir: str | os.PathLike, stage: str, variant: str) -> tuple[Path, list[list]]:
  path = predictions_path(workdir, stage, variant)
  try:
    with open(path, encoding='utf-8', newline='') as file:
      rows = list(csv.reader(file))
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}: evaluate the stage first') from error
  if not rows:
    raise UserError(f'{path} is not a predictions file: it is empty')
  return path, rows


def text_table(results: Mapping) -> str:
  """The results as an aligned table for the terminal, fractions in per cent.

  A row per stage and variant and per modality taken away, then the baselines. Size is that of the
  parameters.
  """
  rows = table_rows(results)
  names = metric_names(row['metrics'] for row in rows)
  lines = [['Stage', 'Variant', *map(metric_title, names), 'Parameters', 'Size']]
  for row in rows:
    cells = [metric_text(name, row['metrics'].get(name)) for name in names]
    count = '-' if row['parameters'] is None else f'{row["parameters"]:,}'
    size = '-' if row['bytes'] is None else file_size(row['bytes'])
    lines.append([row['stage'], row['variant'], *cells, count, size])
  return aligned(lines, left=2)


def table_rows(results: Mapping) -> list[dict]:
  """The results table: every stage and variant, also without a modality, then the baselines."""
  rows = []
  for stage, variants in results['stages'].items():
    for variant, values in variants.items():
      first = variant == 'float32'
      parameters = results['parameters'].get(stage) if first else None
      size = results['bytes'].get(stage, {}).get(variant)
      seconds = results['seconds'].get(stage) if first else None
      rows.append(_row(stage, variant, values, parameters, size, seconds))
    for modality, values in results.get('removed', {}).get(stage, {}).items():
      rows.append(_row(stage, without(modality), values))
  variants = {'decision': 'calibrated'}
  blocks = results.get('baselines', {}).items()
  return rows + [_row(n, variants.get(n, 'untrained'), v) for n, v in blocks]


def _row(stage, variant, values, parameters=None, size=None, seconds=None) -> dict:
  return {
    'stage': stage,
    'variant': variant,
    'metrics': values,
    'parameters': parameters,
    'bytes': size,
    'seconds': seconds,
  }


def metric_names(blocks: Iterable[Mapping]) -> list[str]:
  """The metrics that any of the blocks has, those of classifiers first, `examples` last."""
  found = {name: None for block in blocks for name in block}
  known = [name for name in METRICS if name in found]
  others = [name for name in found if name not in METRICS]
  return [*(name for name in known if name != 'examples'), *others, 'examples']


def metric_title(name: str) -> str:
  """A metric's name as tables write it."""
  return _TITLES.get(name, name.replace('_', ' ').capitalize())


def metric_text(name: str, value: float | None) -> str:
  """A metric's value: counts whole, errors with four digits, fractions in per cent."""
  if value is None:
    return '-'
  if name == 'examples':
    return str(value)
  return f'{value:.4g}' if name in _NO_FRACTIONS else f'{100 * value:.1f}'


def without(modality: str) -> str:
  """The name of the row for a stage that has to do without a modality."""
  return f'without {modality}'


def _check(results: Mapping) -> None:
  if not isinstance(results, Mapping):
    raise ValueError('no mapping of keys to values')
  keys = set(results)
  if not set(KEYS) <= keys <= {*KEYS, *OPTIONAL}:
    raise ValueError(f'keys {sorted(keys)} instead of {[*KEYS, *OPTIONAL]}')
  stages = results['stages']
  removed = results.get('removed', {})
  blocks = {f'{s}-{v}': block for s, variants in stages.items() for v, block in variants.items()}
  blocks |= {f'{s} {without(m)}': b for s, rows in removed.items() for m, b in rows.items()}
  for name, block in {**blocks, **results.get('baselines', {})}.items():
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in block.values())
    if not numbers or 'examples' not in block:
      raise ValueError(f'{name} has {block} instead of metrics and the number of examples')
  for key in ('parameters', 'bytes', 'seconds', 'modalities', 'removed', 'alarms'):
    if unknown := set(results.get(key, {})) - set(stages):
      raise ValueError(f'{key} names {sorted(unknown)}, which is no stage of {list(stages)}')


def _plain(value):
  """NumPy's scalars and arrays as JSON knows them."""
  if isinstance(value, np.generic | np.ndarray):
    return value.tolist()
  raise TypeError(f'{type(value).__name__} in the results')
