"""What a detector's scores are worth as alarms: sensitivity and false alarms.

Every recording counts once, by its highest score: nothing is adjusted for events of which some
part was found (Kim et al., AAAI 2022, show how that flatters).
"""

import dataclasses
from typing import Any

import numpy as np

FALSE_ALARM_RATES = (0.01, 0.05, 0.1)
SENSITIVITY = 0.95
"""At which false alarms per hour are told, whatever the threshold."""


@dataclasses.dataclass(frozen=True)
class Moments:
  """Scores of the moments (windows) of recordings, in the order of time in each.

  Attributes:
    scores: float64 `[N]`: a threshold between two of float32 would be rounded to one of them.
    group: int `[N]`, whose each is: a number below that of recordings.
    hours: float `[M]`, duration of each recording; None if it is not known.
  """

  scores: np.ndarray
  group: np.ndarray
  hours: np.ndarray | None

  def of(self, recordings: np.ndarray) -> 'Moments':
    """Those of some recordings, bool `[M]`, alone."""
    own = recordings[self.group]
    group = (np.cumsum(recordings) - 1)[self.group[own]]
    hours = None if self.hours is None else self.hours[recordings]
    return Moments(self.scores[own], group, hours)

  def highest(self) -> np.ndarray:
    """`[M]`, of each recording."""
    found = np.full(self.group.max() + 1, -np.inf)
    np.maximum.at(found, self.group, self.scores)
    return found

  def alarms(self, threshold: float) -> np.ndarray:
    """int `[M]`: how many runs of moments above the threshold each recording has."""
    raised = self.scores > threshold
    before = np.zeros_like(raised)
    before[1:] = raised[:-1] & (self.group[1:] == self.group[:-1])
    return np.bincount(self.group[raised & ~before], minlength=self.group.max() + 1)


def ranking(scores: np.ndarray, abnormal: np.ndarray) -> dict[str, Any]:
  """AUROC, average precision, and sensitivity at most at each of `FALSE_ALARM_RATES`.

  Args:
    scores: `[M]`, the higher the more abnormal.
    abnormal: bool `[M]`; empty if there are not both kinds.
  """
  if not abnormal.any() or abnormal.all():
    return {}
  # Takes a second.
  from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

  false, found, _ = roc_curve(abnormal, scores)
  return {
    'auroc': float(roc_auc_score(abnormal, scores)),
    'average_precision': float(average_precision_score(abnormal, scores)),
    'sensitivity_at': {str(r): float(found[false <= r].max()) for r in FALSE_ALARM_RATES},
  }


def at(threshold: float, moments: Moments, abnormal: np.ndarray) -> dict[str, float | None]:
  """What a threshold gives: sensitivity, share of normal recordings with an alarm, and how many
  alarms there are in an hour of normal recordings. None where there is nothing to count."""
  alarms = moments.alarms(threshold)
  raised, normal = alarms > 0, ~abnormal
  hours = None if moments.hours is None else float(moments.hours[normal].sum())
  return {
    'threshold': threshold,
    'sensitivity': float(raised[abnormal].mean()) if abnormal.any() else None,
    'false_alarm_rate': float(raised[normal].mean()) if normal.any() else None,
    'false_alarms_per_hour': float(alarms[normal].sum() / hours) if hours else None,
  }


def at_sensitivity(
  moments: Moments, abnormal: np.ndarray, least: float = SENSITIVITY
) -> dict[str, float | None] | None:
  """`at` the highest threshold that finds this share of the abnormal recordings.

  It is chosen on the recordings themselves, for comparing detectors; no deployed one knows it.
  """
  if not abnormal.any():
    return None
  own = np.sort(moments.highest()[abnormal])[::-1]
  lowest = own[int(np.ceil(least * len(own) - 1e-9)) - 1]
  return at(float(np.nextafter(lowest, -np.inf)), moments, abnormal)


def by(
  values: np.ndarray,
  moments: Moments,
  abnormal: np.ndarray,
  threshold: float | None,
  *,
  against: np.ndarray | None = None,
) -> list[dict[str, Any]]:
  """A row for each value (a class, a person), in sorted order.

  Args:
    values: `[M]`, of each recording.
    moments: the scores.
    abnormal: bool `[M]`.
    threshold: of the scores; None if there is none.
    against: bool `[M]`, the normal recordings that each value's abnormal ones are ranked against;
      None for those of the value itself.

  Returns:
    Dicts with `name`; `normal` and `abnormal` recordings; the median `score`; `auroc`; `hours` of
    the normal ones; and, where there is a threshold, `sensitivity`, `false_alarms_per_hour`, and
    recordings with an alarm: `false` of the normal and `found` of the abnormal ones. None for what
    is not known or has nothing to be counted on.
  """
  from sklearn.metrics import roc_auc_score

  scores, rows = moments.highest(), []
  raised = None if threshold is None else moments.alarms(threshold)
  for value in np.unique(values):
    own = values == value
    normal, found = own & ~abnormal, own & abnormal
    beside = normal if against is None else against
    both = found.any() and beside.any()
    ranked = found | beside
    hours = None if moments.hours is None else float(moments.hours[normal].sum())
    row = {
      'name': value.item(),
      'normal': int(normal.sum()),
      'abnormal': int(found.sum()),
      'score': float(np.median(scores[own])),
      'auroc': float(roc_auc_score(found[ranked], scores[ranked])) if both else None,
      'hours': hours,
    }
    if raised is not None:
      row |= {
        'false': int((raised[normal] > 0).sum()),
        'found': int((raised[found] > 0).sum()),
        'sensitivity': float((raised[found] > 0).mean()) if found.any() else None,
        'false_alarms_per_hour': float(raised[normal].sum() / hours) if hours else None,
      }
    rows.append(row)
  return rows
