import dataclasses

import pytest

from data_builders.layout import Trial
from tests.data_builders.raw_trees import LAYOUT


def test_a_key_names_a_trial():
  assert Trial(12, 3, 4).key == 'a12_s3_t4'
  assert Trial.from_key('a12_s3_t4') == Trial(action=12, subject=3, trial=4)


@pytest.mark.parametrize(
  'key', ['a01_s1_t1', 'a1_s1', 'a1_s1_t1_color', 'A1_s1_t1', 'a1_s1_t-1', 'a1_s1_t1\n', 'a²_s1_t1']
)
def test_other_names_are_not_keys(key):
  assert Trial.from_key(key) is None


def test_the_expected_trials_are_in_order_and_lack_the_absent_ones():
  keys = [trial.key for trial in LAYOUT.expected()]
  assert keys == [
    'a1_s1_t1', 'a1_s1_t2', 'a1_s2_t1', 'a1_s2_t2', 'a2_s1_t1', 'a2_s1_t2', 'a2_s2_t1'
  ]  # fmt: skip


def test_splits_are_by_subject():
  assert LAYOUT.counts() == {'train': 4, 'test': 3}
  swapped = dataclasses.replace(LAYOUT, train_subjects=(2,))
  assert swapped.counts() == {'train': 3, 'test': 4}
  assert swapped.split(Trial(1, 1, 1)) == 'test'
