import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from har.train import optimizers


def _config(**changes):
  config = base.stage(['imu'], learning_rate=0.1, optimizer=changes).optimizer
  return config


def test_cosine_rises_to_the_peak_and_falls_to_the_final_fraction():
  schedule = optimizers.make_schedule(_config(warmup=0.1, final=0.01), 100)
  assert float(schedule(0)) == pytest.approx(0.1 / 25)
  assert float(schedule(10)) == pytest.approx(0.1)
  assert float(schedule(55)) == pytest.approx(0.1 * (0.5 * 0.99 + 0.01))
  assert float(schedule(100)) == pytest.approx(0.001)


def test_constant_and_plateau_stay():
  for name in ('constant', 'plateau'):
    schedule = optimizers.make_schedule(_config(schedule=name), 100)
    assert [float(schedule(i)) for i in (0, 50, 99)] == pytest.approx([0.1] * 3)


def test_adam_decays_as_a_penalty_and_adamw_apart():
  params = {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full((2,), 3.0)}
  grads = jax.tree.map(jnp.zeros_like, params)
  moves = {}
  for name in ('adam', 'adamw'):
    config = _config(name=name, schedule='constant', weight_decay=0.01)
    optimizer = optimizers.make_optimizer(config, 10)
    moves[name], _ = optimizer.update(grads, optimizer.init(params), params, rate_scale=1.0)
  # Adam normalises the penalty's gradient to a full step; AdamW moves by rate * decay * value.
  np.testing.assert_allclose(moves['adam']['kernel'], -0.1, rtol=1e-4)
  np.testing.assert_allclose(moves['adamw']['kernel'], -0.1 * 0.01 * 3, rtol=1e-5)
  for move in moves.values():
    np.testing.assert_array_equal(move['bias'], 0)


def test_multipliers_scale_what_they_match():
  params = {'imu': {'kernel': jnp.ones((2, 2))}, 'head': {'kernel': jnp.ones((2, 2))}}
  config = _config(name='sgd', schedule='constant', multipliers=(('imu', 0.1),))
  optimizer = optimizers.make_optimizer(config, 10)
  moves, _ = optimizer.update(
    jax.tree.map(jnp.ones_like, params), optimizer.init(params), params, rate_scale=1.0
  )
  np.testing.assert_allclose(moves['head']['kernel'], -0.1, rtol=1e-6)
  np.testing.assert_allclose(moves['imu']['kernel'], -0.01, rtol=1e-6)


def test_clipping_bounds_the_global_norm():
  params = {'a': jnp.ones(4), 'b': jnp.ones(4)}
  config = _config(name='sgd', schedule='constant', clip_norm=0.5)
  optimizer = optimizers.make_optimizer(config, 10)
  grads = jax.tree.map(lambda x: 100 * x, params)
  moves, _ = optimizer.update(grads, optimizer.init(params), params, rate_scale=1.0)
  assert float(optax.tree.norm(moves)) == pytest.approx(0.1 * 0.5, rel=1e-5)
