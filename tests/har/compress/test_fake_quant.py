"""Integers as LiteRT and ONNX Runtime mean them, against Qwix where its scheme is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix

from har.compress import fake_quant


def test_activations_are_quantised_as_qwix_does():
  x = jax.random.normal(jax.random.key(0), (50, 7)) + 0.5
  expected = qwix.dequantize(qwix.quantize(x, jnp.int8, calibration_method='minmax'))
  got = fake_quant.quantise_activation(x, x.min(), x.max())
  np.testing.assert_allclose(got, expected, atol=1e-6)


def test_weights_are_quantised_as_qwix_does_but_for_its_larger_step():
  w = jax.random.normal(jax.random.key(0), (3, 4, 8))
  theirs = qwix.quantize(w, jnp.int8, channelwise_axes=(2,))
  # Qwix spreads the largest magnitude over 127.5 steps, LiteRT over 127.
  np.testing.assert_allclose(theirs.scale, fake_quant.weight_scale(w) * 127 / 127.5, rtol=1e-6)
  scaled = fake_quant.round_to(w, theirs.scale, 0.0)
  np.testing.assert_allclose(scaled, qwix.dequantize(theirs), atol=1e-6)


@pytest.mark.parametrize(('bits', 'levels'), [(4, 15), (8, 255)])
def test_weights_have_symmetric_levels_per_channel(bits, levels):
  w = jnp.stack([jnp.linspace(-1, 1, 4001), jnp.linspace(-0.1, 0.02, 4001)], -1)
  q = np.asarray(fake_quant.quantise_weight(w, bits))
  assert len(np.unique(q[:, 0])) == levels
  step = 0.1 / (2 ** (bits - 1) - 1)
  np.testing.assert_allclose(q[:, 1] / step, np.round(q[:, 1] / step), atol=1e-4)
  assert np.abs(q - w).max(0) == pytest.approx([0.5 / (2 ** (bits - 1) - 1), step / 2], rel=1e-2)


def test_biases_are_multiples_of_the_steps_of_input_and_weight():
  kernel = jnp.array([[1.27, -0.5], [0.3, 2.54]])
  bias = jnp.array([0.12345, -3.3])
  rounded = fake_quant.quantise_bias(bias, kernel, 0.1)
  np.testing.assert_allclose(rounded, [0.123, -3.3], rtol=1e-5)  # steps of 0.001 and 0.002
  gradient = jax.grad(lambda b: fake_quant.quantise_bias(b, kernel, 0.1).sum())(bias)
  np.testing.assert_array_equal(gradient, [1, 1])


def test_zero_is_exact_and_ranges_always_hold_it():
  for low, high in ((-0.37, 2.9), (0.5, 2.0), (-3.0, -1.0)):
    assert fake_quant.quantise_activation(jnp.zeros(()), low, high) == 0
  scale, zero_point = fake_quant.activation_scale(0.5, 2.0)
  assert (float(scale), int(zero_point)) == (pytest.approx(2 / 255), -128)


def test_sixteen_bits_are_symmetric():
  scale, zero_point = fake_quant.activation_scale(-1.0, 3.0, 16)
  assert (float(scale), int(zero_point)) == (pytest.approx(3 / 32767), 0)


def test_gradients_pass_inside_the_range_only():
  x = jnp.array([-2.0, -1.0, 0.0, 0.3, 1.0, 2.0])
  gradient = jax.grad(lambda x: fake_quant.quantise_activation(x, -1.5, 1.5).sum())(x)
  np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 1, 0])


def test_marks_compute_the_same():
  x = jax.random.normal(jax.random.key(0), (6, 5))
  scale, zero_point = fake_quant.activation_scale(-1.0, 2.0)
  marked = jax.jit(lambda x: fake_quant.mark_activation(x, float(scale), int(zero_point)))
  np.testing.assert_array_equal(marked(x), fake_quant.quantise_activation(x, -1.0, 2.0))
  np.testing.assert_array_equal(
    fake_quant.mark_weight(np.asarray(x)), fake_quant.quantise_weight(x)
  )
  text = marked.lower(x).as_text()
  assert 'stablehlo.composite "quant.fake_quant"' in text
  assert f'zero_point = dense<{int(zero_point)}> : tensor<1xi64>' in text
