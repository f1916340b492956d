"""What is evaluated: the examples of a split, or recordings by all of their windows together."""

import dataclasses
from typing import Any

import jax
import numpy as np

from har.data.windows import Windowed
from har.metrics.classification import log_softmax


@dataclasses.dataclass(frozen=True)
class Units:
  """What results count.

  Attributes:
    keys: of M examples or recordings.
    labels: int32 `[M]`.
    positions: int64 `[M]`, in the dataset's index; of a recording, that of its first window.
    group: int64 `[N]`, whose each of N evaluated windows is; None if windows or whole recordings
      are counted.
  """

  keys: tuple[str, ...]
  labels: np.ndarray
  positions: np.ndarray
  group: np.ndarray | None


def units(dataset: Any, evaluated: np.ndarray) -> Units:
  """What is counted of the evaluated positions `[N]`, recordings in the order of their windows."""
  index, group, keys = dataset.index, None, dataset.index.key
  if isinstance(dataset, Windowed) and dataset.evaluate == 'recording':
    _, first, group = np.unique(
      dataset.recording[evaluated], return_index=True, return_inverse=True
    )
    evaluated, keys = evaluated[first], index.recording
  return Units(tuple(keys[evaluated]), index.label[evaluated], evaluated, group)


def pool(scores: Any, group: np.ndarray | None) -> Any:
  """Puts the windows of each recording together.

  Args:
    scores: a tree of arrays `[N, ...]` by name: `logits` `[N, C]`, of which probabilities are
      averaged; whether an input is present, bool `[N]`, true if it is in any window; other scores
      `[N]`, of which the highest counts: one abnormal moment is enough.
    group: see `Units`; None changes nothing.

  Returns:
    A tree of arrays `[M, ...]`. Logits are the logarithms of mean probabilities.
  """
  if group is None:
    return scores
  members = [np.flatnonzero(group == i) for i in range(group.max() + 1)]

  def pooled(path, x):
    if path[-1].key == 'logits':
      logarithms = log_softmax(x)
      return np.stack([np.logaddexp.reduce(logarithms[m]) - np.log(len(m)) for m in members])
    return np.stack([x[m].max(0) for m in members])

  return jax.tree_util.tree_map_with_path(pooled, scores)
