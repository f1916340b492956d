"""Scores that tell abnormal from normal, against figures by hand."""

import numpy as np
import pytest

from har.errors import UserError
from har.metrics.detection import Detections

NAMES = ('walk', 'fall', 'run')


def detections(scores, labels=(0, 1, 2, 1), abnormal=('fall',)):
  keys = tuple(f'k{i}' for i in range(len(labels)))
  return Detections(keys, np.array(labels), np.array(scores, np.float64), NAMES, abnormal)


def test_ranks_by_hand():
  # Of the four pairs of a fall and another, the fall of 0.3 loses to the run of 0.4.
  found = detections([0.1, 0.3, 0.4, 0.9]).metrics()
  assert found == {
    'auroc': 0.75,
    # Precision 1 at the first fall, 2/3 at the second.
    'average_precision': pytest.approx((1 + 2 / 3) / 2),
    'error': pytest.approx(0.425),
    'examples': 4,
  }


@pytest.mark.parametrize('abnormal', [(), NAMES])
def test_nothing_is_ranked_where_one_side_is_missing(abnormal):
  assert detections([1, 2, 3, 4], abnormal=abnormal).metrics() == {'error': 2.5, 'examples': 4}


def test_rows():
  assert list(detections([0.5, 1 / 3, 2, 0]).rows()) == [
    ['key', 'label', 'abnormal', 'score'],
    ['k0', 0, 0, '0.5'],
    ['k1', 1, 1, '0.333333'],
    ['k2', 2, 0, '2'],
    ['k3', 1, 1, '0'],
  ]


def test_what_cannot_be_ranked_is_refused():
  with pytest.raises(UserError, match='scores of 1 of 4 examples are not finite'):
    detections([1, np.nan, 3, 4])
  with pytest.raises(UserError, match='no examples to evaluate'):
    detections([], ())
  with pytest.raises(ValueError, match='as many different keys'):
    Detections(('a', 'a'), np.array([0, 1]), np.zeros(2), NAMES, ())
