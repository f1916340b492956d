"""Paired tests are exact, and of one seed are McNemar's."""

import itertools

import numpy as np
import pytest
from scipy import stats

from har.errors import UserError
from har.evaluate import results
from har.metrics.classification import Predictions, sign_test
from har.study import grid, paired
from har.study.row import Pair, Row
from tests.har.study.leavings import leave

SPLITS = {'one': ()}


@pytest.mark.parametrize(('fixed', 'broke'), [(9, 2), (1, 0), (5, 5), (0, 12), (0, 0)])
def test_of_one_seed_the_test_is_mcnemar_s(fixed, broke):
  differences = np.array([1] * fixed + [-1] * broke + [0] * 7)
  p = paired.sign_flip(differences)
  assert p == pytest.approx(sign_test(fixed, broke))
  if fixed + broke:
    assert p == pytest.approx(stats.binomtest(fixed, fixed + broke).pvalue)


def test_several_seeds_of_an_example_change_sides_together():
  differences = np.array([3, 2, -1, 0, 2, 1, -2])
  signs = itertools.product((1, -1), repeat=7)
  sums = [abs(np.dot(sign, differences)) for sign in signs]
  assert paired.sign_flip(differences) == pytest.approx(np.mean(np.array(sums) >= 5))
  drawn = stats.permutation_test(
    (differences, np.zeros(7, int)),
    lambda x, y, axis: np.sum(x - y, axis=axis),
    permutation_type='samples',
    vectorized=True,
  )
  assert paired.sign_flip(differences) == pytest.approx(drawn.pvalue)


def predicted(folder, stage, right):
  """Predictions of two classes, right where it says so; keys are the places."""
  labels = np.zeros(len(right), int)
  scores = np.where(np.array(right, bool)[:, None], [1.0, 0.0], [0.0, 1.0])
  keys = tuple(map(str, range(len(right))))
  one = Predictions.from_scores(keys, labels, scores, ('a', 'b'))
  results.write_predictions(folder, stage, 'float32', one)


def plan(tmp_path, pairs, **others):
  rows = [Row('fused', 'c.py', SPLITS, pairs=pairs), *(Row(n, 'c.py', SPLITS) for n in others)]
  found = grid.plan(rows, 2, tmp_path, [])
  for runs in found.values():
    for run in runs:
      leave(run.folder, 'train', 0.5, 6, run.seed)
  return found


def test_a_pair_is_counted_over_the_seeds_and_the_best_other_is_taken(tmp_path):
  pair = Pair('single', '', (('weak', 'rgb'), ('strong', 'rgb'), ('gone', 'rgb')))
  runs = plan(tmp_path, (pair,), weak=0, strong=0)
  answers = {
    'fused': ([1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]),
    'weak': ([0] * 6, [0] * 6),
    'strong': ([1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0]),
  }
  for name, right in answers.items():
    for run in runs[name]:
      predicted(run.folder, 'rgb', right[run.seed])
  (found,) = paired.run(runs)
  assert (found.row, found.stage, found.kind) == ('fused', 'rgb', 'single')
  assert (found.other_row, found.other_stage) == ('strong', 'rgb')
  assert (found.examples, found.fixed, found.broke) == (6, 4, 1)
  assert found.difference == pytest.approx(3 / 12)
  # By example 0, 1, 2, 1, -1, 0: a sum of 3 of 5.
  assert found.p == pytest.approx(paired.sign_flip(np.array([1, 2, 1, -1])))


def test_what_is_not_finished_is_not_tested_and_other_examples_are_an_error(tmp_path):
  pair = Pair('row', '', (('other', ''),))
  runs = plan(tmp_path, (pair,), other=0)
  for run in runs['fused'] + runs['other']:
    predicted(run.folder, 'rgb', [1] * (6 if run.row.name == 'fused' else 5))
  assert paired.run({'fused': runs['fused']}) == []
  with pytest.raises(UserError, match='fused and other were tested on different examples'):
    paired.run(runs)
