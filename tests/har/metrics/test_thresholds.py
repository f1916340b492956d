"""Thresholds flag the share of further normal data that they are asked for."""

import numpy as np
import pytest
from scipy import stats

from har.errors import UserError
from har.metrics import thresholds
from har.metrics.thresholds import Rule


def test_a_quantile_is_an_order_statistic():
  scores = np.arange(1.0, 100.0)[::-1]
  assert thresholds.fit(Rule(quantile=0.9), scores, None) == pytest.approx(90)
  assert thresholds.fit(Rule(quantile=0.5), scores, None) == pytest.approx(50)
  # Of 99 scores none stands for one in a thousand.
  assert thresholds.fit(Rule(quantile=0.999), scores, None) == 99.0


@pytest.mark.parametrize('fit', ['quantile', 'extreme'])
@pytest.mark.parametrize('share', [0.9, 0.95])
def test_the_stated_share_of_other_normal_data_is_flagged(fit, share):
  rng, flagged = np.random.default_rng(0), []
  for _ in range(200):
    held, other = rng.exponential(size=(2, 100))
    flagged.append(np.mean(other > thresholds.fit(Rule(fit, share), held, None)))
  # Neither none nor, as a threshold at the least score would, all.
  assert np.mean(flagged) == pytest.approx(1 - share, abs=0.01)


def test_a_tail_reaches_beyond_what_was_seen():
  scores = stats.genpareto.rvs(0.1, size=2000, random_state=0)
  found = thresholds.fit(Rule('extreme', 0.9999), scores, None)
  expected = stats.genpareto.isf(0.0001, 0.1)
  assert scores.max() < found
  assert found == pytest.approx(expected, rel=0.35)


def test_a_rate_of_false_alarms():
  scores = np.array([5.0, 1, 4, 2, 3])
  for per_hour, expected in ((0.1, 5), (0.5, 4), (1.0, 3), (2.0, 1)):
    assert thresholds.fit(Rule('rate', per_hour=per_hour), scores, 2.0) == expected
    assert (scores > expected).sum() == int(per_hour * 2)
  assert (scores > thresholds.fit(Rule('rate', per_hour=9.0), scores, 2.0)).all()


def test_what_cannot_be_fitted_is_refused():
  with pytest.raises(UserError, match='no normal recording'):
    thresholds.fit(Rule(), np.zeros(0), None)
  with pytest.raises(UserError, match='does not tell how long'):
    thresholds.fit(Rule('rate'), np.zeros(3), None)
  with pytest.raises(UserError, match='30 normal recordings are too few'):
    thresholds.fit(Rule('extreme'), np.arange(30.0), None)
