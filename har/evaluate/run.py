"""Evaluates an experiment on a split; writes results, predictions and the report."""

import dataclasses
import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np

from har.data import protocols
from har.data.signal import Signal
from har.evaluate import (
  anomaly,
  anomaly_table,
  baselines,
  decision,
  gradcam,
  hidden,
  recordings,
  report,
  results,
  sections,
)
from har.evaluate import tested as tested_lib
from har.evaluate.decision import Decision
from har.evaluate.tested import Tested
from har.metrics.classification import Predictions
from har.metrics.detection import Detections
from har.objectives.classify import Classifier
from har.train import experiment as experiment_lib
from har.train import stage as stage_lib
from har.train.experiment import Experiment
from har.train.stage import Stage

VARIANT = 'float32'
_COUNTED = 'Recordings are counted, each by all of its windows: {} in the {} split.'


@dataclasses.dataclass(frozen=True)
class Other:
  """Another form of a stage, such as a quantised one, evaluated on the same split.

  Attributes:
    stage: name of the stage.
    variant: name of the form.
    scores: of the split's examples, see `har.objectives.objective.Objective.scores`; windows are
      not put together yet.
    held_out: those of the examples of `anomaly.held_out`; None if there are none.
    bytes: size of its parameters.
    note: a sentence for the report; may be empty.
  """

  stage: str
  variant: str
  scores: dict[str, np.ndarray]
  held_out: dict[str, np.ndarray] | None
  bytes: int
  note: str


def run(experiment: Experiment, *, command: str, others: Sequence[Other] = ()) -> dict:
  """Writes `results.json`, `predictions/` and `report.html`, and prints the results table.

  They are in the workdir, or in its folder `validation` if that split is evaluated on.

  Args:
    experiment: whose stages are finished.
    command: for the report's header.
    others: results of other variants than float32.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: a stage is not finished, or the workdir cannot be written.
  """
  context = experiment.context
  tested, sizes, facts = {}, {}, {}
  for name in experiment.deployed:
    variables, facts[name] = experiment_lib.load(experiment, name, sharded=True)
    sizes[name] = _size(variables)
    tested[name] = tested_lib.test(experiment, name, variables)
  predictions = {name: _evaluated(experiment, name, t.scores) for name, t in tested.items()}
  if (product := _product(experiment, tested)) is not None:
    predictions[sections.PRODUCT] = product
  decided = decision.of_experiment(
    experiment, lambda _, names: {name: tested[name].validation or {} for name in names}
  )
  if decided is not None:
    predictions[sections.DECISION] = _decision(experiment, tested, decided)
  table = _table(experiment, tested, predictions) | {
    'parameters': {n: int(size[0]) for n, size in sizes.items()},
    'bytes': {n: {VARIANT: int(size[1])} for n, size in sizes.items()},
    'seconds': {n: round(facts[n]['seconds'], 1) for n in experiment.deployed},
    'decision': _calibration(experiment, tested, decided),
    'hidden': hidden.table(experiment, predictions),
  }
  group = tested_lib.units(experiment).group
  extra = {
    (o.stage, o.variant): _evaluated(experiment, o.stage, recordings.pool(o.scores, group))
    for o in others
  }
  detected = _detected(experiment, tested, others)
  table['anomaly'] = anomaly.table(experiment, detected)
  for other in others:
    table['stages'][other.stage][other.variant] = extra[other.stage, other.variant].metrics()
    table['bytes'][other.stage][other.variant] = other.bytes
  if jax.process_index() == 0:
    for (name, variant), predicted in extra.items():
      results.write_predictions(folder(experiment), name, variant, predicted)
    notes = [_note(one, facts[name]) for name, one in experiment.deployed.items()]
    notes = table['cautions'] + notes + anomaly.notes(table['anomaly'], detected)
    anomaly.write_thresholds(folder(experiment), detected)
    decision.write(folder(experiment), decided)
    notes += hidden.notes(experiment) + _choices(experiment) + _absences(context.split, tested)
    if group is not None:
      notes.append(_COUNTED.format(len(group), context.split))
    details = [other.note for other in others if other.note]
    _write(experiment, table, predictions, notes, details, command, detected)
  return table


def _size(variables: Any) -> tuple[int, int]:
  """How many parameters there are, and the bytes of all variables."""
  parameters = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
  return parameters, sum(leaf.nbytes for leaf in jax.tree.leaves(variables))


