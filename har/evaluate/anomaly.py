"""Detection of abnormal activity: scores of stages, their thresholds, and what alarms are worth.

A recording's score is that of its highest window. A threshold is fitted on normal recordings of the
people who validate, and on nothing else: training has not seen them, and no test example has a
say in it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from har.data.signal import Signal
from har.data.windows import Windowed
from har.errors import UserError
from har.evaluate import recordings
from har.evaluate.files import write_text
from har.metrics import alarms, thresholds
from har.metrics.alarms import Moments
from har.train.experiment import Experiment
from har.train.stage import Stage

THRESHOLDS = 'thresholds.json'

Scores = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Detected:
  """One form of a stage.

  Attributes:
    stage: its name.
    variant: the form's.
    moments: its scores of the split that is evaluated on.
    abnormal: bool `[M]`, of its recordings.
    block: its figures, for `results.json`.
  """

  stage: str
  variant: str
  moments: Moments
  abnormal: np.ndarray
  block: dict[str, Any]


def detects(stage: Stage) -> bool:
  """Whether a stage tells abnormal from normal examples of the dataset."""
  facts = stage.objective.facts
  flagged = np.isin(facts.class_names, facts.abnormal)
  return bool(stage.objective.anomaly_meaning) and bool(flagged.any() and not flagged.all())


def held_out(experiment: Experiment, name: str) -> np.ndarray:
  """Positions of the examples that a stage's threshold is fitted on; empty if there is none.

  There is none where the people who validate are those that are evaluated on.
  """
  context, one = experiment.context, experiment.stages[name]
  if context.split == 'validation' or not detects(one):
    return np.zeros(0, np.int64)
  validation = context.splits.validation
  return validation[~_abnormal(one, context.dataset.index.label[validation])]


def evaluate(
  experiment: Experiment, scores: Mapping[tuple[str, str], tuple[Scores, Scores | None]]
) -> list[Detected]:
  """What every form of every stage detects.

  Args:
    experiment: whose stages these are.
    scores: by stage and variant, what `Objective.scores` gave for the examples that are evaluated
      on, and for those of `held_out`, None if there are none.
  """
  found = []
  for (name, variant), (tested, normal) in scores.items():
    one = experiment.stages[name]
    values = one.objective.anomaly(dict(tested)) if detects(one) else None
    if values is None:
      continue
    context = experiment.context
    moments, units = _moments(experiment, one, values, context.evaluated)
    abnormal = _abnormal(one, units.labels)
    threshold = None
    if normal is not None:
      kept = one.objective.anomaly(dict(normal))
      assert kept is not None
      threshold = _threshold(experiment, one, kept)
    block = _block(experiment, moments, units, abnormal, threshold)
    found.append(Detected(name, variant, moments, abnormal, block))
  return found


def table(experiment: Experiment, detected: Sequence[Detected]) -> dict[str, Any]:
  """What `results.json` says of them and of the baselines; empty if nothing is detected.

  `stages` {stage: {variant: figures}} and `baselines` {stage: see `anomaly_baselines.figures`}.
  """
  if not detected:
    return {}
  stages: dict[str, Any] = {}
  for one in detected:
    stages.setdefault(one.stage, {})[one.variant] = one.block
  baselines = {}
  if experiment.config.alarm.baselines:
    # scikit-learn takes a second, for which no training has to wait.
    from har.evaluate import anomaly_baselines

    for one in {d.stage: d for d in reversed(detected)}.values():
      baselines[one.stage] = anomaly_baselines.figures(
        experiment, one.stage, one.moments, one.abnormal
      )
  for one in detected:
    beside = baselines.get(one.stage, {}).get('methods', {})
    # All have one, or none has: they are judged by the same recordings.
    auroc = one.block.get('auroc', np.inf)
    one.block['not_beaten'] = [n for n, b in beside.items() if b.get('auroc', 0.0) >= auroc]
  return {'stages': stages, 'baselines': baselines}


def write_thresholds(workdir: Path, detected: Sequence[Detected]) -> None:
  """Writes those that there are to WORKDIR/thresholds.json, by stage and variant."""
  found: dict[str, Any] = {}
  for one in detected:
    if one.block['threshold'] is not None:
      found.setdefault(one.stage, {})[one.variant] = one.block['threshold']
  if found:
    write_text(workdir / THRESHOLDS, json.dumps(found, indent=2, ensure_ascii=False) + '\n')


def read_threshold(workdir: Path, stage: str, variant: str) -> dict[str, Any] | None:
  """What `write_thresholds` wrote of a form of a stage; None if there is none.

  Raises:
    UserError: the file is damaged.
  """
  path = workdir / THRESHOLDS
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text(encoding='utf-8')).get(stage, {}).get(variant)
  except (OSError, ValueError, AttributeError) as error:
    raise UserError(f'cannot read {path}: {error}: evaluate the stages again') from error


def notes(table: Mapping[str, Any], detected: Sequence[Detected]) -> list[str]:
  """Sentences for the report: which baselines a stage does not beat, and who has none, and why.

  Args:
    table: what `table` gave.
    detected: that it was made of.
  """
  lines = [
    f'No baseline of scikit-learn beside {stage}: they see signals, and what the frozen part of a '
    f'stage gives where that is kept (config.stages.{stage}.cached_views).'
    for stage, one in table.get('baselines', {}).items()
    if not one['methods']
  ]
  for one in detected:
    if worse := one.block.get('not_beaten'):
      lines.append(
        f'{one.stage} ({one.variant}) does not beat {", ".join(worse)}: AUROC '
        f'{100 * one.block["auroc"]:.1f}.'
      )
  return lines


def _abnormal(one: Stage, labels: np.ndarray) -> np.ndarray:
  facts = one.objective.facts
  return np.isin(facts.class_names, facts.abnormal)[labels]


def _moments(
  experiment: Experiment, one: Stage, values: np.ndarray, positions: np.ndarray
) -> tuple[Moments, recordings.Units]:
  """Scores of examples by recording, or each for itself; and the recordings."""
  dataset = experiment.context.dataset
  units = recordings.units(dataset, positions)
  group = np.arange(len(values)) if units.group is None else units.group
  values = values.astype(np.float64)
  return Moments(values, group, _hours(dataset, one, positions, group)), units


def _hours(dataset: Any, one: Stage, positions: np.ndarray, group: np.ndarray) -> np.ndarray | None:
  """Duration of each recording (from its first window to the end of its last), `[M]`."""
  hours = np.zeros(group.max() + 1)
  if isinstance(dataset, Windowed):
    if dataset.evaluate == 'recording':
      np.maximum.at(hours, group, (dataset.index.start[positions] + dataset.seconds) / 3600)
    else:
      hours[:] = min(dataset.step, dataset.seconds) / 3600
    return hours
  signal = next((i for i in one.inputs.values() if isinstance(i, Signal)), None)
  rate = dataset.metadata.get('rates', {}).get(signal.field) if signal else None
  if signal is None or rate is None:
    return None
  records = dataset.records((signal.field,))
  return np.array([len(records[int(i)][signal.field]) / rate / 3600 for i in positions])


def _threshold(experiment: Experiment, one: Stage, values: np.ndarray) -> dict[str, Any]:
  """A threshold and what it was fitted on."""
  context, alarm = experiment.context, experiment.config.alarm
  positions = held_out(experiment, one.name)
  moments, units = _moments(experiment, one, values, positions)
  rule = rule_of(alarm)
  hours = None if moments.hours is None else float(moments.hours.sum())
  index, group = context.dataset.index, experiment.config.dataset.group
  people = index.columns.get(group)
  fitted = {name: getattr(rule, name) for name in _used(rule)}
  return {
    'value': thresholds.fit(rule, moments.highest(), hours),
    'score': one.objective.anomaly_meaning,
    **fitted,
    'recordings': len(units.keys),
    'hours': hours,
    'people': [] if people is None else np.unique(people[positions]).tolist(),
  }


def rule_of(alarm: Any) -> thresholds.Rule:
  """The rule that `config.alarm` asks for."""
  names = {f.name for f in dataclasses.fields(thresholds.Rule)}
  return thresholds.Rule(**{name: alarm[name] for name in names})


def _used(rule: thresholds.Rule) -> tuple[str, str]:
  return ('fit', 'per_hour' if rule.fit == 'rate' else 'quantile')


def _block(
  experiment: Experiment,
  moments: Moments,
  units: recordings.Units,
  abnormal: np.ndarray,
  threshold: dict[str, Any] | None,
) -> dict[str, Any]:
  dataset, group = experiment.context.dataset, experiment.config.dataset.group
  columns = dataset.index.columns
  value = None if threshold is None else threshold['value']
  classes = np.array(dataset.class_names)[units.labels]
  if 'action' in columns:
    classes = columns['action'][units.positions]
  block: dict[str, Any] = {
    **alarms.ranking(moments.highest(), abnormal),
    'examples': len(abnormal),
    'normal_hours': None if moments.hours is None else float(moments.hours[~abnormal].sum()),
    'threshold': threshold,
    'at_threshold': None if value is None else alarms.at(value, moments, abnormal),
    'at_sensitivity': alarms.at_sensitivity(moments, abnormal),
    'classes': alarms.by(classes, moments, abnormal, value, against=~abnormal),
    'people': [],
    'never_abnormal': [],
  }
  if (people := columns.get(group)) is not None:
    own = people[units.positions]
    block['people'] = alarms.by(own, moments, abnormal, value)
    flagged = np.isin(dataset.class_names, dataset.metadata.get('abnormal', ()))
    never = ~np.isin(own, people[flagged[dataset.index.label]])
    if never.any():
      few = moments.of(never)
      block['never_abnormal'] = alarms.by(classes[never], few, abnormal[never], value)
  return block
