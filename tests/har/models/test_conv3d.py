"""Both forms of convolutions and pools give the same values and gradients."""

import jax
import numpy as np
import pytest

from har.models.conv3d import conv3d, max_pool3d


def random(*shape):
  return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
  ('kernel', 'strides', 'pads'),
  [
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((1, 3, 3), (1, 1, 1), (0, 1, 1)),
    ((1, 7, 7), (1, 2, 2), (0, 3, 3)),
    ((3, 1, 1), (1, 1, 1), (1, 0, 0)),
    ((7, 1, 1), (2, 1, 1), (3, 0, 0)),
    ((3, 3, 3), (2, 1, 1), (1, 1, 1)),
    ((7, 7, 7), (2, 2, 2), ((3, 3), (2, 4), (3, 3))),
    ((3, 1, 1), (2, 1, 1), ((0, 2), (0, 0), (0, 0))),
  ],
)
@pytest.mark.parametrize('shape', [(2, 8, 10, 12), (1, 1, 1, 1), (1, 5, 7, 3)])
def test_convolutions_and_their_gradients_agree(kernel, strides, pads, shape):
  x, w = random(*shape, 3), random(*kernel, 3, 8)

  def run(form):
    y, pull = jax.vjp(lambda x, w: conv3d(x, w, strides, pads, form), x, w)
    return y, *pull(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))

  for ours, theirs in zip(jax.jit(run, static_argnums=0)('folded'), run('plain'), strict=True):
    assert ours.shape == theirs.shape
    # What cancels out is as exact as the largest sums are: processors add in other orders.
    np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.abs(theirs).max(), rtol=1e-5)


@pytest.mark.parametrize(
  ('window', 'strides', 'pads'),
  [
    ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
    ((1, 2, 1), (1, 2, 1), (0, 0, 0)),
    ((3, 3, 3), (2, 2, 2), ((1, 1), (0, 1), (1, 1))),
  ],
)
def test_pools_and_their_gradients_agree(window, strides, pads):
  x = random(2, 5, 8, 7, 3)

  def run(form):
    y, pull = jax.vjp(lambda x: max_pool3d(x, window, strides, pads, form), x)
    return y, *pull(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))

  for ours, theirs in zip(run('folded'), run('plain'), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_pool_of_negative_values_ignores_its_padding():
  x = -np.ones((1, 1, 2, 2, 1), np.float32)
  y = max_pool3d(x, (1, 3, 3), (1, 1, 1), (0, 1, 1), 'folded')
  np.testing.assert_array_equal(y, x)
