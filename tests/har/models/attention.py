"""Multi-head attention in NumPy, with the parameters of Flax's."""

import numpy as np


def attend(params, queries, keys):
  """Vaswani et al. (2017), Section 3.2.2, of one example: `[Q, D]` over `[K, D]` to `[Q, D]`."""
  heads = params['query']['kernel'].shape[1]
  found = np.asarray(params['out']['bias'], np.float64)
  for h in range(heads):
    q, k, v = (
      x @ params[name]['kernel'][:, h] + params[name]['bias'][h]
      for name, x in (('query', queries), ('key', keys), ('value', keys))
    )
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    found = found + weights @ v @ params['out']['kernel'][h]
  return found
