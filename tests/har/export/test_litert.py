"""LiteRT files give JAX's numbers, in float and as true int8."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.export import litert
from tests.har.export.stand_in import example, fake_quant, float_file, network, quantised

NAMES = ['imu', 'masked', 'skeleton', 's3d', 'c3d', 'fusion']


@pytest.mark.parametrize('name', NAMES)
def test_float_files_agree(name):
  call, inputs = network(name)
  given = example(inputs)
  runner = litert.Runner(float_file(litert, name))
  np.testing.assert_allclose(runner(given)['logits'], jax.jit(call)(given)['logits'], atol=1e-4)


def test_float_files_do_without_what_is_absent():
  call, inputs = network('absent')
  runner = litert.Runner(litert.convert(call, inputs))
  found = {}
  for present in (True, False):
    given = example(inputs) | {'imu_present': np.float32([present])}
    found[present] = runner(given)['logits']
    np.testing.assert_allclose(found[present], jax.jit(call)(given)['logits'], atol=1e-4)
  assert np.abs(found[True] - found[False]).max() > 0.1


# The stand-in rounds the skeleton's sums too, which LiteRT adds up in another order.
@pytest.mark.parametrize('name', ['imu', 'masked', 's3d', 'c3d'])
def test_int8_files_agree_and_are_int8(name):
  call, inputs = network(name)
  given = example(inputs)
  rounded = quantised(call, given)
  file = litert.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  expected = np.asarray(jax.jit(rounded)(given)['logits'])
  np.testing.assert_allclose(
    litert.Runner(file)(given)['logits'], expected, atol=0.03 * np.ptp(expected)
  )
  layers = [(kind, n) for (op, kind), n in litert.operations(file).items() if op in litert._LAYERS]
  assert {kind for kind, _ in layers} == {'int8'}


def test_what_is_pooled_in_two_ways_is_not_rounded_before():
  rng = np.random.default_rng(0)
  x = {'x': rng.standard_normal((1, 8, 16)).astype(np.float32)}
  kernel = rng.normal(0, 0.2, (32, 5)).astype(np.float32)
  scales = np.abs(kernel).max(0) / 127

  def call(given, mark=True):
    h = jnp.tanh(given['x'])
    pooled = jnp.concatenate([h.mean(1), h.max(1)], -1)
    pooled = fake_quant(pooled, 0.05, 0, mark=mark)
    logits = pooled @ fake_quant(kernel, scales, np.zeros(5), 1, mark=mark)
    return {'logits': fake_quant(logits, 0.02, 0, mark=mark)}

  file = litert.convert(call, jax.eval_shape(lambda: x), int8=True)
  assert litert.operations(file)['MEAN', 'float32'] == 1
  expected = jax.jit(lambda x: call(x, mark=False))(x)['logits']
  assert 0 < np.abs(expected).max() < 127 * 0.02
  np.testing.assert_allclose(litert.Runner(file)(x)['logits'], expected, atol=0.021)


def test_what_is_joined_and_given_back_is_not_rounded():
  rng = np.random.default_rng(0)
  x = {n: rng.uniform(-1, 1, (1, 16)).astype(np.float32) for n in ('x', 'y')}
  kernel = rng.normal(0, 0.2, (32, 5)).astype(np.float32)

  def call(given):
    greatest = jnp.maximum(given['x'], given['y'])
    joined = fake_quant(jnp.concatenate([greatest, jnp.tanh(given['x'])], -1), 0.05, 0)
    logits = joined @ fake_quant(kernel, np.abs(kernel).max(0) / 127, np.zeros(5), 1)
    return {'logits': fake_quant(logits, 0.05, 0), 'state': greatest}

  found = litert.Runner(litert.convert(call, jax.eval_shape(lambda: x), int8=True))(x)
  np.testing.assert_array_equal(found['state'], np.maximum(x['x'], x['y']))


def test_an_operation_that_litert_lacks_is_named():
  def call(inputs):
    return {'values': jnp.linalg.eigh(inputs['x'])[0]}

  with pytest.raises(UserError, match='LiteRT has no operation for eigh'):
    litert.convert(call, {'x': jax.ShapeDtypeStruct((4, 4), jnp.float32)})


def test_marked_layers_that_stay_in_float_are_an_error():
  call, inputs = network('imu')
  file = litert.convert(call, inputs)
  with pytest.raises(UserError, match=r'2 of 2 int8 layers in float \(CONV_2D, FULLY_CONNECTED\)'):
    litert._check(file, 2)


def test_a_broken_file_is_a_user_error(tmp_path):
  path = tmp_path / 'model.tflite'
  path.write_bytes(b'nothing')
  with pytest.raises(UserError, match=r'model\.tflite'):
    litert.Runner(path)
