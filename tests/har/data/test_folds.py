"""People are spread over folds of about one size, or as a list says."""

import numpy as np
import pytest

from har.data.folds import assign_folds, listed_folds
from har.data.protocols import Index, SplitOptions, make_splits
from har.errors import UserError


def test_folds_are_balanced_by_examples():
  groups = np.repeat(list('abcdefg'), [50, 10, 30, 20, 20, 5, 25])
  fold = assign_folds(groups, 3)
  # Largest first, each to the fold with fewest: 50 + 5, 30 + 20 and 25 + 20 + 10.
  of = {str(g): set(fold[groups == g].tolist()) for g in 'abcdefg'}
  assert of == {'a': {1}, 'b': {3}, 'c': {2}, 'd': {3}, 'e': {2}, 'f': {1}, 'g': {3}}
  assert np.bincount(fold)[1:].tolist() == [55, 50, 55]
  shuffled = np.random.default_rng(0).permutation(160)
  np.testing.assert_array_equal(assign_folds(groups[shuffled], 3), fold[shuffled])


def test_listed_people_are_tested_in_their_fold():
  people = np.array([1, 2, 31, 2, 1, 7])
  assert listed_folds(people, ((31, 1), (2, 7))).tolist() == [1, 2, 1, 2, 1, 2]
  columns = {'key': np.arange(6).astype(str), 'label': np.zeros(6, np.int32), 'subject': people}
  options = SplitOptions('folds', fold=2, folds=2, fold_people=((31, 1), (2, 7)))
  splits = make_splits(Index(columns), {}, options)
  assert (splits.test.tolist(), splits.train.tolist()) == ([1, 3, 5], [0, 2, 4])


@pytest.mark.parametrize(
  ('folds', 'message'),
  [
    (((1,), (2,)), r'\[7\] must be both'),
    (((1, 7), (2, 9)), r'\[9\] must be both'),
    (((1, 7), (2, 7)), 'in two folds'),
  ],
)
def test_wrong_lists_of_people_are_refused(folds, message):
  with pytest.raises(UserError, match=message):
    listed_folds(np.array([1, 2, 7]), folds)


def test_as_many_lists_as_folds():
  with pytest.raises(UserError, match='fold_people: 2 folds; needs'):
    SplitOptions('folds', fold=1, fold_people=((1,), (2,))).check()
