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
from har.evaluate import baselines, decision, recordings, robustness_table, sections
from har.evaluate import run as evaluation
from har.evaluate import tested as tested_lib
from har.evaluate.decision import Decision
from har.evaluate.models import Models
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
  inputs = {n: i for one in experiment.stages.values() for n, i in one.inputs.items()}
  fields = suite.fields_of(context.dataset, inputs.values(), context.splits.train)
  found, notes = suite.cases(fields)
  names = list(experiment.stages)
  clean_pass = _pooled(
    experiment, models.run(context.dataset, context.evaluated, names, removed=True)
  )
  clean = Outcome(
    {name: one['scores'] for name, one in clean_pass.items()},
    {m: there for one in clean_pass.values() for m, there in one['present'].items()},
  )
  fused = decision.of_experiment(experiment, lambda p, n: models.run(context.dataset, p, n))
  reference = _figures(experiment, clean, fused)
  if not reference:
    raise UserError('no stage has an accuracy, or an AUROC: there is nothing to compare')
  corrupted = _Corrupted(experiment, fields, seed)
  rows = []
  for i, case in enumerate(found):
    if case.group == MISSING:
      outcome = _without(experiment, case, inputs, clean, clean_pass)
    else:
      touched = [n for n, one in experiment.stages.items() if _reads(one.inputs, case.field)]
      again = _pooled(experiment, models.run(corrupted.dataset(case), context.evaluated, touched))
      changed = {name: one['scores'] for name, one in again.items()}
      there = {m: x for one in again.values() for m, x in one['present'].items()}
      outcome = Outcome({**clean.scores, **changed}, {**clean.present, **there})
    rows.append((case, _figures(experiment, outcome, fused)))
    _say(f'{i + 1} of {len(found)}: {case.group}, {case.what} {case.severity_text}')
  table = robustness_table.table(
    reference,
    rows,
    {
      'dataset': context.dataset.name,
      'protocol': experiment.config.dataset.protocol,
      'split': context.split,
      'examples': len(tested_lib.units(experiment).keys),
      'seed': seed,
      'run_seed': experiment.config.seed,
      'metrics': {
        n: 'top1' if 'logits' in (clean.scores.get(n) or {'logits': 0}) else 'auroc'
        for n in reference
      },
      'notes': notes,
      'command': command,
    },
  )
  if jax.process_index() == 0:
    robustness_table.write(evaluation.folder(experiment), table)
  return table


class _Corrupted:
  """Datasets in which one thing is corrupted; whole recordings are opened once."""

  def __init__(
    self,
    experiment: Experiment,
    fields: Mapping[str, suite.Field],
    seed: int,
  ):
    dataset, evaluated = experiment.context.dataset, experiment.context.evaluated
    self._dataset, self._fields, self._seed = dataset, fields, seed
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


def _reads(inputs: Mapping[str, Input], field: str) -> bool:
  return any(one.field == field for one in inputs.values())


def _pooled(experiment: Experiment, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
  return recordings.pool(found, tested_lib.units(experiment).group)


def _without(
  experiment: Experiment,
  case: Case,
  inputs: Mapping[str, Input],
  clean: Outcome,
  clean_pass: Mapping[str, Any],
) -> Outcome:
  """What stages say where no example has a field, and they know it."""
  gone = [name for name, one in inputs.items() if one.field == case.field]
  scores: dict[str, Any] = {}
  for name, one in experiment.stages.items():
    lost = [m for m in one.modalities if m in gone]
    left = len(one.modalities) - len(lost)
    if not lost:
      scores[name] = clean.scores[name]
    elif len(lost) == 1 and left:
      scores[name] = clean_pass[name]['removed'][lost[0]]
    else:
      scores[name] = None
  count = len(tested_lib.units(experiment).keys)
  return Outcome(scores, {**clean.present, **{m: np.zeros(count, bool) for m in gone}})


def _figures(
  experiment: Experiment, outcome: Outcome, fused: Decision | None
) -> dict[str, float | None]:
  """The figure of each stage, and of their fusions without training."""
  units, found = tested_lib.units(experiment), {}
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
) -> dict[str, float]:
  """Accuracy of the product of the single models, and of the decision."""
  labels, found = tested_lib.units(experiment).labels, {}
  alone = {n for n, one in experiment.stages.items() if len(one.modalities) == 1}
  own = {n: experiment.stages[n].modalities[0] for n in alone}
  present = {n: outcome.present[m] for n, m in own.items() if m in outcome.present}
  heard = {n: s for n, s in outcome.scores.items() if n in alone and s is not None}
  logits = {n: s['logits'] for n, s in heard.items() if 'logits' in s}
  if len(evaluation.recognisers(experiment)) > 1 and logits:
    there = {n: x for n, x in present.items() if n in logits}
    found[sections.PRODUCT] = _top1(baselines.product(logits, there), labels)
  if fused is not None:
    scores = {
      n: decision.own_scores(experiment.stages[n], s)
      for n, s in heard.items()
      if n in fused.experts
    }
    found[sections.DECISION] = _top1(fused.fuse(scores, present), labels)
  return found


def _top1(scores: np.ndarray, labels: np.ndarray) -> float:
  return float((scores.argmax(-1) == labels).mean())


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
