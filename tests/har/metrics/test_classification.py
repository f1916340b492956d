"""Metrics against values worked out by hand, and against properties that hold for any scores."""

import math

import numpy as np
import pytest

from har.errors import UserError
from har.metrics import classification as metrics

# Classes 0, 1, 2 with 3, 2 and 1 examples; predicted 0 0 1 | 1 2 | 2.
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def one_hot(classes, num_classes):
  return np.eye(num_classes)[classes]


def test_values_worked_out_by_hand():
  result = metrics.compute(one_hot(PREDICTED, 3), LABELS, 3)
  # precision 2/2, 1/2, 1/2; recall 2/3, 1/2, 1/1; f1 4/5, 1/2, 2/3
  assert result == {
    'top1': pytest.approx(4 / 6),
    'top5': 1.0,
    'f1': pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3),
    'precision': pytest.approx((1 + 1 / 2 + 1 / 2) / 3),
    'recall': pytest.approx((2 / 3 + 1 / 2 + 1) / 3),
    'examples': 6,
  }
  assert tuple(result) == metrics.METRICS
  assert {type(value) for value in result.values()} == {float, int}


def test_confusion_has_true_rows_and_predicted_columns():
  expected = [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
  np.testing.assert_array_equal(metrics.confusion(PREDICTED, LABELS, 3), expected)
  np.testing.assert_array_equal(metrics.confusion(one_hot(PREDICTED, 3), LABELS, 3), expected)


def test_per_class_values():
  classes = metrics.per_class(metrics.confusion(PREDICTED, LABELS, 3))
  np.testing.assert_allclose(classes['f1'], [4 / 5, 1 / 2, 2 / 3])
  np.testing.assert_array_equal(classes['support'], [3, 2, 1])


def test_a_never_predicted_class_counts_zero():
  result = metrics.compute(one_hot([0, 0], 2), np.array([0, 1]), 2)
  assert result['precision'] == pytest.approx((1 / 2 + 0) / 2)
  assert result['recall'] == 0.5
  assert result['f1'] == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_without_examples_is_left_out_of_the_means():
  flawless = metrics.compute(one_hot([0, 1], 4), np.array([0, 1]), 4)
  assert (flawless['f1'], flawless['precision'], flawless['recall']) == (1.0, 1.0, 1.0)
  stray = metrics.compute(one_hot([0, 3], 4), np.array([0, 1]), 4)
  assert stray['recall'] == 0.5
  assert stray['precision'] == 0.5


def test_top5_takes_five_classes_and_no_more():
  scores = np.tile(np.arange(7.0)[::-1], (7, 1))
  assert metrics.compute(scores, np.arange(7), 7)['top5'] == pytest.approx(5 / 7)
  np.testing.assert_array_equal(metrics.ranks(scores, np.arange(7)), range(7))


def test_equal_scores_rank_by_class_index():
  labels = np.arange(8)
  result = metrics.compute(np.zeros((8, 8)), labels, 8)
  assert result['top1'] == 1 / 8  # argmax names class 0 throughout
  assert result['top5'] == 5 / 8  # classes 0 to 4, each once


def test_top1_agrees_with_argmax_and_with_the_confusion():
  rng = np.random.default_rng(0)
  scores = rng.integers(0, 3, (200, 9)).astype(np.float32)  # many ties
  labels = rng.integers(0, 9, 200)
  result = metrics.compute(scores, labels, 9)
  assert result['top1'] == np.mean(scores.argmax(axis=1) == labels)
  counts = metrics.confusion(scores, labels, 9)
  assert result['top1'] == np.trace(counts) / counts.sum()
  assert result['top1'] < result['top5'] < 1


def test_the_order_of_examples_and_classes_does_not_matter():
  rng = np.random.default_rng(1)
  scores, labels = rng.normal(size=(60, 6)), rng.integers(0, 6, 60)
  rows, classes = rng.permutation(60), rng.permutation(6)
  shuffled = metrics.compute(scores[rows][:, classes], np.argsort(classes)[labels[rows]], 6)
  assert shuffled == pytest.approx(metrics.compute(scores, labels, 6))


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_scores_that_are_not_finite_are_named(bad):
  scores = np.zeros((4, 3))
  scores[2, 1] = bad
  with pytest.raises(UserError, match=r'1 of 4 examples are not finite \(the first at row 2\)'):
    metrics.compute(scores, np.zeros(4, int), 3)


def test_no_examples_is_an_error():
  with pytest.raises(UserError, match='no test examples'):
    metrics.compute(np.zeros((0, 3)), np.zeros(0, int), 3)


@pytest.mark.parametrize(
  ('shape', 'labels', 'message'),
  [
    ((2, 4), [0, 1], 'for 2 labels of 3 classes'),
    ((3, 3), [0, 1], 'for 2 labels of 3 classes'),
    ((2, 3), [0, 3], r'must lie in 0\.\.2'),
    ((2, 3), [-1, 0], r'must lie in 0\.\.2'),
    ((2, 3), [0.0, 1.0], 'vector of integers'),
  ],
)
def test_what_does_not_fit_is_an_error(shape, labels, message):
  with pytest.raises(ValueError, match=message):
    metrics.compute(np.zeros(shape), np.array(labels), 3)


def test_confusion_of_unequal_lengths_is_an_error():
  with pytest.raises(ValueError, match='2 labels for 3 predictions'):
    metrics.confusion(np.array([0, 1, 1]), np.array([0, 1]), 2)


def test_wilson_interval():
  low, high = metrics.wilson_interval(0.5, 10)
  # (0.5 + 1.96**2 / 20 -+ 1.96 sqrt(0.025 + 0.0098...)) / (1 + 0.38416)
  assert (low, high) == (pytest.approx(0.23659, abs=1e-5), pytest.approx(0.76341, abs=1e-5))
  assert metrics.wilson_interval(1.0, 20)[1] == 1.0
  assert metrics.wilson_interval(0.0, 20)[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
  ('fixed', 'broke', 'p'), [(0, 0, 1.0), (5, 5, 1.0), (5, 0, 2 / 32), (1, 4, 12 / 32)]
)
def test_sign_test(fixed, broke, p):
  assert metrics.sign_test(fixed, broke) == pytest.approx(p)
  assert math.isclose(metrics.sign_test(broke, fixed), metrics.sign_test(fixed, broke))
