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


def test_a_model_has_no_say_on_classes_that_it_never_saw():
  whole, partly = np.log([[0.5, 0.2, 0.3]]), np.log([[0.8, 0.2, 1e-9]])
  unknown = {'imu': np.array([False, False, True]), 'depth': np.zeros(3, bool)}
  found = np.exp(baselines.product({'depth': whole, 'imu': partly}, None, unknown))
  # The third keeps its 0.3; 0.7 is shared out as 0.5 * 0.8 to 0.2 * 0.2.
  np.testing.assert_allclose(found, [[0.7 * 0.4 / 0.44, 0.7 * 0.04 / 0.44, 0.3]], rtol=1e-6)
  absent = {'imu': np.array([False])}
  found = baselines.product({'depth': whole, 'imu': partly}, absent, unknown)
  np.testing.assert_allclose(np.exp(found), np.exp(whole))


def test_where_no_model_saw_a_class_it_stays_unlikely():
  partly = np.array([[1.0, 0.0, -1e9]])
  unknown = {name: np.array([False, False, True]) for name in ('imu', 'depth')}
  found = baselines.product({'imu': partly, 'depth': partly}, None, unknown)
  assert found.argmax() == 0
  assert found[0, 2] < -1e8
