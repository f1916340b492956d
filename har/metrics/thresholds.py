"""Thresholds of a detector's score, from scores of normal recordings alone."""

import dataclasses
from typing import Annotated, Literal

import numpy as np

from har.errors import UserError
from har.ranges import Number, Positive

_LEAST = 10  # excesses that a tail is fitted to
_BODY = 0.8  # share of the scores that are no tail


@dataclasses.dataclass(frozen=True)
class Rule:
  """How a threshold is chosen; an alarm is a score above it.

  Attributes:
    fit: 'quantile', of the scores of normal recordings; 'extreme', that quantile of a generalised
      Pareto distribution of their upper fifth, which can lie beyond the highest of them; or 'rate',
      of false alarms.
    quantile: of normal recordings, the share without an alarm ('quantile' and 'extreme').
    per_hour: false alarms per hour of normal activity ('rate').
  """

  fit: Literal['quantile', 'extreme', 'rate'] = 'quantile'
  quantile: Annotated[float, Number(0, 1, above=True, below=True)] = 0.99
  per_hour: Positive = 1.0


def fit(rule: Rule, scores: np.ndarray, hours: float | None) -> float:
  """The threshold.

  Args:
    rule: see there.
    scores: `[N]` of normal recordings, N at least 1.
    hours: their duration together; None if it is not known.

  Raises:
    UserError: no scores; a rate without hours; too few scores for a tail.
  """
  if not len(scores):
    raise UserError('alarm: no normal recording of a person held out of training')
  if rule.fit == 'rate':
    return rate(scores, rule.per_hour, hours)
  return (extreme if rule.fit == 'extreme' else quantile)(scores, rule.quantile)


def quantile(scores: np.ndarray, share: float) -> float:
  """The score that a further one of the same kind is below with this chance.

  The order statistic (N + 1) `share`, between two of them by interpolation; the highest score where
  so many would be needed that there is none.
  """
  return float(np.quantile(scores, share, method='weibull'))


def rate(scores: np.ndarray, per_hour: float, hours: float | None) -> float:
  """The lowest score above which there are at most `per_hour` of these for each of `hours`."""
  if not hours:
    raise UserError("alarm.fit='rate': the dataset does not tell how long its recordings are")
  allowed = int(per_hour * hours + 1e-9)
  if allowed >= len(scores):
    return float(np.nextafter(scores.min(), -np.inf))
  return float(np.sort(scores)[::-1][allowed])


def extreme(scores: np.ndarray, share: float) -> float:
  """A quantile beyond what was seen (peaks over threshold; Siffer et al., KDD 2017, Section 3).

  A generalised Pareto distribution is fitted to what the upper fifth of the scores exceed the rest
  by, by maximum likelihood.

  Raises:
    UserError: fewer than 50 scores, or all alike.
  """
  start = float(np.quantile(scores, _BODY))
  excess = scores[scores > start] - start
  if len(excess) < _LEAST:
    raise UserError(
      f"alarm.fit='extreme': {len(scores)} normal recordings are too few, or too alike, for a tail "
      f'of {_LEAST}'
    )
  beyond = (1 - share) * len(scores) / len(excess)
  if beyond >= 1:  # In the body, of which the scores themselves tell.
    return quantile(scores, share)
  from scipy import stats  # Half a second, which reading a config should not take.

  shape, _, scale = stats.genpareto.fit(excess, floc=0)
  return start + float(stats.genpareto.isf(beyond, shape, scale=scale))
