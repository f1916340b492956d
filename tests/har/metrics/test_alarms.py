"""Sensitivity and false alarms of recordings, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from har.metrics import alarms
from har.metrics.alarms import Moments


def moments():
  """Two normal recordings of 0.5 and 1.5 hours, and two abnormal ones."""
  scores = np.array([0.1, 0.9, 0.2, 0.8, 0.9, 0.3, 0.3, 0.95, 0.7])
  group = np.array([0, 0, 1, 1, 1, 1, 2, 2, 3])
  return Moments(scores, group, np.array([0.5, 1.5, 1.0, 1.0]))


ABNORMAL = np.array([False, False, True, True])


def test_a_recording_has_its_highest_score():
  assert moments().highest().tolist() == [0.9, 0.9, 0.95, 0.7]


def test_successive_moments_are_one_alarm_and_recordings_are_kept_apart():
  assert moments().alarms(0.75).tolist() == [1, 1, 1, 0]
  assert moments().alarms(0.15).tolist() == [1, 1, 1, 1]
  # Above 0.25: of the second recording the last three moments, of the third both.
  again = Moments(np.array([1.0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1]), None)
  assert again.alarms(0.5).tolist() == [2, 1]


def test_a_score_at_the_threshold_is_no_alarm():
  scores = np.array([2.0, 3.0, 2.0, 3.0, 2.0])
  assert Moments(scores, np.array([0, 0, 0, 0, 1]), None).alarms(2.0).tolist() == [2, 0]


def test_at_a_threshold_by_hand():
  assert alarms.at(0.75, moments(), ABNORMAL) == {
    'threshold': 0.75,
    'sensitivity': 0.5,
    'false_alarm_rate': 1.0,
    'false_alarms_per_hour': 1.0,
  }
  assert alarms.at(0.95, moments(), ABNORMAL)['sensitivity'] == 0
  nothing = alarms.at(0.5, Moments(np.ones(2), np.arange(2), None), np.ones(2, bool))
  assert nothing['false_alarm_rate'] is nothing['false_alarms_per_hour'] is None


def test_ranking_is_that_of_scikit_learn():
  rng = np.random.default_rng(0)
  abnormal = rng.random(300) < 0.3
  scores = rng.normal(size=300) + abnormal
  found = alarms.ranking(scores, abnormal)
  assert found['auroc'] == roc_auc_score(abnormal, scores)
  assert found['average_precision'] == average_precision_score(abnormal, scores)
  for rate, sensitivity in found['sensitivity_at'].items():
    allowed = int(float(rate) * (~abnormal).sum())
    level = np.sort(scores[~abnormal])[::-1][allowed]
    assert sensitivity == pytest.approx((scores[abnormal] > level).mean())
  assert alarms.ranking(scores, np.zeros(300, bool)) == {}


def test_at_a_sensitivity_no_more_is_missed_and_no_other_threshold_has_fewer_alarms():
  rng = np.random.default_rng(1)
  abnormal = np.arange(100) < 40
  scores = rng.normal(size=100) + abnormal
  found = alarms.at_sensitivity(Moments(scores, np.arange(100), np.ones(100)), abnormal)
  assert found['sensitivity'] == 0.95
  assert found['false_alarms_per_hour'] == found['false_alarm_rate']
  higher = np.sort(scores[abnormal])[2]
  assert found['threshold'] < higher
  assert (scores[abnormal] > higher).mean() < 0.95


def test_moments_of_some_recordings():
  few = moments().of(np.array([False, True, False, True]))
  assert few.scores.tolist() == [0.2, 0.8, 0.9, 0.3, 0.7]
  assert (few.group.tolist(), few.hours.tolist()) == ([0, 0, 0, 0, 1], [1.5, 1.0])
  assert Moments(np.ones(2), np.arange(2), None).of(np.array([False, True])).hours is None


def test_rows_by_person():
  rows = alarms.by(np.array(['b', 'a', 'a', 'a']), moments(), ABNORMAL, 0.8)
  assert rows == [
    {
      **{'name': 'a', 'normal': 1, 'abnormal': 2, 'score': 0.9, 'auroc': 0.5, 'hours': 1.5},
      **{'false': 1, 'found': 1, 'sensitivity': 0.5, 'false_alarms_per_hour': 1 / 1.5},
    },
    {
      **{'name': 'b', 'normal': 1, 'abnormal': 0, 'score': 0.9, 'auroc': None, 'hours': 0.5},
      **{'false': 1, 'found': 0, 'sensitivity': None, 'false_alarms_per_hour': 2.0},
    },
  ]


def test_a_person_is_ranked_against_their_own_normal_recordings():
  three = Moments(np.array([0.5, 0.8, 0.9]), np.arange(3), None)
  abnormal, who = np.array([False, True, False]), np.array(['a', 'a', 'b'])
  assert [row['auroc'] for row in alarms.by(who, three, abnormal, None)] == [1.0, None]
  every = alarms.by(who, three, abnormal, None, against=~abnormal)
  assert [row['auroc'] for row in every] == [0.5, None]


def test_rows_by_class_rank_against_all_normal_recordings():
  names = np.array(['walk', 'sit', 'fall', 'nod'])
  rows = {r['name']: r for r in alarms.by(names, moments(), ABNORMAL, 0.15, against=~ABNORMAL)}
  assert {name: row['auroc'] for name, row in rows.items()} == {
    **{'fall': 1.0, 'nod': 0.0, 'sit': None, 'walk': None}
  }
  assert [rows[n]['sensitivity'] for n in ('fall', 'nod', 'sit')] == [1.0, 1.0, None]
  assert rows['walk']['false_alarms_per_hour'] == 2.0
  assert (rows['fall']['hours'], rows['fall']['false_alarms_per_hour']) == (0.0, None)
  # Of a recording with two runs above the threshold both count in the hour.
  twice = Moments(np.array([1.0, 0.0, 1.0]), np.zeros(3, int), np.array([0.5]))
  (row,) = alarms.by(np.array(['walk']), twice, np.array([False]), 0.5)
  assert (row['false'], row['false_alarms_per_hour']) == (1, 4.0)


def test_without_a_threshold_or_hours_nothing_is_said_of_alarms():
  unknown = Moments(moments().scores, moments().group, None)
  (row,) = alarms.by(np.zeros(4, int), unknown, ABNORMAL, None)
  assert row == {
    **{'name': 0, 'normal': 2, 'abnormal': 2, 'score': 0.9, 'auroc': 0.5, 'hours': None}
  }
  assert alarms.by(np.zeros(4, int), unknown, ABNORMAL, 0.8)[0]['false_alarms_per_hour'] is None
