"""What an autoencoder of changes cannot give back is the example's anomaly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.changes import ChangesAutoencoder
from har.models.types import Features
from tests import fakes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 4)).astype(np.float32)


def features(x, mask=None, present=None):
  return Features(x, x.mean(1), mask, present)


def head(given, *, silent=False):
  """The head with drawn variables, or with zeros, and what it gives."""
  module = ChangesAutoencoder(bottleneck=3, features=5)
  variables = fakes.draw_variables(module, given)
  variables = jax.tree.map(jnp.zeros_like, variables) if silent else variables
  apply = jax.jit(module.apply)
  return variables, lambda given: apply(variables, given).anomaly


def test_what_no_number_passes_is_the_energy_of_changes_over_the_variance():
  variables, _ = head({'rgb': features(X)}, silent=True)
  found = ChangesAutoencoder(bottleneck=3, features=5).apply(variables, {'rgb': features(X)})
  energy = np.square(np.diff(X, axis=1)).mean((1, 2))
  variance = X.var(axis=1).mean(1)
  np.testing.assert_allclose(found.anomaly, energy / (variance + 1e-3), rtol=1e-5)
  assert found.named().keys() == {'anomaly'}
  assert variables['params']['rgb_bottleneck']['kernel'].shape == (5, 3)


def test_what_is_shown_does_not_matter():
  _, anomaly = head({'rgb': features(X)})
  shift = RNG.normal(size=(3, 1, 4)).astype(np.float32)
  found = anomaly({'rgb': features(X)})
  np.testing.assert_allclose(anomaly({'rgb': features(X + shift)}), found, rtol=1e-4)


def test_it_is_not_how_far_features_move_but_in_what_order():
  _, anomaly = head({'rgb': features(X)}, silent=True)
  found = anomaly({'rgb': features(X)})
  # Up to the floor of the variance, which is far above that of the last.
  np.testing.assert_allclose(anomaly({'rgb': features(20 * X)}), found, rtol=5e-3)
  assert (np.asarray(anomaly({'rgb': features(1e-3 * X)})) < 0.01 * found).all()
  assert (np.asarray(anomaly({'rgb': features(np.sort(X, axis=1))})) < 0.5 * found).all()


def test_padding_and_absent_inputs_do_not_count():
  mask = np.arange(6) < np.array([[6], [4], [2]])
  present = np.array([True, True, False])
  given = {'imu': features(X, mask), 'rgb': features(X[:, :3], None, present)}
  _, anomaly = head(given)
  found = anomaly(given)
  other = np.where(mask[..., None], X, 7.0).astype(np.float32)
  elsewhere = np.where(present[:, None, None], X[:, :3], 9.0).astype(np.float32)
  again = {'imu': features(other, mask), 'rgb': features(elsewhere, None, present)}
  np.testing.assert_allclose(anomaly(again), found, rtol=1e-6)
  alone = {'imu': given['imu'], 'rgb': features(X[:, :3], None, np.zeros(3, bool))}
  np.testing.assert_allclose(anomaly(alone)[2], found[2], rtol=1e-6)
  assert abs(anomaly(alone)[0] - found[0]) > 1e-3


def test_nothing_is_learnt_below():
  module = ChangesAutoencoder(bottleneck=3, features=5)
  variables = fakes.draw_variables(module, {'rgb': features(X)})

  def loss(variables, x):
    return module.apply(variables, {'rgb': features(x)}).anomaly.mean()

  own, below = jax.jit(jax.grad(loss, (0, 1)))(variables, jnp.asarray(X))
  assert not below.any()
  assert all(leaf.any() for leaf in jax.tree.leaves(own))


def test_a_single_step_has_no_change():
  with pytest.raises(UserError, match='the encoder of rgb gives 1 step'):
    ChangesAutoencoder().init(jax.random.key(0), {'rgb': features(X[:, :1])})
