"""Classification metrics over a whole split, in NumPy.

Macro averages (precision, recall, F1) run over the classes that have test examples. A class without
any has no recall to speak of, and counting it as 0 would keep a flawless recogniser below 1; what
is wrongly predicted as such a class still costs the true class its recall. A class that has
examples and is never predicted has precision 0 and F1 0. Where every class has examples this is
scikit-learn's `average='macro', zero_division=0`.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from har.errors import UserError

METRICS = ('top1', 'top5', 'f1', 'precision', 'recall', 'examples')


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What one classifier gave for every example of a split.

  Attributes:
    keys: N trial keys.
    labels: [N] true classes from 0.
    classes: [N] predicted classes from 0.
    probabilities: [N, C] class probabilities.
    class_names: C names in label order.
  """

  keys: tuple[str, ...]
  labels: np.ndarray
  classes: np.ndarray
  probabilities: np.ndarray
  class_names: tuple[str, ...]

  @classmethod
  def from_scores(cls, keys: Sequence[str], labels, scores, class_names: Sequence[str]):
    """From logits [N, C]; equal logits give the lower class. Raises as `compute` does."""
    scores, labels = check(scores, labels, len(class_names))
    check_keys(keys, labels)
    if len(set(class_names)) != len(class_names):
      raise ValueError(f'a class name occurs twice: {list(class_names)}')
    probabilities = np.exp(log_softmax(scores))
    return cls(tuple(keys), labels, scores.argmax(axis=1), probabilities, tuple(class_names))

  @property
  def correct(self) -> np.ndarray:
    return self.classes == self.labels

  def confusion(self) -> np.ndarray:
    """[true, predicted] counts."""
    return confusion(self.classes, self.labels, len(self.class_names))

  def metrics(self) -> dict[str, float | int]:
    """What `compute` returns. Probabilities rank as logits do, and are what the CSV holds."""
    return compute(self.probabilities, self.labels, len(self.class_names))

  def rows(self) -> Iterator[list]:
    """The table of `predictions/*.csv`, head first: a probability per class with 6 decimals."""
    yield ['key', 'label', 'prediction', *self.class_names]
    columns = (self.keys, self.labels, self.classes, self.probabilities)
    for key, label, predicted, probabilities in zip(*columns, strict=True):
      yield [key, int(label), int(predicted), *(f'{p:.6f}' for p in probabilities)]


def compute(scores, labels, num_classes: int) -> dict[str, float | int]:
  """Top-1, Top-5 and macro F1, precision and recall as fractions, and the number of examples.

  Args:
    scores: [N, C] finite scores (logits or probabilities), N >= 1.
    labels: [N] integers in [0, C).
    num_classes: C. With 5 classes or fewer, Top-5 is 1.

  Raises:
    UserError: there is no example, or a score is not finite.
    ValueError: shapes or labels that do not fit.
  """
  scores, labels = check(scores, labels, num_classes)
  rank = ranks(scores, labels)
  counts = confusion(scores, labels, num_classes)
  classes = per_class(counts)
  seen = classes['support'] > 0
  return {
    'top1': float(np.mean(rank < 1)),
    'top5': float(np.mean(rank < 5)),
    **{name: float(np.mean(classes[name][seen])) for name in ('f1', 'precision', 'recall')},
    'examples': int(labels.size),
  }


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """[N] place of the true label, from 0; among equal scores the lower class index comes first."""
  own = np.take_along_axis(scores, labels[:, None], axis=1)
  before = np.arange(scores.shape[1]) < labels[:, None]
  return np.sum((scores > own) | ((scores == own) & before), axis=1)


def confusion(predicted, labels, num_classes: int) -> np.ndarray:
  """[true, predicted] int64 counts from [N, C] scores or [N] predicted classes."""
  predicted = np.asarray(predicted)
  if predicted.ndim == 2:
    scores, labels = check(predicted, labels, num_classes)
    predicted = np.argmax(scores, axis=1)
  labels = _class_indices(labels, num_classes, 'labels')
  predicted = _class_indices(predicted, num_classes, 'predictions')
  if labels.shape != predicted.shape:
    raise ValueError(f'{labels.size} labels for {predicted.size} predictions')
  flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
  return flat.reshape(num_classes, num_classes)


def per_class(counts: np.ndarray) -> dict[str, np.ndarray]:
  """[C] precision, recall and F1 (0 where undefined) and support, of [true, predicted] counts."""
  hits = np.diagonal(counts).astype(np.float64)
  support, claimed = counts.sum(axis=1), counts.sum(axis=0)
  return {
    'precision': _ratio(hits, claimed),
    'recall': _ratio(hits, support),
    'f1': _ratio(2 * hits, support + claimed),
    'support': support,
  }


def wilson_interval(fraction: float, examples: int, z: float = 1.96) -> tuple[float, float]:
  """Wilson's score interval of a fraction seen on `examples` draws; z = 1.96 makes it 95 %."""
  shrink = 1 + z * z / examples
  centre = (fraction + z * z / (2 * examples)) / shrink
  spread = math.sqrt(fraction * (1 - fraction) / examples + (z / (2 * examples)) ** 2)
  half = z * spread / shrink
  return max(0.0, centre - half), min(1.0, centre + half)


def sign_test(fixed: int, broke: int) -> float:
  """Two-sided exact McNemar test: the chance of a split at least this uneven if both were equal."""
  total = fixed + broke
  tail = sum(math.comb(total, i) for i in range(min(fixed, broke) + 1))
  return min(1.0, 2 * tail / 2**total)


def log_softmax(scores) -> np.ndarray:
  """Log-probabilities in float64 over the last axis of finite logits."""
  scores = np.asarray(scores, np.float64)
  scores = scores - scores.max(axis=-1, keepdims=True)
  return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def check_keys(keys: Sequence[str], labels: np.ndarray) -> None:
  """Raises ValueError unless each example has a key of its own."""
  if len(keys) != len(labels) or len(set(keys)) != len(keys):
    raise ValueError(f'{len(labels)} examples need as many different keys')


def check(scores, labels, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
  """Scores as float64 [N, C] and labels as int64 [N], or the errors that `compute` lists."""
  scores = np.asarray(scores, np.float64)
  labels = _class_indices(labels, num_classes, 'labels')
  if scores.ndim != 2 or scores.shape[1] != num_classes or len(scores) != labels.size:
    raise ValueError(
      f'scores of shape {scores.shape} for {labels.size} labels of {num_classes} classes'
    )
  if not labels.size:
    raise UserError('no test examples to evaluate: check the protocol and its test subjects')
  bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
  if bad.size:
    raise UserError(
      f'the scores of {bad.size} of {labels.size} examples are not finite (the first at row '
      f'{bad[0]}): the parameters or the recordings hold NaN or infinity'
    )
  return scores, labels


def _class_indices(values, num_classes: int, what: str) -> np.ndarray:
  values = np.asarray(values)
  if values.ndim != 1 or (values.size and not np.issubdtype(values.dtype, np.integer)):
    raise ValueError(f'{what} must be a vector of integers, not {values.dtype} {values.shape}')
  if values.size and (values.min() < 0 or values.max() >= num_classes):
    raise ValueError(f'{what} must lie in 0..{num_classes - 1}: {values.min()}..{values.max()}')
  return values.astype(np.int64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
