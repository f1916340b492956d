"""Fusion without training, which a trained fusion has to beat."""

from collections.abc import Mapping

import numpy as np
from scipy import special

from har.metrics.classification import log_softmax


def product(
  scores: Mapping[str, np.ndarray],
  present: Mapping[str, np.ndarray] | None = None,
  unknown: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
  """The product rule: class probabilities multiplied over modalities, each weighing the same.

  A model that never saw some classes has no say on them, and none on how likely they are together:
  it only shares out, among the classes that it knows, what the others leave to these.

  Args:
    scores: logits [N, C] of each single-modality model, rows in the same order.
    present: of models whose modality some examples lack, bool [N]: such rows are left out.
    unknown: of models that never saw some classes, bool [C]: which, the same of all such models.

  Returns:
    [N, C] float64 sums of log-probabilities: scores for `metrics.compute`, and logits whose softmax
    is the normalised product.

  Raises:
    ValueError: no model, or shapes that differ.
  """
  shapes = {name: np.shape(values) for name, values in scores.items()}
  if not shapes or len(set(shapes.values())) > 1:
    raise ValueError(f'the product needs scores of one shape, not {shapes}')
  terms = {name: log_softmax(values) for name, values in scores.items()}
  for name, there in (present or {}).items():
    terms[name] = np.where(there[:, None], terms[name], 0)
  partly = {name: own for name, own in (unknown or {}).items() if own.any()}
  whole = [terms[name] for name in terms if name not in partly]
  if not partly or not whole:
    return np.sum(list(terms.values()), axis=0)
  found, known = log_softmax(np.sum(whole, axis=0)), ~next(iter(partly.values()))
  shared = found[:, known]
  left = special.logsumexp(shared, axis=1, keepdims=True)
  shared = shared + np.sum([terms[name] for name in partly], axis=0)[:, known]
  found[:, known] = log_softmax(shared) + left
  return found
