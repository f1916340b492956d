"""The skeleton encoder: its input features, and padding that has no effect."""

import chex
import jax
import numpy as np
import pytest

from har.data.motion import velocities
from har.errors import UserError
from har.models.mode import Mode
from har.models.skeleton import SkeletonCNN, centred

X = np.random.default_rng(0).standard_normal((2, 24, 20, 3)).astype(np.float32)
SMALL = SkeletonCNN(
  channels=(16, 32),
  kernels=(5, 3),
  strides=(1, 2),
  dropout=0.0,
  joint_dropout=0.0,
  pooling='mean_max',
)


def test_motion_features_by_hand():
  # Two joints, the second the root, which moves by 1, then 2 m along x; padding follows.
  x = np.zeros((1, 5, 2, 3), np.float32)
  x[0, :3, 1, 0] = [0, 1, 3]
  x[0, :3, 0] = x[0, :3, 1] + [0, 2, 0]
  mask = np.array([[True, True, True, False, False]])
  position = centred(x, mask, 1)
  position, velocity = (np.asarray(y)[0] for y in (position, velocities(position, mask)))
  mean = 4 / 3
  np.testing.assert_allclose(position[:, 1, 0], [0 - mean, 1 - mean, 3 - mean, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(position[:, 0, 1], [2, 2, 2, 0, 0])
  np.testing.assert_allclose(velocity[:, 1, 0], [1, 1.5, 2, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(velocity[:, 0], velocity[:, 1], atol=1e-6)


def test_velocities_may_be_given():
  variables = SMALL.init(jax.random.key(0), X)
  own = np.concatenate([X, velocities(X, None)], -1)
  a, b = SMALL.apply(variables, X), SMALL.apply(variables, own)
  np.testing.assert_allclose(a.pooled, b.pooled, atol=1e-4)
  own[..., 3:] /= 2
  assert np.abs(SMALL.apply(variables, own).pooled - a.pooled).max() > 1e-2


def test_the_place_of_the_person_does_not_matter():
  moved = X + np.array([1.0, -2.0, 3.0], np.float32)
  variables = SMALL.init(jax.random.key(0), X)
  a, b = SMALL.apply(variables, X), SMALL.apply(variables, moved)
  np.testing.assert_allclose(a.pooled, b.pooled, atol=1e-4)
  assert a.sequence.shape == (2, 12, 32)
  assert a.pooled.shape == (2, 64)


@pytest.mark.parametrize('train', [False, True])
def test_more_padding_changes_nothing(train):
  mask = np.arange(40) < np.array([[24], [17]])
  long = np.pad(X, ((0, 0), (0, 16), (0, 0), (0, 0))) * mask[..., None, None]
  variables = SMALL.init(jax.random.key(0), X)

  def run(x, mask):
    return SMALL.apply(variables, x, mask, Mode(train), mutable=['batch_stats'])

  (short_features, short_stats), (long_features, long_stats) = (
    run(long[:, :26], mask[:, :26]),
    run(long, mask),
  )
  np.testing.assert_allclose(short_features.pooled, long_features.pooled, atol=1e-4)
  chex.assert_trees_all_close(short_stats, long_stats, rtol=0, atol=1e-5)
  assert long_features.mask.sum(1).tolist() == [12, 9]


def test_joint_dropout_hides_whole_joints_for_whole_clips():
  model = SkeletonCNN(channels=(8,), kernels=(1,), strides=(1,), joint_dropout=0.5, dropout=0.0)
  variables = model.init(jax.random.key(0), X)
  key = {'dropout': jax.random.key(1)}
  args = {'rngs': key, 'mutable': ['batch_stats', 'intermediates'], 'capture_intermediates': True}
  _, state = model.apply(variables, X, None, Mode(train=True), **args)
  joints = np.asarray(state['intermediates']['joint_dropout']['__call__'][0])
  hidden = (joints == 0).all(axis=(1, 3))
  assert 0.25 < hidden.mean() < 0.75
  assert (joints[~np.broadcast_to(hidden[:, None], (2, 24, 20))] != 0).all()


@pytest.mark.parametrize(
  ('options', 'match'),
  [
    ({'root': 20}, 'more than root=20 joints'),
    ({'strides': (1, 2)}, 'one number per block'),
  ],
)
def test_user_errors(options, match):
  with pytest.raises(UserError, match=match):
    SkeletonCNN(**options).init(jax.random.key(0), X)


def test_what_is_neither_positions_nor_velocities_is_refused():
  with pytest.raises(UserError, match=r'got the shape \(2, 24, 20, 2\)'):
    SMALL.init(jax.random.key(0), X[..., :2])
