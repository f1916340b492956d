"""Contrast between two augmentations, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from har.models import registry
from har.models.types import Outputs
from har.objectives.objective import Facts
from har.objectives.views import Views
from har.train import step
from har.train.optimizers import with_rate_scale
from tests import fakes

FACTS = Facts(('a', 'b'), (), np.array([1, 1]))
RNG = np.random.default_rng(0)
IMU, RGB = (RNG.standard_normal((6, 4)).astype(np.float32) for _ in range(2))


def by_hand(x, kept=range(6), temperature=0.5):
  """The mean over both views of three examples; row i + 3 is the other view of row i."""
  x = x / np.linalg.norm(x, axis=1, keepdims=True)
  losses = []
  for i in kept:
    others = [j for j in kept if j != i]
    similar = {j: np.exp(x[i] @ x[j] / temperature) for j in others}
    losses.append(-np.log(similar[(i + 3) % 6] / sum(similar.values())))
  return np.mean(losses)


def test_loss_is_the_sum_over_modalities():
  outputs = Outputs(embeddings={'imu': IMU, 'rgb': RGB})
  loss, metrics = jax.jit(Views(FACTS, 0.5).loss)(outputs, {})
  np.testing.assert_allclose(loss, by_hand(IMU) + by_hand(RGB), rtol=1e-5)
  assert 0 <= metrics['retrieval'] <= 1


def test_what_is_absent_has_no_part_in_it():
  present = jnp.array([True, False, True] * 2)
  inputs, targets = Views(FACTS).prepare(
    {'imu': IMU, 'imu_present': present}, {}, jax.random.key(0), None
  )
  assert inputs['imu'] is IMU
  garbage = np.where(np.asarray(present)[:, None], IMU, 1e3).astype(np.float32)

  def loss(x):
    return Views(FACTS, 0.5).loss(Outputs(embeddings={'imu': x}), targets)[0]

  value, grad = jax.value_and_grad(loss)(garbage)
  np.testing.assert_allclose(value, by_hand(IMU, (0, 2, 3, 5)), rtol=1e-5)
  assert not grad[jnp.array([1, 4])].any()


def test_two_views_alike_are_retrieved_and_validation_takes_an_example_for_both():
  objective = Views(FACTS, 0.5)
  found = objective.validate({'imu': IMU[:3], 'imu_present': np.ones(3, bool)}, np.zeros(3, int))
  assert found['retrieval'] == 1
  assert found['loss'] == pytest.approx(by_hand(np.concatenate([IMU[:3]] * 2)), rel=1e-5)


def test_a_step_augments_twice_each_by_its_own_key_and_the_first_as_ever():
  batch = {'imu': RNG.standard_normal((3, 8, 2)).astype(np.float32), 'label': np.zeros(3, int)}
  seen = []

  class Spy(Views):
    def prepare(self, inputs, batch, key, teacher):
      jax.debug.callback(lambda x: seen.append(np.asarray(x)), inputs['imu'])
      return super().prepare(inputs, batch, key, teacher)

  def augment(batch, key=None):
    return {'imu': batch['imu'] + jax.random.normal(key, batch['imu'].shape)}

  encoders = {'imu': {'kind': 'cnn1d', 'channels': (3,), 'kernels': (3,), 'dropout': 0.0}}
  model = registry.build(('imu',), encoders, {'kind': 'projections', 'hidden': 4, 'size': 2}, 2)
  variables = fakes.draw_variables(model, {'imu': batch['imu']})
  optimizer = with_rate_scale(optax.adam(1e-2))
  state = step.restart(variables, optimizer, trained=('*',), ema=0.0)
  options = {'trained': ('*',), 'ema': 0.0, 'seed': 3}
  made = step.make_train_step(model, augment, Spy(FACTS), optimizer, **options)
  moved, metrics = jax.jit(made.whole)(state, batch, 1.0)
  jax.effects_barrier()
  (inputs,) = seen
  key = jax.random.split(jax.random.fold_in(jax.random.key(3), 0))[0]
  np.testing.assert_allclose(inputs[:3], augment(batch, key)['imu'], rtol=1e-6)
  assert inputs.shape == (6, 8, 2)
  assert np.abs(inputs[:3] - inputs[3:]).min() > 1e-4
  changed = jax.tree.map(lambda x, y: bool(np.abs(x - y).max() > 0), state.params, moved.params)
  assert all(jax.tree.leaves(changed))
  assert np.isfinite(metrics['loss'])
