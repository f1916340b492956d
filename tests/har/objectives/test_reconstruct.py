"""Squared errors of what is recorded, and what a detector is trained on and judged by."""

import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.objective import Facts
from har.objectives.reconstruct import Reconstruct, errors

FACTS = Facts(('walk', 'fall'), ('fall',), np.array([3, 1]))


def test_errors_by_hand():
  x = jnp.zeros((2, 3, 2))
  given = x.at[0, 0].set([1.0, 3.0]).at[1, 2].set(9.0)
  mask = jnp.array([[True, True, False], [True, True, False]])
  outputs = Outputs(reconstruction={'imu': given})
  np.testing.assert_allclose(errors(outputs, {'imu': x}), [5 / 3, 81 / 3], rtol=1e-6)
  # Padding does not count.
  np.testing.assert_allclose(errors(outputs, {'imu': x, 'imu_mask': mask}), [5 / 2, 0], rtol=1e-6)
  two = Outputs(reconstruction={'imu': given, 'watch': x})
  np.testing.assert_allclose(errors(two, {'imu': x, 'watch': x}), [5 / 6, 81 / 6], rtol=1e-6)


def test_a_head_without_reconstructions_is_refused():
  with pytest.raises(UserError, match=r'needs a head such as head\.kind=decoder'):
    errors(Outputs(jnp.zeros((1, 2))), {})


def test_normal_examples_alone():
  labels, scores = np.array([0, 1, 0]), {'error': np.array([1.0, 7.0, 2.0])}
  every, normal = Reconstruct(FACTS), Reconstruct(FACTS, normal_only=True)
  assert every.trains_on(labels).tolist() == [True, True, True]
  assert normal.trains_on(labels).tolist() == [True, False, True]
  assert every.validate(scores, labels)['error'] == pytest.approx(10 / 3)
  assert normal.validate(scores, labels)['error'] == pytest.approx(1.5)
  with pytest.raises(UserError, match='every validation example is of an abnormal class'):
    normal.validate({'error': np.array([7.0])}, np.array([1]))
  nothing = Reconstruct(Facts(('a', 'b'), (), FACTS.counts), normal_only=True)
  with pytest.raises(UserError, match='names no abnormal class'):
    nothing.trains_on(labels)


def test_less_is_better():
  selection = Reconstruct.selection
  assert selection.better(0.1) > selection.better(0.2)


def test_evaluation_ranks_what_is_abnormal():
  found = Reconstruct(FACTS).evaluate(
    {'error': np.array([0.1, 0.9, 0.2])}, ('a', 'b', 'c'), np.array([0, 1, 0])
  )
  assert found.metrics()['auroc'] == 1
