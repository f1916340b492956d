"""Fusion without training, which a trained fusion has to beat."""

from collections.abc import Mapping

import numpy as np

from har.metrics.classification import log_softmax


def product(
  scores: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
  """The product rule: class probabilities multiplied over modalities, each weighing the same.

  Args:
    scores: logits [N, C] of each single-modality model, rows in the same order.
    present: of models whose modality some examples lack, bool [N]: such rows are left out.

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
  return np.sum(list(terms.values()), axis=0)
