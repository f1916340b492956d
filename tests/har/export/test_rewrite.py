"""Rewritten calls give the same numbers with operations that mobile runtimes run fast."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.export import litert, onnx
from har.export.rewrite import rewrite
from tests.har.export.stand_in import MODELS, example, network


@pytest.mark.parametrize('name', list(MODELS))
def test_numbers_stay_the_same(name):
  call, inputs = network(name)
  given = example(inputs)
  expected = jax.jit(call)(given)['logits']
  found = jax.jit(rewrite(call, inputs))(given)['logits']
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_layers_of_three_dimensions_become_two():
  call, inputs = network('s3d')
  eqns = jax.make_jaxpr(rewrite(call, inputs))(inputs).jaxpr.eqns
  found = collections.Counter((e.primitive.name, e.outvars[0].aval.ndim) for e in eqns)
  assert found['conv_general_dilated', 4] == 77
  # (1, 3, 3) twice; rows and columns, then time of (3, 3, 3) ten times and of (2, 2, 2).
  assert found['reduce_window_max', 4] == 2 + 2 * 11
  assert found['conv_general_dilated', 5] == found['reduce_window_max', 5] == 0


@pytest.mark.parametrize('library', [litert, onnx], ids=['litert', 'onnx'])
def test_remainders_and_cube_roots_of_negative_numbers(library):
  rng = np.random.default_rng(0)
  x = {'x': rng.uniform(-400, 400, (1, 64)).astype(np.float32)}
  x['x'][0, :6] = [-190, 190, -180, -27, 0, 1e-3]
  x['y'] = rng.choice([-180, 180, 0.75], (1, 64)).astype(np.float32)

  def call(given):
    x, y = given['x'], given['y']
    whole = x.astype(jnp.int32)
    return {
      'integers': jax.lax.rem(whole, jnp.full_like(whole, 7)).astype(jnp.float32),
      'modulus': jnp.mod(x, y),
      'remainder': jax.lax.rem(x, y),
      'root': jnp.cbrt(x),
      'of_one_number': jnp.fmod(x, 180.0),
    }

  found = library.Runner(library.convert(call, jax.eval_shape(lambda: x)))(x)
  for name, expected in jax.jit(call)(x).items():
    np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)
