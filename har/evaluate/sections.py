"""The numbers of the report's sections, from results and predictions."""

from collections.abc import Mapping, Sequence

import numpy as np

from har.metrics import classification
from har.metrics.classification import Predictions

PRODUCT, DECISION = 'product', 'decision'
UNTRAINED = (PRODUCT, DECISION)
"""What stands among predictions, and is no stage."""
MOST_CONFUSIONS, MOST_SIGNALS, MOST_RIGHT = 8, 6, 3

Classified = Mapping[str, Predictions]


def fusions(results: Mapping) -> list[str]:
  """Stages of several modalities that classify, in order."""
  modalities = results.get('modalities', {})
  return [name for name in _classifiers(results) if len(modalities.get(name, ())) > 1]


def singles(results: Mapping) -> list[str]:
  """The other stages that classify."""
  return [name for name in _classifiers(results) if name not in fusions(results)]


def _classifiers(results: Mapping) -> list[str]:
  return [name for name, variants in results['stages'].items() if 'top1' in variants['float32']]


def verdict(results: Mapping) -> dict | None:
  """What the headline says: the best single stage, the last fusion and its margins.

  None where no stage classifies.
  """
  top1 = {name: results['stages'][name]['float32']['top1'] for name in _classifiers(results)}
  if not top1:
    return None
  alone, fused = singles(results), fusions(results)[-1:]
  best = max(alone, key=lambda name: top1[name], default=None)
  return {
    'best': best,
    'best_top1': None if best is None else top1[best],
    'fusion': top1[fused[0]] if fused else None,
    'product': results.get('baselines', {}).get(PRODUCT, {}).get('top1'),
  }


def pairs(results: Mapping, predictions: Classified) -> list[dict]:
  """Each fusion against each single stage and the untrained product, example by example."""
  found = []
  others = singles(results) + [name for name in UNTRAINED if name in predictions]
  for fusion in fusions(results):
    fused = predictions[fusion].correct
    for name in others:
      other = predictions[name].correct
      fixed, broke = int((fused & ~other).sum()), int((~fused & other).sum())
      both, neither = int((fused & other).sum()), int((~fused & ~other).sum())
      counts = {'fixed': fixed, 'broke': broke, 'both': both, 'neither': neither}
      p = classification.sign_test(fixed, broke)
      found.append({'fusion': fusion, 'name': name, 'p': p, **counts})
  return found


def confusions(predicted: Predictions) -> tuple[int, list[tuple[str, str, int, int]]]:
  """The number of errors, and the pairs of classes that are confused most, the most frequent first.

  A pair is the true class, the predicted one, how often, and the true class's examples.
  """
  counts, names = predicted.confusion(), predicted.class_names
  wrong = counts - np.diag(np.diagonal(counts))
  order = np.argsort(-wrong, axis=None, kind='stable')[:MOST_CONFUSIONS]
  places = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
  found = [(names[t], names[p], int(counts[t, p]), int(counts[t].sum())) for t, p in places]
  return int(wrong.sum()), found


def alarms(predicted: Predictions, abnormal: Sequence[str]) -> dict[str, int]:
  """Abnormal against normal, whichever abnormal class is named."""
  flagged = np.isin(predicted.class_names, abnormal)
  true, raised = flagged[predicted.labels], flagged[predicted.classes]
  return {
    'abnormal': int(true.sum()),
    'found': int((true & raised).sum()),
    'normal': int((~true).sum()),
    'false': int((~true & raised).sum()),
  }


def by_subject(predictions: Classified, subjects: np.ndarray) -> list[dict]:
  """Top-1 of each stage over the examples of each person."""
  rows = []
  for subject in np.unique(subjects):
    own = subjects == subject
    top1 = {name: float(p.correct[own].mean()) for name, p in predictions.items()}
    rows.append({'subject': subject, 'examples': int(own.sum()), 'top1': top1})
  return rows


def worst(predicted: Predictions) -> list[int]:
  """Places of the errors that the model was surest of, the surest first."""
  wrong = np.flatnonzero(~predicted.correct)
  sure = predicted.probabilities[wrong, predicted.classes[wrong]]
  return wrong[np.argsort(-sure, kind='stable')][:MOST_SIGNALS].tolist()


def surest(predicted: Predictions) -> list[int]:
  """Places of the right predictions that the model was surest of, each of another class."""
  right = np.flatnonzero(predicted.correct)
  order = right[
    np.argsort(-predicted.probabilities[right, predicted.classes[right]], kind='stable')
  ]
  first = dict(zip(predicted.classes[order[::-1]].tolist(), order[::-1].tolist(), strict=True))
  return [i for i in order.tolist() if i in first.values()][:MOST_RIGHT]


def examples(results: Mapping, predictions: Classified) -> dict:
  """The examples that someone gets wrong: what each stage predicted, by what became of them.

  With a fusion `wrong` are its errors (first those that a single stage had right, so which it
  broke) and `fixed` those it gets right against at least one single stage (first those that every
  one had wrong). Without one `wrong` are the last stage's errors.
  """
  stages, alone, fused = _classifiers(results), singles(results), fusions(results)
  judge = predictions[fused[-1] if fused else stages[-1]]
  right = np.sum([predictions[name].correct for name in alone], axis=0) + np.zeros(len(judge.keys))
  wrong = np.flatnonzero(~judge.correct)
  fixed = np.flatnonzero(judge.correct & (right < len(alone)))

  def lines(places) -> list[dict]:
    return [
      {
        'key': judge.keys[i],
        'label': int(judge.labels[i]),
        'predicted': [(int(predictions[s].classes[i]), _sure(predictions[s], i)) for s in stages],
      }
      for i in places
    ]

  both = bool(fused and alone)
  return {
    'stages': stages,
    'wrong': lines(wrong[np.argsort(-right[wrong], kind='stable')]),
    'broken': int((right[wrong] > 0).sum()) if both else 0,
    'fixed': lines(fixed[np.argsort(right[fixed], kind='stable')]) if both else [],
  }


def _sure(predicted: Predictions, place: int) -> float:
  return float(predicted.probabilities[place, predicted.classes[place]])
