"""The head's own anomaly is what is trained, and the score."""

import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.familiar import Familiar
from har.objectives.objective import Facts

FACTS = Facts(('walk', 'fall'), ('fall',), np.array([3, 1]))


def test_the_anomaly_is_loss_and_score():
  one, outputs = Familiar(FACTS, normal_only=True), Outputs(anomaly=jnp.array([1.0, 4.0]))
  loss, metrics = one.loss(outputs, {})
  assert loss == metrics['error'] == 2.5
  scores = {name: np.asarray(x) for name, x in one.scores(outputs, {}).items()}
  np.testing.assert_array_equal(one.anomaly(scores), [1, 4])
  assert one.validate(scores, np.array([0, 1])) == {'loss': 1.0, 'error': 1.0}
  assert one.evaluate(scores, ('a', 'b'), np.array([0, 1])).metrics()['auroc'] == 1


def test_a_head_may_want_something_else_lowered():
  outputs = Outputs(anomaly=jnp.array([1.0, 4.0]), trained=jnp.array([0.5, 1.0]))
  loss, metrics = Familiar(FACTS).loss(outputs, {})
  assert (loss, metrics['error']) == (0.75, 2.5)
  np.testing.assert_array_equal(Familiar(FACTS).scores(outputs, {})['error'], [1, 4])


def test_another_head_is_refused():
  with pytest.raises(UserError, match=r'needs a head such as head\.kind=changes'):
    Familiar(FACTS).loss(Outputs(jnp.zeros((1, 2))), {})
