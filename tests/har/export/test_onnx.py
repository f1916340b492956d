"""ONNX files give JAX's numbers, in float and as true int8."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import onnx as onnx_library
import pytest

from har.errors import UserError
from har.export import onnx, onnx_graph
from tests.har.export.stand_in import example, float_file, network, quantised

INT64 = onnx_library.TensorProto.INT64
NAMES = ['imu', 'masked', 'skeleton', 's3d', 'c3d', 'fusion']


@pytest.mark.parametrize('name', NAMES)
def test_float_files_agree(name):
  call, inputs = network(name)
  given = example(inputs)
  runner = onnx.Runner(float_file(onnx, name))
  np.testing.assert_allclose(runner(given)['logits'], jax.jit(call)(given)['logits'], atol=1e-4)


def test_float_files_do_without_what_is_absent():
  call, inputs = network('absent')
  runner = onnx.Runner(onnx.convert(call, inputs))
  found = {}
  for present in (True, False):
    given = example(inputs) | {'imu_present': np.float32([present])}
    found[present] = runner(given)['logits']
    np.testing.assert_allclose(found[present], jax.jit(call)(given)['logits'], atol=1e-4)
  assert np.abs(found[True] - found[False]).max() > 0.1


@pytest.mark.parametrize('name', ['imu', 's3d', 'c3d'])
def test_int8_files_agree_and_are_int8(name, tmp_path):
  call, inputs = network(name)
  given = example(inputs)
  rounded = quantised(call, given)
  file = onnx.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  expected = np.asarray(jax.jit(rounded)(given)['logits'])
  runner = onnx.Runner(file, optimised=str(tmp_path / 'optimised.onnx'))
  np.testing.assert_allclose(runner(given)['logits'], expected, atol=0.03 * np.ptp(expected))
  graph = onnx_library.load(str(tmp_path / 'optimised.onnx')).graph
  kinds = collections.Counter(node.op_type for node in graph.node)
  assert kinds['QLinearConv'] == {'imu': 2, 's3d': 77, 'c3d': 8}[name]
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


def test_equal_shapes_are_stored_once_and_names_are_short():
  graph = onnx_library.ModelProto.FromString(float_file(onnx, 's3d')).graph
  shapes = [tuple(i.int64_data) for i in graph.initializer if i.data_type == INT64]
  assert len(set(shapes)) == len(shapes) > 5
  assert [i.name for i in graph.input] == ['rgb']
  assert [o.name for o in graph.output] == ['logits']
  names = {name for node in graph.node for name in (*node.input, *node.output)}
  assert max(map(len, names - {'rgb', 'logits'})) <= 2


def test_short_names_avoid_those_that_stay():
  nodes = [onnx_graph.Node('Add', ['a', 'x'], [f'sum_{i}'], {}) for i in range(200)]
  constants = {'x': np.array([3, 4]), 'y': np.array([3, 4]), 'z': np.array([3, 5])}
  names = onnx_graph.short_names(nodes, constants, {'a', 'c'})
  assert names['a'] == 'a'
  assert names['c'] == 'c'
  assert names['x'] == names['y'] != names['z']
  assert len(set(names.values())) == len(names) - 1 == 204


def test_a_broken_file_is_a_user_error(tmp_path):
  path = tmp_path / 'model.onnx'
  path.write_bytes(b'nothing')
  with pytest.raises(UserError, match=r'model\.onnx'):
    onnx.Runner(path)


def test_what_onnx_lacks_is_a_user_error():
  def call(inputs):
    return {'sine': jax.lax.composite(jnp.sin, 'other')(inputs['x'])}

  with pytest.raises(UserError, match='ONNX cannot express the model: the composite other'):
    onnx.convert(call, {'x': jax.ShapeDtypeStruct((2, 2), jnp.float32)})
