"""A teacher's probabilities, softened by a temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.models.types import Outputs
from har.objectives.distil import Distil
from har.objectives.objective import Facts

FACTS = Facts(('a', 'b'), (), np.array([1, 1]))


class Teacher:
  """Its variables are its logits."""

  def apply(self, variables, inputs, mode):
    assert 'depth' in inputs  # which no student sees
    return Outputs(variables)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_loss_by_hand(temperature):
  objective = Distil(FACTS, 'stage:teacher', Teacher(), temperature)
  teacher, student = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])
  batch = {'label': jnp.array([0])}
  inputs, targets = objective.prepare({'depth': 0}, batch, jax.random.key(0), teacher)
  assert inputs == {'depth': 0}
  loss, metrics = objective.loss(Outputs(student), targets)
  p = 1 / (1 + np.exp(-2 / temperature))
  q = 1 / (1 + np.exp(1 / temperature))
  expected = -(temperature**2) * (p * np.log(q) + (1 - p) * np.log(1 - q))
  assert float(loss) == pytest.approx(expected, rel=1e-5)
  assert float(metrics['top1']) == 0


def test_a_student_like_its_teacher_has_nothing_to_learn():
  objective = Distil(FACTS, 'stage:teacher', Teacher(), 3.0)
  logits = jnp.array([[0.3, -1.2]])
  _, targets = objective.prepare({'depth': 0}, {'label': jnp.array([0])}, jax.random.key(0), logits)
  gradient = jax.grad(lambda x: objective.loss(Outputs(x), targets)[0])(logits)
  np.testing.assert_allclose(gradient, 0, atol=1e-6)
