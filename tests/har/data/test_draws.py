"""Draws take every class by its share, and part no group."""

import numpy as np
import pytest

from har.data.draws import balance, draw_fraction, draw_parts
from har.data.protocols import class_counts


def test_smaller_fractions_are_part_of_larger_ones():
  labels = np.repeat(np.arange(5), [1, 3, 40, 100, 7])
  persons = np.random.default_rng(1).integers(0, 6, len(labels))
  before = np.zeros(len(labels), bool)
  for fraction in (0.001, 0.1, 0.25, 0.5, 0.9, 1.0):
    drawn = draw_fraction(labels, persons, fraction, seed=3)
    assert not (before & ~drawn).any()
    expected = [max(1, round(fraction * n)) for n in (1, 3, 40, 100, 7)]
    assert class_counts(labels[drawn], 5).tolist() == expected
    before = drawn
  assert before.all()


def groups_of_classes(classes=10, groups=20, most=7):
  """Each class has its own groups, of 1 to `most` examples."""
  rng = np.random.default_rng(0)
  labels, names = [], []
  for label in range(classes):
    for group in range(groups):
      size = rng.integers(1, most + 1)
      labels += [label] * size
      names += [f'{label}_{group}'] * size
  return np.array(labels, np.int32), np.array(names)


FRACTIONS = (0.7, 0.15, 0.15)


@pytest.mark.parametrize('draw', [0, 1])
def test_parts_have_their_share_of_every_class_and_part_no_group(draw):
  labels, groups = groups_of_classes()
  parts = draw_parts(labels, groups, FRACTIONS, draw)
  assert len(np.unique(groups)) == len({*zip(groups.tolist(), parts.tolist(), strict=True)})
  for label in range(10):
    own = labels == label
    # Of about 80 in groups of 1 to 7.
    wanted = np.array(FRACTIONS) * own.sum()
    np.testing.assert_allclose(class_counts(parts[own], 3), wanted, atol=1.5)


def test_single_examples_are_drawn_to_the_nearest_whole_number():
  labels = np.repeat(np.arange(3, dtype=np.int32), (100, 40, 20))
  parts = draw_parts(labels, np.arange(160), FRACTIONS, 0)
  found = [class_counts(parts[labels == label], 3).tolist() for label in range(3)]
  assert found == [[70, 15, 15], [28, 6, 6], [14, 3, 3]]


def test_groups_of_several_classes():
  rng = np.random.default_rng(0)
  groups, labels = rng.integers(0, 300, 3000), rng.integers(0, 5, 3000).astype(np.int32)
  parts = draw_parts(labels, groups, FRACTIONS, 0)
  assert all(len(set(parts[groups == group].tolist())) == 1 for group in range(300))
  for label in range(5):
    shares = class_counts(parts[labels == label], 3) / (labels == label).sum()
    np.testing.assert_allclose(shares, FRACTIONS, atol=0.01)


def test_a_part_of_nothing_stays_empty():
  labels, groups = groups_of_classes()
  parts = draw_parts(labels, groups, (0.8, 0.0, 0.2), 0)
  assert set(parts.tolist()) == {0, 2}


def test_order_does_not_matter_and_draws_differ():
  labels, groups = groups_of_classes()
  first = draw_parts(labels, groups, FRACTIONS, 1)
  order = np.random.default_rng(5).permutation(len(labels))
  np.testing.assert_array_equal(
    draw_parts(labels[order], groups[order], FRACTIONS, 1), first[order]
  )
  assert (draw_parts(labels, groups, FRACTIONS, 2) != first).any()


@pytest.mark.parametrize('counts', [(90, 10), (50, 3, 7), (1, 1, 1), (5,)])
def test_balanced_draws_have_every_class_and_each_of_its_examples_equally_often(counts):
  labels = np.repeat(np.arange(len(counts)) * 2, counts)
  for seed in range(5):
    drawn = balance(labels, np.random.default_rng(seed))
    assert len(drawn) == len(labels)
    of_class = np.bincount(labels[drawn])[::2]
    assert of_class.max() - of_class.min() <= 1
    times = np.bincount(drawn, minlength=len(labels))
    for label in set(labels.tolist()):
      own = times[labels == label]
      assert own.max() - own.min() <= 1
  # Neighbours are of different classes about as often as chance has it.
  if counts == (90, 10):
    assert 35 < (np.diff(labels[drawn]) != 0).sum() < 65