def _table(
  experiment: Experiment,
  tested: Mapping[str, Tested],
  predictions: Mapping[str, Predictions | Detections],
) -> dict[str, Any]:
  """What `results.json` says of the float32 stages and their untrained product."""
  context = experiment.context
  abnormal = tuple(context.dataset.metadata.get('abnormal', ()))
  return {
    'dataset': context.dataset.name,
    'protocol': experiment.config.dataset.protocol,
    'split': context.split,
    'seed': experiment.config.seed,
    'modalities': {n: list(one.modalities) for n, one in experiment.deployed.items()},
    'stages': {n: {VARIANT: predictions[n].metrics()} for n in experiment.deployed},
    'baselines': {n: p.metrics() for n, p in predictions.items() if n in sections.UNTRAINED},
    'missing': context.dataset.missing,
    'removed': {
      n: {m: _evaluated(experiment, n, scores).metrics() for m, scores in t.removed.items()}
      for n, t in tested.items()
      if t.removed
    },
    'alarms': {
      n: sections.alarms(p, abnormal)
      for n, p in predictions.items()
      if abnormal and isinstance(p, Predictions) and n in experiment.deployed
    },
    'cautions': protocols.cautions(
      context.dataset.index, context.splits, protocols.SplitOptions.of(experiment.config.dataset)
    ),
  }


def _product(experiment: Experiment, tested: Mapping[str, Tested]) -> Predictions | None:
  """The untrained fusion of the stages of one modality that classify, if there are several."""
  singles = recognisers(experiment)
  if len(singles) < 2:
    return None
  present = {n: p for n in singles for p in tested[n].present.values()}
  unknown = hidden.unknown(experiment, singles)
  scores = baselines.product({n: tested[n].scores['logits'] for n in singles}, present, unknown)
  units = tested_lib.units(experiment)
  names = experiment.context.dataset.class_names
  return Predictions.from_scores(units.keys, units.labels, scores, names)


