"""Encoders by temporal layers: pooling, padding, streams."""

import jax
import numpy as np
import pytest

from har.models import registry, sequence
from har.models.mode import INFERENCE, UNROLLED, Mode

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 20, 6)).astype(np.float32)
MASK = np.arange(20) < np.array([20, 9, 4])[:, None]
SMALL_CNN = {'channels': (8, 8), 'kernels': (5, 3), 'features': 8}
ENCODERS = {
  'lstm': sequence.LSTM(features=8),
  'bilstm': sequence.LSTM(features=8, bidirectional=True),
  'gru': sequence.GRU(features=8, pooling='mean'),
  'tcn': sequence.TCN(features=(8, 8), kernel=3),
  'cnn_gru': sequence.CnnGRU(**SMALL_CNN),
}


@pytest.mark.parametrize('name', ENCODERS)
def test_more_padding_changes_nothing(name):
  model = ENCODERS[name]
  variables = jax.jit(model.init)(jax.random.key(0), X)
  x = X * MASK[..., None]
  longer = np.pad(x, ((0, 0), (0, 8), (0, 0)))
  mask = np.pad(MASK, ((0, 0), (0, 8)))
  short, long = model.apply(variables, x, MASK), model.apply(variables, longer, mask)
  np.testing.assert_allclose(short.pooled, long.pooled, atol=1e-5)
  unrolled = model.apply(variables, longer, mask, UNROLLED)
  np.testing.assert_allclose(unrolled.pooled, long.pooled, atol=1e-5)
  assert not long.sequence[~np.asarray(long.mask)].any()


@pytest.mark.parametrize('pooling', ['last', 'mean', 'max', 'mean_max'])
def test_a_stream_gives_the_features_of_what_has_come(pooling):
  model = sequence.LSTM(features=4, pooling=pooling)
  variables = jax.jit(model.init)(jax.random.key(0), X)
  carry = model.apply(variables, 3, method='initial_carry')
  step = jax.jit(lambda carry, x: model.apply(variables, carry, x, method='step'))
  for t in range(X.shape[1]):
    carry, features = step(carry, X[:, t])
    if t in (0, 5, 19):
      whole = model.apply(variables, X[:, : t + 1])
      np.testing.assert_allclose(features.pooled, whole.pooled, atol=1e-5)
      np.testing.assert_allclose(features.sequence[:, 0], whole.sequence[:, t], atol=1e-5)


def test_the_last_step_is_the_last_real_one_and_the_first_of_the_way_back():
  model = ENCODERS['bilstm']
  variables = jax.jit(model.init)(jax.random.key(0), X)
  features = model.apply(variables, X, MASK)
  for i, n in enumerate((20, 9, 4)):
    y = features.sequence[i]
    expected = np.concatenate([y[n - 1, :8], y[0, 8:]])
    np.testing.assert_array_equal(features.pooled[i], expected)


@pytest.mark.parametrize('kind', ['lstm', 'gru', 'tcn', 'cnn_gru'])
def test_encoders_of_a_recogniser_train(kind):
  sizes = {'tcn': {'features': (4, 4)}, 'cnn_gru': SMALL_CNN}.get(kind, {'features': 4})
  model = registry.build(['imu'], {'imu': {'kind': kind, **sizes}}, {'kind': 'linear'}, 3)
  inputs = {'imu': X, 'imu_mask': MASK}
  variables = jax.jit(lambda: model.init(jax.random.key(0), inputs, INFERENCE))()
  params, rest = variables['params'], {'batch_stats': variables.get('batch_stats', {})}

  @jax.jit
  def gradient(params):
    def loss(params):
      given = {'params': params, **rest}
      out = model.apply(
        given, inputs, Mode(True), rngs={'dropout': jax.random.key(1)}, mutable=['batch_stats']
      )
      return (jax.tree.leaves(out[0])[0] ** 2).sum()

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
    assert np.any(leaf), path
