"""Evaluates an experiment on a split; writes results, predictions and the report."""

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np

from har.data import loader
from har.evaluate import baselines, metrics, report, results
from har.evaluate.results import Predictions
from har.train import experiment as experiment_lib
from har.train import mesh as mesh_lib
from har.train import predict, step
from har.train.experiment import Experiment

VARIANT = 'float32'


@dataclasses.dataclass(frozen=True)
class Other:
  """Another form of a stage, such as a quantised one, evaluated on the same split.

  Attributes:
    stage: name of the stage.
    variant: name of the form.
    scores: logits `[N, C]` in the split's order.
    bytes: size of its parameters.
    note: a sentence for the report; may be empty.
  """

  stage: str
  variant: str
  scores: np.ndarray
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
  for name in experiment.stages:
    variables, facts[name] = experiment_lib.load(experiment, name, sharded=True)
    leaves = jax.tree.leaves(variables['params'])
    sizes[name] = (
      sum(leaf.size for leaf in leaves),
      sum(leaf.nbytes for leaf in jax.tree.leaves(variables)),
    )
    tested[name] = _test(experiment, name, variables)
  predictions = {name: _predictions(experiment, t.scores) for name, t in tested.items()}
  singles = [n for n, one in experiment.stages.items() if len(one.modalities) == 1]
  if len(singles) > 1:
    present = {n: p for n in singles for p in tested[n].present.values()}
    product = baselines.product({n: tested[n].scores for n in singles}, present)
    predictions[report.PRODUCT] = _predictions(experiment, product)
  table = {
    'dataset': context.dataset.name,
    'protocol': experiment.config.dataset.protocol,
    'split': context.split,
    'seed': experiment.config.seed,
    'stages': {n: {VARIANT: _metrics(predictions[n])} for n in experiment.stages},
    'parameters': {n: int(size[0]) for n, size in sizes.items()},
    'bytes': {n: {VARIANT: int(size[1])} for n, size in sizes.items()},
    'seconds': {n: round(facts[n]['seconds'], 1) for n in experiment.stages},
    'baselines': {n: _metrics(p) for n, p in predictions.items() if n == report.PRODUCT},
    'missing': context.dataset.missing,
    'removed': {
      n: {m: _metrics(_predictions(experiment, scores)) for m, scores in t.removed.items()}
      for n, t in tested.items()
      if t.removed
    },
  }
  extra = {(o.stage, o.variant): _predictions(experiment, o.scores) for o in others}
  for other in others:
    table['stages'][other.stage][other.variant] = _metrics(extra[other.stage, other.variant])
    table['bytes'][other.stage][other.variant] = other.bytes
  if jax.process_index() == 0:
    for (name, variant), predicted in extra.items():
      results.write_predictions(folder(experiment), name, variant, predicted)
    notes = [_note(name, one.config, facts[name]) for name, one in experiment.stages.items()]
    notes += _choices(experiment) + _absences(context.split, tested)
    details = [other.note for other in others if other.note]
    _write(experiment, table, predictions, notes, details, command)
  return table


def folder(experiment: Experiment) -> Path:
  """Where results are written: those of validation never take the place of the test's."""
  context = experiment.context
  return context.workdir if context.split == 'test' else context.workdir / context.split


@dataclasses.dataclass(frozen=True)
class _Tested:
  """A stage's model over a split of N examples.

  Attributes:
    scores: logits `[N, C]`.
    present: bool `[N]` by modality, of those that examples may lack.
    removed: by modality, logits `[N, C]` of the same model where no example has it; empty for a
      stage of one modality.
  """

  scores: np.ndarray
  present: dict[str, np.ndarray]
  removed: dict[str, np.ndarray]


