"""Models that a format cannot hold are refused by the operation's name and place."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.export import litert, onnx, supported

INPUTS = {'x': jax.ShapeDtypeStruct((1, 5, 3), jnp.float32)}


class Recurrent(nn.Module):
  @nn.compact
  def __call__(self, inputs):
    return {'y': nn.RNN(nn.SimpleCell(4), name='cell')(inputs['x'])}


def test_a_foreign_loop_is_found_in_its_module_before_training():
  model = Recurrent()
  variables = model.init(jax.random.key(0), {'x': jnp.zeros((1, 5, 3))})
  with pytest.raises(UserError) as e:
    supported.check_exportable(lambda x: model.apply(variables, x), INPUTS)
  assert 'LiteRT has no operation for random_seed (Recurrent/cell), scan (Recurrent/cell)' in str(
    e.value
  )
  assert 'ONNX has no operation for random_seed (Recurrent/cell), scan (Recurrent/cell)' in str(
    e.value
  )


@pytest.mark.parametrize('convert', [litert.convert, onnx.convert])
def test_nothing_is_converted(convert):
  def call(inputs):
    _, y = jax.lax.scan(lambda c, x: (c, c * x), jnp.ones(3), inputs['x'][0])
    return {'y': y}

  with pytest.raises(UserError, match='has no operation for scan'):
    convert(call, INPUTS)


def test_one_format_may_hold_what_another_cannot():
  def call(inputs):
    return {'y': jnp.sort(inputs['x'], 1)}

  with pytest.raises(UserError, match=r'^LiteRT has no operation for sort'):
    supported.check_exportable(call, INPUTS)
  x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
  found = onnx.Runner(onnx.convert(call, INPUTS))({'x': x})
  np.testing.assert_array_equal(found['y'], np.sort(x, 1))


def test_what_all_formats_hold_passes():
  supported.check_exportable(lambda x: {'y': jnp.tanh(x['x']).mean(1)}, INPUTS)
