"""How well an experiment's stages do on recordings of sensors that fail: `--mode=robustness`."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from har.data.corrupt import suite
from har.data.corrupt.suite import MISSING, WRONG, Case
from har.data.input import Input
from har.data.windows import Windowed
from har.errors import UserError
from har.evaluate import baselines, decision, hidden, recordings, robustness_table, sections
from har.evaluate import run as evaluation
from har.evaluate import tested as tested_lib
from har.evaluate.decision import Decision
from har.evaluate.models import Models
from har.metrics.classification import sign_test
from har.train.experiment import Experiment

SEED = 0
"""Of the suite: all runs see the same corruptions."""
FIGURES = ('top1', 'auroc')
"""What the table shows of a stage: the first of these that it has."""


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What each stage said of the split's M examples or recordings.

  Attributes:
    scores: by stage, see `Objective.scores`; None of stages that had nothing to go by.
    present: bool `[M]`, whether examples have a modality, by modality that they may lack.
  """

  scores: Mapping[str, dict[str, np.ndarray] | None]
  present: Mapping[str, np.ndarray]


def run(experiment: Experiment, *, command: str, seed: int = SEED) -> dict[str, Any]:
  """Writes `robustness.csv`, `.json` and `.html`, and prints the table.

  They are where the results of the split are, see `har.evaluate.run.folder`.

  Args:
    experiment: whose stages are finished.
    command: for the page.
    seed: of what is drawn.

  Returns:
    What `robustness.json` holds.

  Raises:
    UserError: a stage is not finished, none has an accuracy or AUROC, or the workdir cannot be
      written.
  """
  models, context = Models(experiment), experiment.context
  found, notes = suite.cases(_fields(experiment))
  again = _Again(experiment, models, seed)
  fused = decision.of_experiment(experiment, lambda p, n: models.run(context.dataset, p, n))
  clean = _figures(experiment, again.clean, fused)
  if not clean:
    raise UserError('no stage has an accuracy, or an AUROC: there is nothing to compare')
  rows = []
  for i, case in enumerate(found):
    outcome = again.under(case)
    rows.append((case, _figures(experiment, outcome, fused), _against(experiment, outcome)))
    _say(f'{i + 1} of {len(found)}: {case.group}, {case.what} {case.severity_text}')
  facts = {
    'dataset': context.dataset.name,
    'protocol': experiment.config.dataset.protocol,
    'split': context.split,
    'examples': len(tested_lib.units(experiment).keys),
    'seed': seed,
    'run_seed': experiment.config.seed,
    'metrics': {name: 'auroc' if _detects(again.clean, name) else 'top1' for name in clean},
    'notes': [*notes, *filter(None, [decision.why_not(experiment)])],
    'command': command,
  }
  table = robustness_table.table(clean, _against(experiment, again.clean), rows, facts)
  if jax.process_index() == 0:
    robustness_table.write(evaluation.folder(experiment), table)
  return table


def _inputs(experiment: Experiment) -> dict[str, Input]:
  return {n: i for one in experiment.deployed.values() for n, i in one.inputs.items()}


def _fields(experiment: Experiment) -> dict[str, suite.Field]:
  context = experiment.context
  return suite.fields_of(context.dataset, _inputs(experiment).values(), context.splits.train)


class _Again:
  """The stages over the split again and again, each time with one thing corrupted.

  Attributes:
    clean: of the recordings as they are.
  """

  def __init__(self, experiment: Experiment, models: Models, seed: int):
    context = experiment.context
    self._experiment, self._models = experiment, models
    self._corrupted = _Corrupted(experiment, seed)
    found = models.run(context.dataset, context.evaluated, list(experiment.deployed), removed=True)
    self._first = recordings.pool(found, tested_lib.units(experiment).group)
    self.clean = self._outcome(self._first)

  def under(self, case: Case) -> Outcome:
    """Of the recordings that a corruption has changed."""
    stages, context = self._experiment.deployed, self._experiment.context
    if case.group == MISSING:
      return self._without(case.field)
    touched = [
      name
      for name, one in stages.items()
      if any(given.field == case.field for given in one.inputs.values())
    ]
    found = self._models.run(self._corrupted.dataset(case), context.evaluated, touched)
    return self._outcome(recordings.pool(found, tested_lib.units(self._experiment).group))

  def _outcome(self, found: Mapping[str, Any]) -> Outcome:
    """With what is known of the stages that were not run again."""
    every = {name: found.get(name, self._first[name]) for name in self._experiment.deployed}
    scores = {name: one['scores'] for name, one in every.items()}
    return Outcome(scores, {m: x for one in every.values() for m, x in one['present'].items()})

  def _without(self, field: str) -> Outcome:
    """Of recordings without a field, which stages know."""
    gone = [name for name, one in _inputs(self._experiment).items() if one.field == field]
    scores: dict[str, Any] = {}
    for name, one in self._experiment.deployed.items():
      lost = [m for m in one.modalities if m in gone]
      if not lost:
        scores[name] = self.clean.scores[name]
      elif len(lost) == 1 and len(one.modalities) > 1:
        scores[name] = self._first[name]['removed'][lost[0]]
      else:
        scores[name] = None
    count = len(tested_lib.units(self._experiment).keys)
    return Outcome(scores, {**self.clean.present, **{m: np.zeros(count, bool) for m in gone}})