def _own(
  experiment: Experiment, tested: Mapping[str, Tested], decided: Decision
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """What experts said of the split, and whether they had something to go by."""
  stages = experiment.deployed
  scores = {n: decision.own_scores(stages[n], tested[n].scores) for n in decided.experts}
  return scores, {n: there for n in scores for there in tested[n].present.values()}


def _decision(
  experiment: Experiment, tested: Mapping[str, Tested], decided: Decision
) -> Predictions:
  fused = decided.fuse(*_own(experiment, tested, decided))
  units, names = tested_lib.units(experiment), experiment.context.dataset.class_names
  return Predictions.from_scores(units.keys, units.labels, fused, names)


def _calibration(
  experiment: Experiment, tested: Mapping[str, Tested], decided: Decision | None
) -> dict[str, Any]:
  """What `results.json` says of the decision, on the split that is evaluated on."""
  if decided is None:
    return {}
  own = _own(experiment, tested, decided)
  found = decision.calibrations(decided, *own, tested_lib.units(experiment).labels)
  return {**decided.plain(), 'calibration': found}


def recognisers(experiment: Experiment) -> list[str]:
  """The stages of one modality that classify."""
  return [
    name
    for name, one in experiment.deployed.items()
    if len(one.modalities) == 1 and isinstance(one.objective, Classifier)
  ]


def folder(experiment: Experiment) -> Path:
  """Where results are written: those of validation never take the place of the test's."""
  context = experiment.context
  return context.workdir if context.split == 'test' else context.workdir / context.split


def _evaluated(
  experiment: Experiment, name: str, scores: dict[str, np.ndarray]
) -> Predictions | Detections:
  units = tested_lib.units(experiment)
  return experiment.stages[name].objective.evaluate(scores, units.keys, units.labels)


def _detected(
  experiment: Experiment, tested: Mapping[str, Tested], others: Sequence[Other]
) -> list[anomaly.Detected]:
  """What every form of every stage detects, the stages' own forms first."""
  found = {(name, VARIANT): (t.examples, t.held_out) for name, t in tested.items()}
  found |= {(o.stage, o.variant): (o.scores, o.held_out) for o in others}
  return anomaly.evaluate(experiment, found)


def _write(experiment, table, predictions, notes, details, command, detected) -> None:
  context, place = experiment.context, folder(experiment)
  for name, one in predictions.items():
    results.write_predictions(place, name, VARIANT, one)
  results.write_results(place, table)
  splits, subjects = context.splits, context.dataset.index.columns.get('subject')
  about = report.About(
    abnormal=context.dataset.metadata.get('abnormal', ()),
    curves=report.read_curves(context.workdir, list(experiment.deployed)),
    selections={n: one.objective.selection for n, one in experiment.deployed.items()},
    facts={
      'command': command,
      'examples': f'{len(splits.train)} train, {len(splits.validation)} validation, '
      f'{len(splits.test)} test' + (f', {len(splits.unused)} unused' * bool(len(splits.unused))),
      'software': f'jax {jax.__version__}, flax {flax.__version__}, '
      f'Python {platform.python_version()}, {jax.default_backend()}',
    },
    notes=notes,
    details=details,
    subjects=subjects if subjects is None else subjects[tested_lib.units(experiment).positions],
    signals=_signals(experiment),
    detected=detected,
    # Of several processes this one alone writes, and cannot read a checkpoint alone.
    attention=functools.partial(_attention, experiment) if jax.process_count() == 1 else None,
  )
  page = report.write_report(place, table, predictions, about)
  print(results.text_table(table))
  if text := anomaly_table.text([table]):
    print(f'\n{text}')
  print(f'report: {page}')


def _signals(experiment: Experiment) -> Callable[[str], dict[str, np.ndarray]] | None:
  """Reads the recorded signals of an example, if the experiment uses any."""
  dataset, units = experiment.context.dataset, tested_lib.units(experiment)
  inputs = {n: i for one in experiment.deployed.values() for n, i in one.inputs.items()}
  names = {name: i.field for name, i in inputs.items() if isinstance(i, Signal)}
  if not names:
    return None
  records = dataset.records(tuple(dict.fromkeys(names.values())))
  place = dict(zip(units.keys, units.positions.tolist(), strict=True))
  return lambda key: {name: records[place[key]][field] for name, field in names.items()}


def _attention(
  experiment: Experiment, name: str, keys: Sequence[str], classes: Sequence[int]
) -> list[dict[str, str]]:
  """See `har.evaluate.report.About`."""
  one, dataset, units = (
    experiment.stages[name],
    experiment.context.dataset,
    tested_lib.units(experiment),
  )
  if not gradcam.shown(one.inputs):
    return [{} for _ in keys]
  place = dict(zip(units.keys, units.positions.tolist(), strict=True))
  records = dataset.records(stage_lib.fields(one.inputs))
  variables, _ = experiment_lib.load(experiment, name)
  return gradcam.strips(one, variables, records, [place[key] for key in keys], classes)


def _note(one: Stage, facts: dict) -> str:
  start = one.config['init_from'].replace('stage:', 'stage ').replace(',', ', ')
  start = start.replace('random', 'random values')
  text = f'Stage {one.name} started from {start} and took {facts["steps"]} steps'
  if 'validation' not in facts:
    return f'{text}; its parameters are the last ones.'
  selection = one.objective.selection
  value = results.metric_text(selection.name, facts['validation'][selection.name])
  unit = '%' if selection.maximise else ''
  return (
    f'{text}; its parameters are those of step {facts["best_step"]}, the best on validation '
    f'({selection.title} {value}{unit}).'
  )


def _choices(experiment: Experiment) -> list[str]:
  """A warning where the examples that stages are evaluated on had a say in their training."""
  if experiment.context.split != 'validation':
    return []
  said = [
    name
    for name, one in experiment.deployed.items()
    if one.config['keep'] == 'best'
    or one.config['early_stopping']
    or one.config['optimizer']['schedule'] == 'plateau'
  ]
  if not said:
    return []
  return [
    f'The examples of this report had a say in the training of {", ".join(said)}, which flatters '
    "the figures. They have none with keep='last', early_stopping=0 and a schedule that is not "
    "'plateau'."
  ]


def _absences(split: str, tested: Mapping[str, Tested]) -> list[str]:
  """A sentence for each modality that examples lack."""
  present = {m: p for t in tested.values() for m, p in t.present.items()}
  return [
    f'{(~p).sum()} of {len(p)} {split} examples lack {m}; they count like the others.'
    for m, p in present.items()
    if not p.all()
  ]
