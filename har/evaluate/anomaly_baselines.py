"""The baselines of stages that detect: what they see of examples, and their figures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from har.data import loader
from har.data.ready import Ready
from har.data.signal import Signal
from har.evaluate import detectors
from har.metrics import alarms
from har.metrics.alarms import Moments
from har.train import experiment as experiment_lib
from har.train import source
from har.train.experiment import Experiment
from har.train.stage import Stage

PEAK = 'highest |acceleration|'
MOST = 20_000
"""Training examples that are learnt from; of more, so many are drawn, always the same."""

_BATCH = 256

Scores = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Seen:
  """What baselines see of a stage's examples.

  Attributes:
    features: `[N, F]`, of training examples and then of those that are evaluated on.
    parts: columns of the features, by sensor or input.
    inputs: names of the inputs that are seen.
    meaning: what the features are.
  """

  features: np.ndarray
  parts: dict[str, np.ndarray]
  inputs: tuple[str, ...]
  meaning: str


def figures(
  experiment: Experiment, name: str, moments: Moments, abnormal: np.ndarray
) -> dict[str, Any]:
  """What `results.json` says of a stage's baselines.

  Args:
    experiment: whose stage it is.
    name: the stage's.
    moments: its scores of what is evaluated on; baselines are judged by the same recordings.
    abnormal: bool `[M]`, which of these are.

  Returns:
    'input', what they see; 'unseen', the stage's other inputs; 'features', what is seen;
    'methods', figures by name, none where nothing can be seen; 'weights' of late fusion.
  """
  context, stage = experiment.context, experiment.stages[name]
  train = drawn(context.splits.train)
  seen = _seen(experiment, stage, np.concatenate([train, context.evaluated]))
  if seen is None:
    return {'input': '', 'unseen': list(stage.inputs), 'features': '', 'methods': {}, 'weights': {}}
  facts, labels = stage.objective.facts, context.dataset.index.label[train]
  known = np.isin(facts.class_names, facts.abnormal)[labels]
  # Classifiers are for stages that learn from labels, too.
  labelled = bool(stage.objective.trains_on(np.arange(len(facts.class_names))).all())
  own, asked = seen.features[: len(train)], seen.features[len(train) :]
  found = _peaks(context.dataset, stage, context.evaluated)
  found |= detectors.scores(own, known, asked, labelled=labelled)
  weights: dict[str, float] = {}
  if labelled and known.any() and not known.all():
    people = context.dataset.index.columns.get(experiment.config.dataset.group)
    people = None if people is None else people[train]
    found[detectors.LATE], weights = detectors.late_fusion(seen.parts, own, known, people, asked)
  return {
    'input': ' and '.join(seen.inputs),
    'unseen': [one for one in stage.inputs if one not in seen.inputs],
    'features': seen.meaning,
    'methods': {n: _judged(n, x, moments, abnormal) for n, x in found.items()},
    'weights': weights,
  }


def drawn(positions: np.ndarray) -> np.ndarray:
  """At most `MOST` of these, in their order."""
  if len(positions) <= MOST:
    return positions
  return np.sort(np.random.default_rng(0).choice(positions, MOST, replace=False))


def _judged(name: str, scores: np.ndarray, moments: Moments, abnormal: np.ndarray) -> Any:
  own = dataclasses.replace(moments, scores=scores.astype(np.float64))
  return {
    **alarms.ranking(own.highest(), abnormal),
    'at_sensitivity': alarms.at_sensitivity(own, abnormal),
    'labels': name in detectors.LABELLED or name == detectors.LATE,
    'examples': len(abnormal),
  }


def _seen(experiment: Experiment, stage: Stage, positions: np.ndarray) -> Seen | None:
  """Of these examples the signals, and what the stage keeps of other inputs' frozen part."""
  signals = _signals(stage)
  found, meaning = {}, []
  parts: dict[str, np.ndarray] = {}
  for signal in signals:
    found[signal.name] = _signal_features(experiment.context.dataset, signal, positions)
  if signals:
    meaning.append(detectors.FEATURES)
  kept = _kept_features(experiment, stage, positions) if stage.config['cached_views'] else {}
  kept = {name: x for name, x in kept.items() if name not in found}
  if kept:
    meaning.append(detectors.KEPT_FEATURES)
  if not found and not kept:
    return None
  start = 0
  for name, x in {**found, **kept}.items():
    columns = {name: np.arange(x.shape[1])}
    if name in found:
      columns = detectors.parts(name, stage.inputs[name].padding()[name].shape[1])
    parts |= {part: start + own for part, own in columns.items()}
    start += x.shape[1]
  features = np.concatenate([*found.values(), *kept.values()], 1)
  return Seen(features, parts, (*found, *kept), '; and '.join(meaning))


def _signals(stage: Stage) -> list[Signal]:
  return [one for one in stage.inputs.values() if isinstance(one, Signal)]


def _signal_features(dataset: Any, signal: Signal, positions: np.ndarray) -> np.ndarray:
  batches = loader.eval_batches(
    dataset.records((signal.field,)), positions, {signal.name: signal}, batch_size=_BATCH
  )
  still = signal.augment_options({})
  preprocess, found = jax.jit(lambda batch: signal.preprocess(batch, None, still, None)), []
  for batch in batches:
    inputs = jax.device_get(preprocess(batch))
    x, mask = inputs[signal.name], inputs[f'{signal.name}_mask']
    found.append(detectors.features(x, mask)[np.asarray(batch['mask'])])
  return np.concatenate(found)


def _kept_features(
  experiment: Experiment, stage: Stage, positions: np.ndarray
) -> dict[str, np.ndarray]:
  """By input, of what `har.train.source.Cached` keeps."""
  variables, _ = experiment_lib.load(experiment, stage.name)
  cached = source.Cached(stage, experiment.context)
  arrays = cached.once(variables, positions)
  ready = {n: one for n, one in cached.stage.inputs.items() if isinstance(one, Ready)}
  return {
    name: detectors.kept_features({key: arrays[key] for key in one.shapes})
    for name, one in ready.items()
  }


def _peaks(dataset: Any, stage: Stage, positions: np.ndarray) -> Scores:
  """The largest norm of the first signal's first three channels as recorded, of each example."""
  signals: Sequence[Signal] = _signals(stage)[:1]
  found = {}
  for signal in signals:
    records = dataset.records((signal.field,))
    recorded = (records[i][signal.field] for i in positions.tolist())
    norms = [np.linalg.norm(x[:, :3], axis=1).max() if len(x) else 0.0 for x in recorded]
    found[PEAK] = np.array(norms)
  return found
