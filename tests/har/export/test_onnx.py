"""ONNX files give JAX's numbers, in float and as true int8."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import onnx as onnx_library
import pytest

from har.errors import UserError
from har.export import onnx
from tests.har.export.stand_in import example, network, quantised

NAMES = ['imu', 'masked', 'skeleton', 's3d', 'fusion']


@pytest.mark.parametrize('name', NAMES)
def test_float_files_agree(name):
  call, inputs = network(name)
  given = example(inputs)
  runner = onnx.Runner(onnx.convert(call, inputs))
  np.testing.assert_allclose(runner(given), jax.jit(call)(given), atol=1e-4)


@pytest.mark.parametrize('name', ['imu', 's3d'])
def test_int8_files_agree_and_are_int8(name, tmp_path):
  call, inputs = network(name)
  given = example(inputs)
  rounded = quantised(call, given)
  file = onnx.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  expected = np.asarray(jax.jit(rounded)(given))
  runner = onnx.Runner(file, optimised=str(tmp_path / 'optimised.onnx'))
  np.testing.assert_allclose(runner(given), expected, atol=0.03 * np.ptp(expected))
  graph = onnx_library.load(str(tmp_path / 'optimised.onnx')).graph
  kinds = collections.Counter(node.op_type for node in graph.node)
  assert kinds['QLinearConv'] == {'imu': 2, 's3d': 40}[name]
  assert kinds['Conv'] == kinds['FusedConv'] == kinds['Gemm'] == kinds['MatMul'] == 0


def test_weights_are_stored_as_int8():
  call, inputs = network('imu')
  rounded = quantised(call, example(inputs))
  model = onnx_library.ModelProto.FromString(
    onnx.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  )
  assert model.opset_import[0].version == onnx.OPSET
  kinds = collections.Counter(
    onnx_library.TensorProto.DataType.Name(i.data_type)
    for i in model.graph.initializer
    if np.prod(i.dims) > 64
  )
  assert kinds == {'INT8': 3}


def test_a_broken_file_is_a_user_error(tmp_path):
  path = tmp_path / 'model.onnx'
  path.write_bytes(b'nothing')
  with pytest.raises(UserError, match=r'model\.onnx'):
    onnx.Runner(path)


def test_what_onnx_lacks_is_a_user_error():
  def call(inputs):
    return jax.lax.composite(jnp.sin, 'other')(inputs['x'])

  with pytest.raises(UserError, match='ONNX cannot express the model: the composite other'):
    onnx.convert(call, {'x': jax.ShapeDtypeStruct((2, 2), jnp.float32)})
