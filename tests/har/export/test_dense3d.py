"""I3D as files: 3-D kernels with strides and padding that is uneven, in time also."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import onnx as onnx_library
import pytest

from har.export import litert, onnx
from har.models import registry, s3d
from tests.har.export import stand_in

BLOCKS = ('Mixed_3b', 'Mixed_4c', 'Mixed_5c')
CONVOLUTIONS = 3 + 6 * len(BLOCKS)


@pytest.fixture
def made(monkeypatch):
  """A network of a block for each resolution, what it is given, and its logits."""
  monkeypatch.setattr(s3d, 'MIXED', {name: s3d.MIXED[name] for name in BLOCKS})
  encoders = {'rgb': {'kind': 'i3d', 'width': 0.125, 'conv': 'plain'}}
  inputs = {'rgb': jax.ShapeDtypeStruct((1, 6, 18, 19, 3), jnp.float32)}
  model = registry.build(['rgb'], encoders, {'kind': 'linear'}, 5)
  return stand_in.without_batch_norm(model, inputs), inputs, stand_in.example(inputs)


@pytest.mark.parametrize('target', [litert, onnx], ids=['litert', 'onnx'])
def test_float_files_agree(target, made):
  call, inputs, given = made
  expected = jax.jit(call)(given)['logits']
  assert np.ptp(expected) > 0.5
  found = target.Runner(target.convert(call, inputs))(given)['logits']
  np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('target', [litert, onnx], ids=['litert', 'onnx'])
def test_int8_files_agree_and_are_int8(target, made, tmp_path):
  call, inputs, given = made
  rounded = stand_in.quantised(call, given)
  expected = np.asarray(jax.jit(rounded)(given)['logits'])
  file = target.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  if target is litert:
    runner = litert.Runner(file)
    assert litert.operations(file)['CONV_2D', 'int8'] == CONVOLUTIONS
    assert ('CONV_2D', 'float32') not in litert.operations(file)
  else:
    runner = onnx.Runner(file, optimised=str(tmp_path / 'optimised.onnx'))
    graph = onnx_library.load(str(tmp_path / 'optimised.onnx')).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    assert kinds['QLinearConv'] == CONVOLUTIONS
    assert kinds['Conv'] == kinds['FusedConv'] == 0
  found = runner(given)['logits']
  np.testing.assert_allclose(found, expected, atol=0.03 * np.ptp(expected))