class _Corrupted:
  """Datasets in which one thing is corrupted; whole recordings are opened once."""

  def __init__(self, experiment: Experiment, seed: int):
    dataset: Any = experiment.context.dataset
    evaluated = experiment.context.evaluated
    self._dataset, self._fields, self._seed = dataset, _fields(experiment), seed
    self._windowed = isinstance(dataset, Windowed)
    self._base = dataset.base if self._windowed else dataset
    self._positions = np.unique(dataset.recording[evaluated]) if self._windowed else evaluated
    self._opened: dict[tuple[str, ...], Any] = {}

  def dataset(self, case: Case) -> Any:
    base = _Base(lambda fields: self._records(case, tuple(fields)))
    return dataclasses.replace(self._dataset, base=base) if self._windowed else base

  def _records(self, case: Case, fields: tuple[str, ...]) -> suite.Corrupted:
    if fields not in self._opened:
      self._opened[fields] = self._base.records(fields)
    records, index, others = self._opened[fields], self._base.index, None
    if case.group == WRONG:
      lacking = [i for i in self._positions.tolist() if not len(records[i][case.field])]
      others = suite.draw_others(self._positions, index.label, index.key, lacking, self._seed)
    return suite.Corrupted(
      records,
      index.key,
      case,
      self._fields[case.field],
      self._seed,
      others=others,
      keep_length=self._windowed,
    )


class _Base:
  """A dataset of which only the records are asked for."""

  def __init__(self, records: Any):
    self.records = records


def _figures(
  experiment: Experiment, outcome: Outcome, fused: Decision | None
) -> dict[str, float | None]:
  """The figure of each stage, and of their fusions without training."""
  units = tested_lib.units(experiment)
  found: dict[str, float | None] = {}
  for name, scores in outcome.scores.items():
    if scores is None:
      found[name] = None
      continue
    metrics = experiment.stages[name].objective.evaluate(scores, units.keys, units.labels).metrics()
    if figure := next((f for f in FIGURES if f in metrics), None):
      found[name] = float(metrics[figure])
  return found | _untrained(experiment, outcome, fused)


def _untrained(
  experiment: Experiment, outcome: Outcome, fused: Decision | None
) -> dict[str, float | None]:
  """Accuracy of the product of the single models, and of the decision."""
  labels = tested_lib.units(experiment).labels
  found: dict[str, float | None] = {}
  product = _product(experiment, outcome)
  if product is not None:
    found[sections.PRODUCT] = _top1(product, labels)
  if fused is not None:
    heard, present = _alone(experiment, outcome)
    scores = {
      n: decision.own_scores(experiment.stages[n], s)
      for n, s in heard.items()
      if n in fused.experts
    }
    if scores:
      found[sections.DECISION] = _top1(fused.fuse(scores, present), labels)
  return found


def _alone(
  experiment: Experiment, outcome: Outcome
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
  """What single models said, and which examples have their modality where some lack it."""
  own = {n: one.modalities[0] for n, one in experiment.deployed.items() if len(one.modalities) == 1}
  present = {n: outcome.present[m] for n, m in own.items() if m in outcome.present}
  return {n: s for n, s in outcome.scores.items() if n in own and s is not None}, present


def _product(experiment: Experiment, outcome: Outcome) -> np.ndarray | None:
  """The product of the recognisers of one modality; None if there are not several."""
  heard, present = _alone(experiment, outcome)
  logits = {n: s['logits'] for n, s in heard.items() if 'logits' in s}
  if len(evaluation.recognisers(experiment)) < 2 or not logits:
    return None
  there = {n: x for n, x in present.items() if n in logits}
  return baselines.product(logits, there, hidden.unknown(experiment, logits))


def _against(experiment: Experiment, outcome: Outcome) -> dict[str, dict[str, Any]]:
  """Of trained fusions, how often they alone are right, or the product alone is, and the test."""
  labels, product = tested_lib.units(experiment).labels, _product(experiment, outcome)
  found = {}
  for name, one in experiment.deployed.items():
    scores = outcome.scores[name]
    if product is None or scores is None or len(one.modalities) < 2 or 'logits' not in scores:
      continue
    right, other = (x.argmax(-1) == labels for x in (scores['logits'], product))
    fixed, broke = int((right & ~other).sum()), int((other & ~right).sum())
    found[name] = {'fixed': fixed, 'broke': broke, 'p': sign_test(fixed, broke)}
  return found


def _detects(outcome: Outcome, name: str) -> bool:
  scores = outcome.scores.get(name)
  return scores is not None and 'logits' not in scores


def _top1(scores: np.ndarray, labels: np.ndarray) -> float:
  return float((scores.argmax(-1) == labels).mean())


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
