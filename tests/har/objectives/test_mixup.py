import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.objectives import mixup
from tests import fakes


def test_blends_are_those_of_neighbours():
  x = jnp.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
  share = jnp.array([1.0, 0.5, 0.75])
  expected = [[1, 10], [1.5, 15], [3.5, 35]]
  np.testing.assert_allclose(mixup.blend(x, share), expected)
  np.testing.assert_allclose(mixup.blend(x[:, None], share)[:, 0], expected)


def test_masks_hold_for_either_where_examples_are_blended():
  mask = jnp.array([[True, False, False], [True, True, True], [True, True, False]])
  blended = mixup.blend(mask, jnp.array([1.0, 0.9, 0.9]))
  np.testing.assert_array_equal(blended, [mask[0], mask[1], [True, True, True]])


def test_shares_follow_the_beta_distribution():
  inputs = {'imu': jnp.zeros((20000, 1))}
  share = mixup.draw_shares(jax.random.key(0), inputs, 0.3)
  assert 0.5 <= share.min() < 0.51
  assert share.max() <= 1
  # E|x - 1/2| of Beta(a, a) is Gamma(a + 1/2) / (2 sqrt(pi) Gamma(a + 1)).
  a = jnp.float32(0.3)
  log_gamma = jax.scipy.special.gammaln
  spread = jnp.exp(log_gamma(a + 0.5) - log_gamma(a + 1)) / (2 * jnp.sqrt(jnp.pi))
  assert float(share.mean()) == pytest.approx(0.5 + float(spread), abs=0.005)


def test_examples_that_lack_other_modalities_are_left_alone():
  inputs = {
    'imu': jnp.zeros((4, 1)),
    'imu_present': jnp.array([True, True, False, True]),
    'rgb_present': jnp.array([True, True, True, True]),
  }
  share = mixup.draw_shares(jax.random.key(0), inputs, 1.0)
  np.testing.assert_array_equal(share == 1, [False, False, True, True])


@pytest.mark.parametrize('alpha', [-0.1, float('nan')])
def test_alpha_is_above_zero(alpha):
  with pytest.raises(UserError, match=f'mixup={alpha} of a stage must be above 0'):
    mixup.draw_shares(jax.random.key(0), {'imu': jnp.zeros((4, 1))}, alpha)


def test_clips_and_their_labels_are_blended_by_the_same_shares():
  clips = np.random.default_rng(0).standard_normal((4, 2, 3, 3, 3)).astype(np.float32)
  labels, key = jnp.array([0, 1, 2, 1]), jax.random.key(3)
  objective = fakes.classify(3, mixup=0.8)
  inputs, targets = objective.prepare({'rgb': jnp.asarray(clips)}, {'label': labels}, key, None)
  share = np.asarray(mixup.draw_shares(key, {'rgb': clips}, 0.8))
  assert share.max() < 1
  wide = share[:, None, None, None, None]
  np.testing.assert_allclose(
    inputs['rgb'], wide * clips + (1 - wide) * np.roll(clips, 1, 0), atol=1e-6
  )
  one_hot = np.eye(3)[np.asarray(labels)]
  expected = share[:, None] * one_hot + (1 - share[:, None]) * np.roll(one_hot, 1, 0)
  np.testing.assert_allclose(targets['classes'], expected, atol=1e-6)
  assert set(inputs) == {'rgb'}
