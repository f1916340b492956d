"""Rewritten calls give the same numbers with operations that mobile runtimes run fast."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.export.rewrite import rewrite
from tests.har.export.stand_in import MODELS, example, network


def kinds(call, inputs):
  jaxpr = jax.make_jaxpr(call)(inputs).jaxpr
  return collections.Counter(eqn.primitive.name for eqn in jaxpr.eqns)


@pytest.mark.parametrize('name', list(MODELS))
def test_numbers_stay_the_same(name):
  call, inputs = network(name)
  given = example(inputs)
  expected = jax.jit(call)(given)
  np.testing.assert_allclose(jax.jit(rewrite(call, inputs))(given), expected, atol=1e-5)


def test_pools_of_slices_become_pools_and_biases_follow_their_layer():
  call, inputs = network('s3d')
  found = kinds(rewrite(call, inputs), inputs)
  assert found['slice'] == found['pad'] == 0
  # (1, 3, 3) twice; (3, 3, 3) in nine blocks and once between them; (2, 2, 2), whose axes of one
  # element have nothing to pool.
  assert found['reduce_window_max'] >= 2 + 2 * 10


def test_maxima_of_slices_that_are_no_pool_stay():
  def call(inputs):
    x = inputs['x']
    return jnp.maximum(x[:, 0:3], x[:, 4:7]) + jnp.maximum(x[:, 1:4], x[:, 2:5])

  inputs = {'x': jax.ShapeDtypeStruct((1, 8, 2), jnp.float32)}
  x = {'x': np.random.default_rng(0).standard_normal((1, 8, 2)).astype(np.float32)}
  np.testing.assert_array_equal(rewrite(call, inputs)(x), call(x))
