import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.objectives import mixup


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
