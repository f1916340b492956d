"""2-D convolutions in their fast forms equal XLA's, with their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from har.models.conv2d import conv2d

CASES = {
  'depthwise': ((8, 7, 9, 6), (3, 3, 1, 6), (1, 1), ((1, 1), (1, 1)), 6),
  'strided': ((3, 8, 7, 4), (5, 5, 1, 4), (2, 2), ((1, 2), (2, 2)), 4),
  'unpadded': ((4, 9, 6, 4), (3, 2, 1, 4), (2, 1), ((0, 0), (0, 0)), 4),
  'pointwise': ((2, 5, 3, 6), (1, 1, 6, 4), (1, 1), ((0, 0), (0, 0)), 1),
  'plain': ((2, 6, 5, 3), (3, 3, 3, 4), (2, 2), ((0, 1), (1, 1)), 1),
  'grouped': ((2, 6, 5, 4), (3, 3, 2, 4), (1, 1), ((1, 1), (1, 1)), 2),
}


def reference(x, kernel, strides, pads, groups):
  return lax.conv_general_dilated(
    x,
    kernel,
    strides,
    pads,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


def run(form, x, kernel, *rest):
  def loss(x, kernel):
    y = form(x, kernel, *rest)
    weight = jnp.arange(y.size).reshape(y.shape) % 7
    return (y * weight).sum(), y

  (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)
  return y, *gradients


@pytest.mark.parametrize('name', CASES)
def test_values_and_gradients(name):
  shape, window, *rest = CASES[name]
  rng = np.random.default_rng(0)
  x, kernel = (rng.standard_normal(s).astype(np.float32) for s in (shape, window))
  for ours, theirs in zip(
    run(conv2d, x, kernel, *rest), run(reference, x, kernel, *rest), strict=True
  ):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize('name', ['depthwise', 'pointwise'])
def test_half_precision_keeps_types(name):
  shape, window, *rest = CASES[name]
  rng = np.random.default_rng(0)
  x, kernel = (jnp.asarray(rng.standard_normal(s), jnp.bfloat16) for s in (shape, window))
  exact = run(reference, x.astype(jnp.float32), kernel.astype(jnp.float32), *rest)
  for ours, theirs in zip(run(conv2d, x, kernel, *rest), exact, strict=True):
    assert ours.dtype == jnp.bfloat16
    scale = float(jnp.abs(theirs).max())
    np.testing.assert_allclose(ours.astype(np.float32), theirs, atol=0.02 * scale)


@pytest.mark.parametrize('name', ['depthwise', 'pointwise'])
def test_a_trace_shows_the_convolution_and_cpu_runs_none(name):
  shape, window, *rest = CASES[name]
  specs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, window)]
  run = jax.jit(lambda x, kernel: conv2d(x, kernel, *rest))
  assert 'conv_general_dilated' in str(jax.make_jaxpr(run)(*specs))
  assert 'stablehlo.convolution' not in run.lower(*specs).as_text()
