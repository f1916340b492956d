"""The skeleton encoder: its input features, and padding that has no effect."""

import chex
import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models.mode import Mode
from har.models.skeleton import KINECT_HIP, KINECT_PARENTS, SkeletonTCN, motion_features

X = np.random.default_rng(0).standard_normal((2, 24, 20, 3)).astype(np.float32)
SMALL = SkeletonTCN(channels=(16, 32), strides=(1, 2), dropout=0.0)


def test_kinect_parents_reach_the_hip():
  for joint in range(20):
    path = [joint]
    while path[-1] != KINECT_HIP:
      path.append(KINECT_PARENTS[path[-1]])
    assert len(path) <= 7
  assert KINECT_PARENTS[KINECT_HIP] == KINECT_HIP


def test_motion_features_by_hand():
  # Two joints, the second the root, moving by 1 m a frame along x.
  x = np.zeros((1, 3, 2, 3), np.float32)
  x[0, :, 1, 0] = [0, 1, 2]
  x[0, :, 0] = x[0, :, 1] + [0, 2, 0]
  y = np.asarray(motion_features(x, None, (1, 1), 1))[0]
  np.testing.assert_allclose(y[:, 0, :3], [[0, 2, 0]] * 3)
  np.testing.assert_allclose(y[:, 1, :3], [[-1, 0, 0], [0, 0, 0], [1, 0, 0]])
  np.testing.assert_allclose(y[:, 0, 3:6], [[0, 2, 0]] * 3)
  np.testing.assert_allclose(y[:, 1, 3:6], 0)
  np.testing.assert_allclose(y[:, 0, 6:], [[0, 0, 0], [1, 0, 0], [1, 0, 0]])


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


@pytest.mark.parametrize(
  ('options', 'match'),
  [
    ({'parents': (0, 0)}, '2 parents'),
    ({'strides': (1, 2)}, 'equally many'),
    ({'pooling': 'sum'}, 'mean_max'),
  ],
)
def test_user_errors(options, match):
  with pytest.raises(UserError, match=match):
    SkeletonTCN(**options).init(jax.random.key(0), X)
