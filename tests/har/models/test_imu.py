"""The IMU encoders: sizes, and padding that has no effect."""

import chex
import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models.imu import Conv1dNet, Conv1dNetBN
from har.models.mode import Mode

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 90, 6)).astype(np.float32)


def init(model, x=X):
  return jax.jit(model.init)(jax.random.key(0), x)


def test_the_papers_network():
  variables = init(Conv1dNet())
  shapes = {k: v['kernel'].shape for k, v in variables['params'].items()}
  assert shapes == {'conv_0': (24, 6, 32), 'conv_1': (16, 32, 64), 'conv_2': (8, 64, 96)}
  features = Conv1dNet().apply(variables, X)
  assert features.sequence.shape == (3, 90 - 23 - 15 - 7, 96)
  np.testing.assert_array_equal(features.pooled, features.sequence.max(1))


def test_the_tuned_network():
  variables = init(Conv1dNetBN())
  features = Conv1dNetBN().apply(variables, X)
  assert features.sequence.shape == (3, 12, 256)
  np.testing.assert_allclose(features.pooled[:, :256], features.sequence.mean(1), atol=1e-5)
  np.testing.assert_array_equal(features.pooled[:, 256:], features.sequence.max(1))
  assert 'bn_3' in variables['batch_stats']


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize(
  'model',
  [
    Conv1dNetBN(dropout=0.0),
    Conv1dNetBN(dropout=0.0, strides=(2, 1, 1, 1), pools=1, pooling='mean'),
    Conv1dNet(padding='SAME', dropout=0.0),
  ],
  ids=['tuned', 'strided', 'paper'],
)
def test_more_padding_changes_nothing(model, train):
  length = np.array([90, 64, 40])
  variables = init(model)
  # Garbage in the padding shows whether it is left out; the encoder's input is zero there.
  mask = np.arange(112) < length[:, None]
  long = np.pad(X, ((0, 0), (0, 22), (0, 0))) * mask[..., None]

  def run(x, mask):
    return model.apply(variables, x, mask, Mode(train), mutable=['batch_stats'])

  (short_features, short_stats) = run(long[:, :96], mask[:, :96])
  (long_features, long_stats) = run(long, mask)
  np.testing.assert_allclose(short_features.pooled, long_features.pooled, atol=1e-5)
  chex.assert_trees_all_close(short_stats, long_stats, rtol=0, atol=1e-5)
  steps = short_features.mask.sum(1)
  assert steps.tolist() == long_features.mask.sum(1).tolist()
  assert steps[0] > steps[1] > steps[2] > 0


def test_valid_convolutions_mask_only_windows_of_padding():
  model = Conv1dNet(channels=(4,), kernels=(5,), dropout=0.0)
  mask = np.arange(20)[None] < 8
  x = X[:1, :20] * mask[..., None]
  features = model.apply(init(model, x), x, mask)
  assert features.mask.tolist() == [[True] * 8 + [False] * 8]


def test_dropout_only_where_it_trains():
  model = Conv1dNet(dropout=0.5)
  variables = init(model)
  still = model.apply(variables, X, None, Mode(True, ('other',)))
  np.testing.assert_array_equal(still.pooled, model.apply(variables, X).pooled)
  moved = model.apply(variables, X, None, Mode(True), rngs={'dropout': jax.random.key(1)})
  assert not np.allclose(moved.pooled, still.pooled)


@pytest.mark.parametrize(
  ('options', 'match'),
  [
    ({'channels': (8, 8)}, 'one number per block'),
    ({'kernels': (50, 40, 30)}, 'has 2 samples left at convolution 2'),
  ],
)
def test_user_errors(options, match):
  with pytest.raises(UserError, match=match):
    Conv1dNet(**options).init(jax.random.key(0), X)
