"""Fusion of finished stages by their decisions: calibrated and weighed on people held out.

Every stage of one modality is an expert: a recogniser, whose logits are divided by a temperature,
or a detector, from whose score a line leads to the log-odds of abnormal classes. What experts say
is multiplied, each weighing what it should where all of them, or some, have something to go by.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from har.errors import UserError
from har.evaluate import anomaly, recordings
from har.evaluate.files import write_text
from har.metrics import calibration
from har.objectives.classify import Classifier
from har.train.experiment import Experiment
from har.train.stage import Stage

FILE = 'decision.json'
_MOST_EXPERTS = 8  # There is a set of weights for each choice of them.

Scores = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Expert:
  """How a stage's scores become log-probabilities.

  Attributes:
    temperature: of logits; 0 for a detector.
    slope: of a detector, from its score to log-odds; 0 for a recogniser.
    offset: likewise.
    logarithm: whether the line begins at the score's logarithm.
  """

  temperature: float = 0.0
  slope: float = 0.0
  offset: float = 0.0
  logarithm: bool = False

  def log_probabilities(self, scores: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """`[N, C]`, of logits `[N, C]` or a detector's scores `[N]`; see `Decision.abnormal`."""
    if self.temperature:
      return special.log_softmax(np.asarray(scores, np.float64) / self.temperature, -1)
    odds = self.slope * _scale(scores, self.logarithm) + self.offset
    log_p = np.where(abnormal, -np.logaddexp(0, -odds)[:, None], -np.logaddexp(0, odds)[:, None])
    return log_p - np.log(np.where(abnormal, abnormal.sum(), (~abnormal).sum()))


@dataclasses.dataclass(frozen=True)
class Decision:
  """A fitted fusion.

  Attributes:
    experts: by stage.
    weights: of the experts that have something to go by, by their names in alphabetical order.
    abnormal: bool `[C]`, which classes are.
    facts: what it was fitted on.
  """

  experts: Mapping[str, Expert]
  weights: Mapping[tuple[str, ...], tuple[float, ...]]
  abnormal: np.ndarray
  facts: Mapping[str, Any]

  def fuse(
    self, scores: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray] | None = None
  ) -> np.ndarray:
    """Log-probabilities, float64 `[N, C]`, by those experts that are there.

    Args:
      scores: of at least one expert, see `own_scores`.
      present: bool `[N]`, of experts whose modality some examples lack.

    Where there is none at all, classes are equally likely.
    """
    names = sorted(scores)
    log_p = {n: self.experts[n].log_probabilities(scores[n], self.abnormal) for n in names}
    count, classes = len(scores[names[0]]), len(self.abnormal)
    there = np.stack([(present or {}).get(n, np.ones(count, bool)) for n in names], 1)
    fused = np.full((count, classes), -np.log(classes))
    for row in np.unique(there, axis=0):
      chosen = tuple(name for name, kept in zip(names, row, strict=True) if kept)
      if chosen:
        own = (there == row).all(1)
        terms = np.stack([log_p[name][own] for name in chosen])
        fused[own] = special.log_softmax(np.tensordot(self.weights[chosen], terms, 1), -1)
    return fused

  def plain(self) -> dict[str, Any]:
    """What `decision.json` holds."""
    return {
      **self.facts,
      'experts': {name: dataclasses.asdict(one) for name, one in self.experts.items()},
      'weights': {
        '+'.join(names): dict(zip(names, weights, strict=True))
        for names, weights in self.weights.items()
      },
    }


def fit(
  scores: Mapping[str, np.ndarray],
  labels: np.ndarray,
  abnormal: np.ndarray,
  present: Mapping[str, np.ndarray] | None = None,
  facts: Mapping[str, Any] | None = None,
) -> Decision:
  """Calibrates experts one by one, and weighs every choice of them.

  One that is alone has weight 1: what is left is its own calibrated probabilities.

  Args:
    scores: by stage, logits `[N, C]` or a detector's scores `[N]`, of held-out examples.
    labels: int `[N]`.
    abnormal: bool `[C]`.
    present: bool `[N]`, of stages whose modality some examples lack; of each at least one has it.
    facts: see `Decision`.
  """
  names = sorted(scores)
  everywhere = np.ones(len(labels), bool)
  there = {name: (present or {}).get(name, everywhere) for name in names}
  experts = {n: _expert(scores[n][there[n]], labels[there[n]], abnormal) for n in names}
  log_p = {name: experts[name].log_probabilities(scores[name], abnormal) for name in names}
  weights = {}
  for count in range(1, len(names) + 1):
    for chosen in itertools.combinations(names, count):
      own = np.all([there[name] for name in chosen], axis=0)
      fitted = np.full(count, 1 / count)
      if count > 1 and own.any():
        fitted = calibration.fit_weights(np.stack([log_p[n][own] for n in chosen]), labels[own])
      weights[chosen] = tuple(map(float, fitted))
  return Decision(experts, weights, abnormal, facts or {})


def _expert(scores: np.ndarray, labels: np.ndarray, abnormal: np.ndarray) -> Expert:
  if scores.ndim == 2:
    return Expert(temperature=calibration.fit_temperature(scores, labels))
  logarithm = bool((scores > 0).all())  # Errors span orders of magnitude.
  line = calibration.fit_line(_scale(scores, logarithm), abnormal[labels])
  return Expert(slope=line[0], offset=line[1], logarithm=logarithm)


