"""Distance- and angle-wise losses against loops in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.models.types import Features, Outputs
from har.objectives.dask import Dask
from har.objectives.objective import Facts

FACTS = Facts(('a', 'b'), (), np.array([1, 1]))
RNG = np.random.default_rng(0)
STUDENT, DEPTH, RGB = (RNG.standard_normal((5, n)).astype(np.float32) for n in (4, 3, 2))
LOGITS, TEACHERS = (RNG.standard_normal((5, 2)).astype(np.float32) for _ in range(2))
LABELS = np.array([0, 1, 1, 0, 1])


class Teacher:
  """Its variables are its features and logits."""

  def apply(self, variables, inputs, mode):
    features = {
      name: Features(x[:, None], x, None, inputs.get(f'{name}_present'))
      for name, x in variables['features'].items()
    }
    return Outputs(variables['logits'], features=features)


VARIABLES = {'features': {'rgb': RGB, 'depth': DEPTH}, 'logits': TEACHERS}
SEMANTIC = np.concatenate([DEPTH, RGB], 1)


def huber(x):
  return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


def distance_by_hand(student, teacher):
  pairs = list(itertools.permutations(range(len(student)), 2))
  found = []
  for x in (student, teacher):
    lengths = np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs])
    found.append(lengths / lengths.mean())
  return huber(found[0] - found[1]).mean()


def angle_by_hand(student, teacher):
  def cosine(x, i, j, k):
    a, b = x[j] - x[i], x[k] - x[i]
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

  triples = list(itertools.permutations(range(len(student)), 3))
  return np.mean([huber(cosine(student, *t) - cosine(teacher, *t)) for t in triples])


def loss_of(objective, student=STUDENT, inputs=None):
  batch, key = {'label': jnp.array(LABELS)}, jax.random.key(0)
  _, targets = objective.prepare(inputs or {}, batch, key, VARIABLES)
  features = {'imu': Features(student[:, None], student)}
  return objective.loss(Outputs(LOGITS, features=features), targets)


def log_softmax(x):
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_loss_by_hand():
  options = {'distance': 2.0, 'angle': 3.0, 'soft': 0.5, 'temperature': 4.0}
  loss, metrics = loss_of(Dask(FACTS, 'stage:fusion', Teacher(), **options))
  hard = -log_softmax(LOGITS)[np.arange(5), LABELS].mean()
  soft = -(np.exp(log_softmax(TEACHERS / 4)) * log_softmax(LOGITS / 4)).sum(1).mean()
  distance, angle = distance_by_hand(STUDENT, SEMANTIC), angle_by_hand(STUDENT, SEMANTIC)
  np.testing.assert_allclose(metrics['distance'], distance, rtol=1e-5)
  np.testing.assert_allclose(metrics['angle'], angle, rtol=1e-5)
  np.testing.assert_allclose(loss, hard + 0.5 * 16 * soft + 2 * distance + 3 * angle, rtol=1e-5)


def test_features_alike_up_to_size_and_place_have_nothing_to_learn():
  _, metrics = loss_of(Dask(FACTS, 'stage:fusion', Teacher()), 3 * SEMANTIC + 1)
  np.testing.assert_allclose([metrics['distance'], metrics['angle']], 0, atol=1e-6)


def test_relations_to_what_is_absent_are_left_out():
  present = np.array([True, True, False, True, True])
  _, metrics = loss_of(Dask(FACTS, 'stage:f', Teacher()), inputs={'rgb_present': present})
  kept = STUDENT[present], SEMANTIC[present]
  np.testing.assert_allclose(metrics['distance'], distance_by_hand(*kept), rtol=1e-5)
  np.testing.assert_allclose(metrics['angle'], angle_by_hand(*kept), rtol=1e-5)


@pytest.mark.parametrize('same', [False, True])
def test_gradients_are_finite_and_reach_the_student(same):
  student = STUDENT.copy()
  if same:
    student[1] = student[0]
  objective = Dask(FACTS, 'stage:fusion', Teacher())
  grad = jax.jit(jax.grad(lambda x: loss_of(objective, x)[0]))(student)
  assert np.isfinite(grad).all()
  assert np.abs(grad).max(1).min() > 0
