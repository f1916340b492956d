"""Detectors of scikit-learn, which a trained one has to beat."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

LATE = 'weighted late fusion'
FEATURES = (
  'mean, deviation, least and greatest value and mean change from sample to sample of each window, '
  'of its channels and of the norm of every three of them, as they enter the model'
)
KEPT_FEATURES = 'mean, and mean change from step to step, of what the frozen part gives'

_STATISTICS = 5
_FOLDS = 3


def _residual(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  scale = StandardScaler().fit(train)
  parts = PCA(0.9).fit(scale.transform(train))

  def score(x):
    z = scale.transform(x)
    return np.square(z - parts.inverse_transform(parts.transform(z))).mean(1)

  return score


def _centres(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  scale = StandardScaler().fit(train)
  most = min(32, len(np.unique(train, axis=0)))
  means = KMeans(most, n_init=1, random_state=0).fit(scale.transform(train))
  return lambda x: means.transform(scale.transform(x)).min(1)


def _isolation(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  forest = IsolationForest(random_state=0).fit(train)
  return lambda x: -forest.score_samples(x)


NORMAL: dict[str, Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
  'PCA': _residual,
  'k-means': _centres,
  'isolation forest': _isolation,
}
"""Fitted on features `[N, F]` of normal windows; each gives what scores others, `[N]`."""


def _forest(trees: int) -> RandomForestClassifier:
  return RandomForestClassifier(trees, min_samples_leaf=2, class_weight='balanced', random_state=0)


LABELLED: dict[str, Callable[[int], Any]] = {
  'SVM': lambda _: make_pipeline(StandardScaler(), SVC(C=10, class_weight='balanced')),
  'kNN': lambda count: make_pipeline(
    StandardScaler(), KNeighborsClassifier(min(15, count), weights='distance')
  ),
  'decision tree': lambda _: DecisionTreeClassifier(
    min_samples_leaf=10, class_weight='balanced', random_state=0
  ),
  'random forest': lambda _: _forest(200),
}
"""Classifiers of normal and abnormal windows, for so many that they learn from."""

MEMBERS: dict[str, Callable[[int], Any]] = {
  'kNN': LABELLED['kNN'],
  'decision tree': LABELLED['decision tree'],
  'random forest': lambda _: _forest(50),
}
"""Those that give probabilities, which late fusion weighs; with fewer trees, as there are many."""


def features(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """`FEATURES` of signals `[B, T, C]` where the mask `[B, T]` is true; 0 where it never is."""
  norms = [np.linalg.norm(x[..., i : i + 3], axis=-1, keepdims=True) for i in _triples(x.shape[-1])]
  values = np.ma.array(np.concatenate([x, *norms], -1))
  values[~mask] = np.ma.masked
  found = [values.mean(1), values.std(1), values.min(1), values.max(1)]
  found.append(np.abs(np.ma.diff(values, axis=1)).mean(1))
  return np.ma.concatenate(found, 1).filled(0.0).astype(np.float32)


def _triples(channels: int) -> range:
  return range(0, channels - channels % 3, 3)


def parts(name: str, channels: int) -> dict[str, np.ndarray]:
  """Columns of `features` by part of a signal: every three channels are a sensor, the rest one."""
  triples = _triples(channels)
  starts = [*triples, *range(len(triples) * 3, channels)[:1]]
  found = {}
  for i, start in enumerate(starts):
    own = [*range(start, min(start + 3, channels)), *[channels + i] * (i < len(triples))]
    title = f'{name} {start + 1}-{min(start + 3, channels)}' if len(starts) > 1 else name
    width = channels + len(triples)
    found[title] = np.concatenate([np.array(own) + s * width for s in range(_STATISTICS)])
  return found


def kept_features(arrays: dict[str, np.ndarray]) -> np.ndarray:
  """`KEPT_FEATURES` of arrays `[N, steps, ..., D]`, joined; not of masks, which are bool."""
  found = []
  for name in sorted(n for n, x in arrays.items() if x.dtype != bool):
    x = arrays[name].astype(np.float32)
    found.append(x.mean(tuple(range(1, x.ndim - 1))))
    if x.ndim > 2 and x.shape[1] > 1:
      found.append(np.abs(np.diff(x, axis=1)).mean(tuple(range(1, x.ndim - 1))))
  return np.concatenate(found, 1)


def scores(
  seen: np.ndarray, abnormal: np.ndarray, asked: np.ndarray, *, labelled: bool
) -> dict[str, np.ndarray]:
  """Of each of `NORMAL`, and of `LABELLED` if that is asked for, the higher, the more abnormal.

  Args:
    seen: features `[N, F]` that are learnt from: by classifiers all, by the others normal ones.
    abnormal: bool `[N]`, which are. Classifiers need both kinds, the others two normal ones that
      differ.
    asked: features `[M, F]` of what is scored.
    labelled: whether classifiers are among them.

  Returns:
    `[M]` by name; without those that have not enough to learn from.
  """
  found, normal = {}, seen[~abnormal]
  for name, fit in NORMAL.items() if len(np.unique(normal, axis=0)) > 1 else ():
    found[name] = fit(normal)(asked)
  for name, make in LABELLED.items() if labelled and _both(abnormal) else ():
    model = make(len(seen)).fit(seen, abnormal)
    if hasattr(model, 'decision_function'):
      found[name] = model.decision_function(asked)
    else:
      found[name] = _chance(model, asked)
  return found


def late_fusion(
  columns: Mapping[str, np.ndarray],
  seen: np.ndarray,
  abnormal: np.ndarray,
  people: np.ndarray | None,
  asked: np.ndarray,
) -> tuple[np.ndarray, dict[str, float]]:
  """Weighted late fusion: classifiers that see one part each, their probabilities averaged.

  A weight is by how much the AUROC exceeds one half that a classifier has on training examples of
  people whom it has not seen (three folds); without two people all weigh the same.

  Args:
    columns: of the features, by part: a sensor, or an input.
    seen: features `[N, F]`.
    abnormal: bool `[N]`, of both kinds.
    people: `[N]`, whose they are; None if it is not known.
    asked: features `[M, F]`.

  Returns:
    `[M]`, and the weights by part and classifier, which sum to 1.
  """
  count = 1 if people is None else len(np.unique(people))
  folds = [*GroupKFold(min(_FOLDS, count)).split(seen, groups=people)] if count > 1 else []
  said, worth = {}, {}
  for part, own in columns.items():
    for name, make in MEMBERS.items():
      x = seen[:, own]
      left = np.zeros(len(x))
      for fit, out in folds:
        left[out] = _chance(make(len(fit)).fit(x[fit], abnormal[fit]), x[out])
      worth[f'{part}: {name}'] = max(roc_auc_score(abnormal, left) - 0.5, 0.0)
      said[f'{part}: {name}'] = _chance(make(len(x)).fit(x, abnormal), asked[:, own])
  total = sum(worth.values())
  weights = {name: w / total if total else 1 / len(worth) for name, w in worth.items()}
  return np.sum([weights[name] * chances for name, chances in said.items()], axis=0), weights


def _both(abnormal: np.ndarray) -> bool:
  return bool(abnormal.any() and not abnormal.all())


def _chance(model: Any, x: np.ndarray) -> np.ndarray:
  """Of being abnormal; 0 if the model never saw that."""
  return model.predict_proba(x)[:, model.classes_].sum(1)
