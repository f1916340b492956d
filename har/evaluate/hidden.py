"""What an evaluation says of classes that a field hides before the test, see `har.data.hidden`."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from har.evaluate import tested as tested_lib
from har.metrics.classification import Predictions
from har.metrics.detection import Detections
from har.train.experiment import Experiment


def unknown(experiment: Experiment, names: Collection[str]) -> dict[str, np.ndarray]:
  """Of stages that some classes were never shown to, bool `[C]`: which."""
  facts = {name: experiment.stages[name].objective.facts for name in names}
  return {name: one.unknown for name, one in facts.items() if one.unknown is not None}


def table(
  experiment: Experiment, predictions: Mapping[str, Predictions | Detections]
) -> dict[str, Any]:
  """What `results.json` says of hidden classes."""
  dataset = experiment.context.dataset
  if not dataset.hidden:
    return {}
  (names,) = set(map(tuple, dataset.hidden.values()))
  labels = tested_lib.units(experiment).labels
  among = np.isin(dataset.class_names, names)[labels]
  top1 = {}
  for name, one in predictions.items():
    if isinstance(one, Predictions):
      groups = {'hidden': one.correct[among], 'others': one.correct[~among]}
      top1[name] = {n: float(own.mean()) for n, own in groups.items() if len(own)}
  return {'from': list(dataset.hidden), 'classes': list(names), 'top1': top1}


def notes(experiment: Experiment) -> list[str]:
  """Sentences on classes that stages were never shown."""
  found = [
    f'Before the test, {field} shows none of {", ".join(names)}.'
    for field, names in experiment.context.dataset.hidden.items()
  ]
  for name, one in experiment.deployed.items():
    facts = one.objective.facts
    if facts.unknown is not None:
      count = int(facts.unknown.sum())
      found.append(f'Stage {name} was never shown {count} of the classes, and may not answer them.')
  return found
