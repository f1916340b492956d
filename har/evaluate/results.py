"""The results that a run leaves behind for programs: `results.json` and `predictions/*.csv`."""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from har.errors import UserError
from har.evaluate import metrics
from har.evaluate.baselines import log_softmax
from har.evaluate.files import aligned, file_size, write_text

KEYS = ('dataset', 'protocol', 'seed', 'stages', 'parameters', 'bytes', 'seconds')
OPTIONAL: dict[str, Any] = {'split': 'test', 'baselines': {}, 'missing': {}, 'removed': {}}
"""Further keys, and what is written where they are not given."""


def write_results(workdir: str | os.PathLike, results: Mapping) -> Path:
  """Writes WORKDIR/results.json atomically.

  Args:
    workdir: the run's folder.
    results: `dataset`, `protocol`, `seed`; `stages` {stage: {variant: metrics}}; `parameters`
      {stage: count}; `bytes` {stage: {variant: size}}; `seconds` {stage: training time}; and those
      of `OPTIONAL` that there are: `split` that was evaluated on, `baselines` {'product': metrics},
      `missing` {modality: [trial keys]} and `removed` {stage: {modality: metrics without it}}.
      `metrics` are what `metrics.compute` returns.

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


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What one model said of every example of a split.

  Attributes:
    keys: N trial keys.
    labels: [N] true classes from 0.
    classes: [N] predicted classes from 0.
    probabilities: [N, C] class probabilities.
    class_names: C names in label order.
  """

  keys: tuple[str, ...]
  labels: np.ndarray
  classes: np.ndarray
  probabilities: np.ndarray
  class_names: tuple[str, ...]

  @classmethod
  def from_scores(cls, keys: Sequence[str], labels, scores, class_names: Sequence[str]):
    """From logits [N, C]; equal logits give the lower class. Raises as `metrics.compute` does."""
    scores, labels = metrics.check(scores, labels, len(class_names))
    if len(keys) != len(labels) or len(set(keys)) != len(keys):
      raise ValueError(f'{len(labels)} examples need as many different keys')
    if len(set(class_names)) != len(class_names):
      raise ValueError(f'a class name occurs twice: {list(class_names)}')
    probabilities = np.exp(log_softmax(scores))
    return cls(tuple(keys), labels, scores.argmax(axis=1), probabilities, tuple(class_names))

  @property
  def correct(self) -> np.ndarray:
    return self.classes == self.labels

  def confusion(self) -> np.ndarray:
    """[true, predicted] counts."""
    return metrics.confusion(self.classes, self.labels, len(self.class_names))


def predictions_path(workdir: str | os.PathLike, stage: str, variant: str) -> Path:
  return Path(workdir) / 'predictions' / f'{stage}-{variant}.csv'


def write_predictions(
  workdir: str | os.PathLike, stage: str, variant: str, predictions: Predictions
) -> Path:
  """Writes WORKDIR/predictions/{stage}-{variant}.csv atomically; equal scores give equal bytes.

  One row per example, in the order given: key, label and prediction (classes from 0), then a
  probability per class with 6 decimals, in a column of the class's name.
  """
  text = io.StringIO()
  rows = csv.writer(text, lineterminator='\n')
  rows.writerow(['key', 'label', 'prediction', *predictions.class_names])
  columns = (predictions.keys, predictions.labels, predictions.classes, predictions.probabilities)
  for key, label, predicted, probabilities in zip(*columns, strict=True):
    rows.writerow([key, int(label), int(predicted), *(f'{p:.6f}' for p in probabilities)])
  return write_text(predictions_path(workdir, stage, variant), text.getvalue())


def read_predictions(workdir: str | os.PathLike, stage: str, variant: str) -> Predictions:
  """What `write_predictions` wrote, probabilities to 6 decimals.

  Raises:
    UserError: there is no such file, or its rows do not fit its header.
  """
  path = predictions_path(workdir, stage, variant)
  try:
    with open(path, encoding='utf-8', newline='') as file:
      header, *rows = csv.reader(file)
    keys, true, predicted = zip(*(row[:3] for row in rows), strict=True)
    probabilities = np.array([row[3:] for row in rows], np.float64)
    if probabilities.shape != (len(rows), len(header) - 3):
      raise ValueError(f'{len(header)} columns expected')
    labels, classes = np.array(true, np.int64), np.array(predicted, np.int64)
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}: evaluate the stage first') from error
  except ValueError as error:
    raise UserError(f'{path} is not a predictions file: {error}') from error
  return Predictions(keys, labels, classes, probabilities, tuple(header[3:]))


def text_table(results: Mapping) -> str:
  """The results as an aligned table for the terminal, metrics in per cent.

  A row per stage and variant and per modality taken away, then the baselines. Size is that of the
  parameters.
  """
  heads = ['Stage', 'Variant', 'Top-1', 'Top-5', 'F1', 'Precision', 'Recall', 'Examples']
  lines = [heads + ['Parameters', 'Size']]
  for stage, variants in results['stages'].items():
    for variant, values in variants.items():
      count = results['parameters'].get(stage) if variant == 'float32' else None
      size = results['bytes'].get(stage, {}).get(variant)
      line = [stage, variant, *_cells(values), '-' if count is None else f'{count:,}']
      lines.append([*line, '-' if size is None else file_size(size)])
    for modality, values in results.get('removed', {}).get(stage, {}).items():
      lines.append([stage, without(modality), *_cells(values), '-', '-'])
  for name, values in results.get('baselines', {}).items():
    lines.append([name, 'untrained', *_cells(values), '-', '-'])
  return aligned(lines, left=2)


def without(modality: str) -> str:
  """The name of the row for a stage that has to do without a modality."""
  return f'without {modality}'


def _cells(values: Mapping) -> list[str]:
  percents = (f'{100 * values[name]:.1f}' for name in metrics.METRICS[:-1])
  return [*percents, str(values['examples'])]


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
    if set(block) != set(metrics.METRICS):
      raise ValueError(f'{name} has the metrics {sorted(block)} instead of {metrics.METRICS}')
  for key in ('parameters', 'bytes', 'seconds', 'removed'):
    if unknown := set(results.get(key, {})) - set(stages):
      raise ValueError(f'{key} names {sorted(unknown)}, which is no stage of {list(stages)}')


def _plain(value):
  """NumPy's scalars and arrays as JSON knows them."""
  if isinstance(value, np.generic | np.ndarray):
    return value.tolist()
  raise TypeError(f'{type(value).__name__} in the results')
