"""Batch norm in training equals Flax's, with its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.models.layers import BatchNorm


def flax_form(layer, x):
  return layer(x, use_running_average=False)


def run(method, x, weight, **options):
  layer = BatchNorm(momentum=0.8, epsilon=1e-3, **options)
  variables = layer.init(jax.random.key(0), x, method=method)
  params = jax.tree.map(lambda p: p + jnp.linspace(-0.5, 0.5, p.size), variables['params'])

  def loss(params, x):
    inputs = {'params': params, 'batch_stats': variables['batch_stats']}
    y, updates = layer.apply(inputs, x, method=method, mutable=['batch_stats'])
    return (y.astype(jnp.float32) * weight).sum(), (y, updates)

  (_, (y, updates)), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
  return {'variables': variables, 'y': y, 'updates': updates, 'gradients': gradients}


@pytest.mark.parametrize('scale', [True, False])
@pytest.mark.parametrize('shape', [(3, 5, 4, 6), (7, 2)])
def test_values_statistics_and_gradients(shape, scale):
  x, weight = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
  x = 3 + 2 * x
  ours, theirs = (
    run(method, x, weight, use_scale=scale) for method in (BatchNorm.in_training, flax_form)
  )
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_half_precision():
  x, weight = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
  exact = run(flax_form, x, weight)
  ours, theirs = (
    run(method, x.astype(jnp.bfloat16), weight, dtype=jnp.bfloat16)
    for method in (BatchNorm.in_training, flax_form)
  )
  for a, b, c in zip(*map(jax.tree.leaves, (ours, theirs, exact)), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a.astype(np.float32), c, atol=0.02 * float(np.abs(c).max()))
