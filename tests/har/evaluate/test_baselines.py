"""The untrained fusion."""

import numpy as np
import pytest

from har.evaluate import baselines


def test_log_softmax_by_hand_and_for_large_logits():
  np.testing.assert_allclose(np.exp(baselines.log_softmax(np.log([[1.0, 3.0]]))), [[0.25, 0.75]])
  np.testing.assert_allclose(baselines.log_softmax([[1000.0, 0.0]]), [[0.0, -1000.0]])


def test_product_multiplies_probabilities():
  imu, depth = np.log([[0.6, 0.3, 0.1]]), np.log([[0.1, 0.5, 0.4]])
  product = baselines.product({'imu': imu + 7, 'depth': depth - 2})  # logits have no fixed origin
  np.testing.assert_allclose(np.exp(product), [[0.06, 0.15, 0.04]])
  assert product.argmax() == 1


def test_product_of_one_model_ranks_as_the_model():
  scores = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
  product = baselines.product({'imu': scores})
  np.testing.assert_array_equal(np.argsort(product, axis=1), np.argsort(scores, axis=1))


def test_product_leaves_out_what_is_absent():
  imu, depth = np.log([[0.6, 0.3, 0.1]] * 3), np.log([[0.1, 0.5, 0.4]] * 3)
  present = {'imu': np.array([True, False, False]), 'depth': np.array([True, True, False])}
  product = baselines.product({'imu': imu, 'depth': depth}, present)
  expected = [[0.06, 0.15, 0.04], [0.1, 0.5, 0.4], [1, 1, 1]]
  np.testing.assert_allclose(np.exp(product), expected)


@pytest.mark.parametrize('scores', [{}, {'imu': np.zeros((2, 3)), 'rgb': np.zeros((3, 3))}])
def test_product_of_nothing_or_of_other_examples_is_an_error(scores):
  with pytest.raises(ValueError, match='scores of one shape'):
    baselines.product(scores)
