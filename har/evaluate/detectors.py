"""Detectors of scikit-learn, which a trained one has to beat, on the same examples.

It is imported where it is used: it takes a second, and no training has to wait for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from har.data import loader
from har.data.signal import Signal
from har.train import experiment as experiment_lib
from har.train import source
from har.train.context import Context
from har.train.experiment import Experiment
from har.train.stage import Stage

PEAK = 'highest |acceleration|'
FEATURES = (
  'mean, deviation, least and greatest value and mean change from sample to sample of each window, '
  'of its channels and of the norm of every three of them, as they enter the model'
)
KEPT_FEATURES = 'mean, and mean change from step to step, of what the frozen part gives'

_BATCH = 256


def _residual(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  from sklearn.decomposition import PCA
  from sklearn.preprocessing import StandardScaler

  scale = StandardScaler().fit(train)
  parts = PCA(0.9).fit(scale.transform(train))

  def score(x):
    z = scale.transform(x)
    return np.square(z - parts.inverse_transform(parts.transform(z))).mean(1)

  return score


def _centres(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  from sklearn.cluster import KMeans
  from sklearn.preprocessing import StandardScaler

  scale = StandardScaler().fit(train)
  means = KMeans(min(32, len(train)), n_init=1, random_state=0).fit(scale.transform(train))
  return lambda x: means.transform(scale.transform(x)).min(1)


def _isolation(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  from sklearn.ensemble import IsolationForest

  forest = IsolationForest(random_state=0).fit(train)
  return lambda x: -forest.score_samples(x)


NORMAL: dict[str, Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
  'PCA': _residual,
  'k-means': _centres,
  'isolation forest': _isolation,
}
"""Fitted on features `[N, F]` of normal windows; each gives what scores others, `[N]`."""

LABELLED = ('SVM', 'kNN', 'decision tree', 'random forest')
"""Classifiers of normal and abnormal windows."""


def _labelled(count: int) -> dict[str, Any]:
  """Those of `LABELLED`, for so many windows that they learn from."""
  from sklearn.ensemble import RandomForestClassifier
  from sklearn.neighbors import KNeighborsClassifier
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler
  from sklearn.svm import SVC
  from sklearn.tree import DecisionTreeClassifier

  nearest = KNeighborsClassifier(min(15, count), weights='distance')
  tree = DecisionTreeClassifier(min_samples_leaf=10, class_weight='balanced', random_state=0)
  forest = RandomForestClassifier(200, min_samples_leaf=2, class_weight='balanced', random_state=0)
  vectors = make_pipeline(StandardScaler(), SVC(C=10, class_weight='balanced'))
  found = vectors, make_pipeline(StandardScaler(), nearest), tree, forest
  return dict(zip(LABELLED, found, strict=True))


def features(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """`FEATURES` of signals `[B, T, C]` where the mask `[B, T]` is true; 0 where it never is."""
  norms = [np.linalg.norm(x[..., i : i + 3], axis=-1, keepdims=True) for i in _triples(x)]
  values = np.ma.array(np.concatenate([x, *norms], -1))
  values[~mask] = np.ma.masked
  found = [values.mean(1), values.std(1), values.min(1), values.max(1)]
  found.append(np.abs(np.ma.diff(values, axis=1)).mean(1))
  return np.ma.concatenate(found, 1).filled(0.0).astype(np.float32)


def _triples(x: np.ndarray) -> range:
  return range(0, x.shape[-1] - x.shape[-1] % 3, 3)


def kept_features(arrays: dict[str, np.ndarray]) -> np.ndarray:
  """`KEPT_FEATURES` of arrays `[N, steps, ..., D]`, joined."""
  found = []
  for name in sorted(arrays):
    x = arrays[name].astype(np.float32)
    found.append(x.mean(tuple(range(1, x.ndim - 1))))
    if x.ndim > 2 and x.shape[1] > 1:
      found.append(np.abs(np.diff(x, axis=1)).mean(tuple(range(1, x.ndim - 1))))
  return np.concatenate(found, 1)


def of_signal(
  experiment: Experiment, stage: Stage, signal: Signal, *, labelled: bool
) -> dict[str, np.ndarray]:
  """Scores of the examples that are evaluated on by each baseline, `[N]` by name.

  Args:
    experiment: whose data these are.
    stage: whose training examples are learnt from: of them the normal ones, or with labels all.
    signal: of its inputs the one that is seen.
    labelled: whether classifiers are among the baselines.
  """
  dataset, context = experiment.context.dataset, experiment.context
  seen = _features(dataset, stage, signal, context.splits.train)
  asked = _features(dataset, stage, signal, context.evaluated)
  found = _scores(context, stage, seen, asked, labelled)
  return {PEAK: _peaks(dataset, signal, context.evaluated), **found}


def of_kept(experiment: Experiment, stage: Stage, *, labelled: bool) -> dict[str, np.ndarray]:
  """As `of_signal`, of what a stage keeps of its frozen part, see `har.train.source.Cached`."""
  context = experiment.context
  variables, _ = experiment_lib.load(experiment, stage.name)
  cached = source.Cached(stage, context)
  both = np.concatenate([context.splits.train, context.evaluated])
  features = kept_features(cached.once(variables, both))
  count = len(context.splits.train)
  return _scores(context, stage, features[:count], features[count:], labelled)


def _scores(
  context: Context, stage: Stage, seen: np.ndarray, asked: np.ndarray, labelled: bool
) -> dict[str, np.ndarray]:
  """By the features of the training examples, and of those that are evaluated on."""
  labels, train = context.dataset.index.label, context.splits.train
  facts = stage.objective.facts
  abnormal = np.isin(facts.class_names, facts.abnormal)[labels]
  found = {}
  for name, fit in NORMAL.items():
    found[name] = fit(seen[~abnormal[train]])(asked)
  both = abnormal[train].any() and not abnormal[train].all()
  for name, model in _labelled(len(seen)).items() if labelled and both else ():
    model.fit(seen, abnormal[train])
    if hasattr(model, 'decision_function'):
      found[name] = model.decision_function(asked)
    else:
      found[name] = model.predict_proba(asked)[:, 1]
  return found


def _features(dataset: Any, stage: Stage, signal: Signal, positions: np.ndarray) -> np.ndarray:
  batches = loader.eval_batches(
    dataset.records((signal.field,)), positions, {signal.name: signal}, batch_size=_BATCH
  )
  still = signal.augment_options({})
  preprocess, found = jax.jit(lambda batch: signal.preprocess(batch, None, still, None)), []
  for batch in batches:
    inputs = jax.device_get(preprocess(batch))
    found.append(
      features(inputs[signal.name], inputs[f'{signal.name}_mask'])[np.asarray(batch['mask'])]
    )
  return np.concatenate(found)


def _peaks(dataset: Any, signal: Signal, positions: np.ndarray) -> np.ndarray:
  """The largest norm of the first three channels as they were recorded, of each example."""
  records, found = dataset.records((signal.field,)), []
  for i in positions.tolist():
    x = records[i][signal.field]
    found.append(np.linalg.norm(x[:, :3], axis=1).max() if len(x) else 0.0)
  return np.array(found)