def _scale(scores: np.ndarray, logarithm: bool) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  return np.log(np.maximum(scores, 1e-30)) if logarithm else scores


def experts(stages: Mapping[str, Stage]) -> list[str]:
  """The stages that are fused: those of one modality that classify or detect.

  None unless there are several, and a recogniser among them.
  """
  alone = {name: one for name, one in stages.items() if len(one.modalities) == 1}
  recognisers = [name for name, one in alone.items() if isinstance(one.objective, Classifier)]
  found = [name for name, one in alone.items() if name in recognisers or anomaly.detects(one)]
  return found if recognisers and 1 < len(found) <= _MOST_EXPERTS else []


def own_scores(one: Stage, scores: Scores) -> np.ndarray:
  """What `Decision` takes of a stage: logits `[N, C]`, or a detector's scores `[N]`."""
  if isinstance(one.objective, Classifier):
    return scores['logits']
  found = one.objective.anomaly(dict(scores))
  assert found is not None
  return found


def why_not(experiment: Experiment) -> str:
  """Why nothing can be fitted, a sentence; '' if it can be."""
  context = experiment.context
  if not experts(experiment.deployed):
    return 'Decisions are not fused: no two stages of one modality, one a recogniser.'
  if context.split == 'validation':
    return 'Decisions are not fused: weights would be fitted on what is evaluated.'
  if context.dataset.hidden:
    return 'Decisions are not fused: some classes are hidden from one of the stages.'
  validation = context.splits.validation
  if not len(validation):
    return (
      'Decisions are not fused: nobody validates; set config.dataset.validation_fraction or '
      'validation_subjects.'
    )
  people = context.dataset.index.columns.get(experiment.config.dataset.group)
  if people is not None and np.isin(people[validation], people[context.splits.train]).any():
    return 'Decisions are not fused: people who validate are among those who train.'
  return ''


def of_experiment(
  experiment: Experiment,
  predict: Callable[[np.ndarray, Collection[str]], Mapping[str, Mapping[str, Any]]],
) -> Decision | None:
  """Fits the fusion of an experiment's stages on those who validate; None if it cannot be.

  Args:
    experiment: whose stages are finished.
    predict: given positions and names of stages, by stage `scores` and `present` (by modality),
      before windows are put together.
  """
  if why_not(experiment):
    return None
  context, names = experiment.context, experts(experiment.deployed)
  validation = context.splits.validation
  units = recordings.units(context.dataset, validation)
  found = recordings.pool(predict(validation, names), units.group)
  scores = {n: own_scores(experiment.stages[n], found[n]['scores']) for n in names}
  present = {n: there for n in names for there in found[n]['present'].values()}
  if not all(there.any() for there in present.values()):
    return None
  classes = context.dataset.class_names
  abnormal = np.isin(classes, list(context.dataset.metadata.get('abnormal', ())))
  people = context.dataset.index.columns.get(experiment.config.dataset.group)
  own = [] if people is None else np.unique(people[units.positions]).tolist()
  facts = {'examples': len(units.labels), 'people': own}
  return fit(scores, units.labels, abnormal, present, facts)


def calibrations(
  decided: Decision,
  scores: Mapping[str, np.ndarray],
  present: Mapping[str, np.ndarray],
  labels: np.ndarray,
) -> dict[str, dict[str, float | None]]:
  """Expected calibration error and likelihood on other examples than it was fitted on.

  By recogniser before and after its temperature, and of the fusion, called `decision`.
  """
  found: dict[str, dict[str, float | None]] = {}
  for name, values in scores.items():
    if not decided.experts[name].temperature:
      continue
    own = present.get(name, np.ones(len(labels), bool))
    if own.any():
      before = special.log_softmax(np.asarray(values[own], np.float64), -1)
      after = decided.experts[name].log_probabilities(values[own], decided.abnormal)
      found[name] = _quality(before, after, labels[own])
  uncalibrated = dataclasses.replace(
    decided,
    experts={n: e if e.slope else Expert(temperature=1.0) for n, e in decided.experts.items()},
    weights={names: (1.0,) * len(names) for names in decided.weights},
  )
  before, after = (one.fuse(scores, present) for one in (uncalibrated, decided))
  return found | {'decision': _quality(before, after, labels)}


def _quality(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
  return {
    'ece_before': calibration.expected_error(before, labels),
    'ece': calibration.expected_error(after, labels),
    'nll_before': calibration.likelihood(before, labels),
    'nll': calibration.likelihood(after, labels),
  }


def write(workdir: Path, decided: Decision | None) -> None:
  """Writes WORKDIR/decision.json; removes that of an evaluation that could fit one."""
  path = workdir / FILE
  if decided is None:
    path.unlink(missing_ok=True)
    return
  write_text(path, json.dumps(decided.plain(), indent=2, ensure_ascii=False) + '\n')


def read(workdir: Path) -> dict[str, Any] | None:
  """What `write` wrote; None if there is none.

  Raises:
    UserError: the file is damaged.
  """
  path = workdir / FILE
  if not path.exists():
    return None
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, ValueError, TypeError) as error:
    raise UserError(f'cannot read {path}: {error}: evaluate the stages again') from error