def _test(experiment: Experiment, name: str, variables: dict) -> _Tested:
  """Everything that is to be known of a float32 stage, in one pass over the split."""
  one = experiment.stages[name]
  scores = jax.jit(step.make_eval_step(one.model, one.preprocess))
  removed = jax.jit(step.make_removed_step(one.model, one.preprocess, one.modalities))

  def everything(variables, batch):
    present = {m: batch[f'{m}_present'] for m in one.modalities if f'{m}_present' in batch}
    several = len(one.modalities) > 1
    return {
      'scores': scores(variables, batch),
      'present': present,
      'removed': removed(variables, batch) if several else {},
    }

  return _Tested(**_over_split(experiment, name, everything, variables))


def predict_split(
  experiment: Experiment, name: str, model: Any, preprocess: step.Preprocess, variables: dict
) -> np.ndarray:
  """Logits `[N, C]` of a model for a stage's inputs of the split, in its order."""
  eval_step = jax.jit(step.make_eval_step(model, preprocess))
  return _over_split(experiment, name, eval_step, variables)


def _over_split(
  experiment: Experiment, name: str, eval_step: Callable[..., Any], variables: dict
) -> Any:
  """What `har.train.predict.predict` returns for a stage's inputs of the split."""
  one, context = experiment.stages[name], experiment.context
  batches = loader.eval_batches(
    context.dataset.records(one.modalities),
    context.evaluated,
    one.inputs,
    batch_size=mesh_lib.round_up(context.runtime['eval_batch_size'], context.mesh),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=context.runtime['workers'],
  )
  return predict.predict(eval_step, variables, batches, context.mesh)[0]


def _predictions(experiment: Experiment, scores: np.ndarray) -> Predictions:
  context = experiment.context
  index, positions = context.dataset.index, context.evaluated
  return Predictions.from_scores(
    tuple(index.key[positions]), index.label[positions], scores, context.dataset.class_names
  )


def _metrics(predictions: Predictions) -> dict:
  # Probabilities rank as the logits do, and are what the CSV holds.
  return metrics.compute(
    predictions.probabilities, predictions.labels, len(predictions.class_names)
  )


def _write(experiment, table, predictions, notes, details, command) -> None:
  context, place = experiment.context, folder(experiment)
  for name, one in predictions.items():
    results.write_predictions(place, name, VARIANT, one)
  results.write_results(place, table)
  splits = context.splits
  page = report.write_report(
    place,
    table,
    predictions,
    report.read_curves(context.workdir, list(experiment.stages)),
    abnormal=context.dataset.metadata.get('abnormal', ()),
    facts={
      'Command': command,
      'Examples': f'{len(splits.train)} train, {len(splits.validation)} validation, '
      f'{len(splits.test)} test',
      'Software': f'jax {jax.__version__}, flax {flax.__version__}, '
      f'Python {platform.python_version()}, {jax.default_backend()}',
    },
    notes=notes,
    details=details,
  )
  print(results.text_table(table))
  print(f'report: {page}')


def _note(name: str, config, facts: dict) -> str:
  start = config['init_from'].replace('stage:', 'stage ').replace(',', ', ')
  start = start.replace('random', 'random values')
  text = f'Stage {name} started from {start} and took {facts["steps"]} steps'
  if facts['top1_validation'] is not None:
    return (
      f'{text}; its parameters are those of step {facts["best_step"]}, the best on validation '
      f'(Top-1 {100 * facts["top1_validation"]:.1f}%).'
    )
  return f'{text}; its parameters are the last ones.'


def _choices(experiment: Experiment) -> list[str]:
  """A warning where the examples that stages are evaluated on had a say in their training."""
  if experiment.context.split != 'validation':
    return []
  said = [
    name
    for name, one in experiment.stages.items()
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


def _absences(split: str, tested: Mapping[str, _Tested]) -> list[str]:
  """A sentence for each modality that examples lack."""
  present = {m: p for t in tested.values() for m, p in t.present.items()}
  return [
    f'{(~p).sum()} of {len(p)} {split} examples lack {m}; they count like the others.'
    for m, p in present.items()
    if not p.all()
  ]
