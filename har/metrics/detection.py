"""How well a score tells abnormal examples from normal ones, without a threshold."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from har.errors import UserError
from har.metrics.classification import check_keys


@dataclasses.dataclass(frozen=True)
class Detections:
  """What one detector gave for every example of a split.

  Attributes:
    keys: N trial keys.
    labels: [N] true classes from 0.
    scores: [N] finite, the higher the more abnormal.
    class_names: C names in label order.
    abnormal: names of the classes that stand for abnormal activities; may be empty.
  """

  keys: tuple[str, ...]
  labels: np.ndarray
  scores: np.ndarray
  class_names: tuple[str, ...]
  abnormal: tuple[str, ...]

  def __post_init__(self) -> None:
    check_keys(self.keys, self.labels)
    if not len(self.labels):
      raise UserError('no examples to evaluate: check the protocol and its test subjects')
    if not np.isfinite(self.scores).all():
      raise UserError(
        f'the scores of {(~np.isfinite(self.scores)).sum()} of {len(self.scores)} examples are not '
        'finite: the parameters or the recordings hold NaN or infinity'
      )

  @property
  def is_abnormal(self) -> np.ndarray:
    """bool [N]."""
    return np.isin(self.class_names, self.abnormal)[self.labels]

  def metrics(self) -> dict[str, float | int]:
    """`error`, the mean score, and the number of `examples`.

    Where there are abnormal and normal examples, `auroc` and `average_precision` besides: fractions
    that say how well the score ranks abnormal above normal.
    """
    true = self.is_abnormal
    values: dict[str, float | int] = {}
    if true.any() and not true.all():
      from sklearn.metrics import average_precision_score, roc_auc_score  # Takes a second.

      values['auroc'] = float(roc_auc_score(true, self.scores))
      values['average_precision'] = float(average_precision_score(true, self.scores))
    return values | {'error': float(self.scores.mean()), 'examples': len(self.scores)}

  def rows(self) -> Iterator[Sequence]:
    """The table of `predictions/*.csv`, head first."""
    yield ['key', 'label', 'abnormal', 'score']
    for key, label, flag, score in zip(
      self.keys, self.labels, self.is_abnormal, self.scores, strict=True
    ):
      yield [key, int(label), int(flag), f'{score:.6g}']
