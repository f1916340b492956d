"""Files take batches of any size, where nothing in them depends on it."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx as onnx_library
import pytest
from ai_edge_litert import schema_py_generated as schema

from har.errors import UserError
from har.export import litert, onnx
from har.export.rewrite import BATCH, batched
from tests.har.export.stand_in import example, float_file, network

FORMATS = [litert, onnx]


def _stacked(inputs, count):
  several = [example(inputs, seed) for seed in range(count)]
  return {n: np.concatenate([one[n] for one in several]) for n in inputs}


@pytest.mark.parametrize('target', FORMATS)
@pytest.mark.parametrize('name', ['masked', 'imu', 's3d'])
def test_batches_of_several_sizes(name, target):
  call, inputs = network(name)
  runner = target.Runner(float_file(target, name))
  assert runner.any_batch
  expected = jax.jit(call)(_stacked(inputs, 4))['logits']
  assert expected.shape == (4, 5)
  for count in (1, 4, 3):
    found = runner(_stacked(inputs, count))['logits']
    np.testing.assert_allclose(found, expected[:count], atol=1e-4)


@pytest.mark.parametrize('target', FORMATS)
def test_state_goes_in_and_out(target):
  kernel = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)

  def step(inputs):
    carry = jnp.tanh(jnp.concatenate([inputs['x'], inputs['carry_h']], -1) @ kernel)
    return {'logits': carry[:, :2] * 3.0, 'next_h': carry}

  inputs = {'x': (1, 3), 'carry_h': (1, 4)}
  inputs = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in inputs.items()}
  runner = target.Runner(target.convert(step, inputs))
  given = _stacked(inputs, 2 if runner.any_batch else 1)
  for _ in range(3):
    found, expected = runner(given), step(given)
    assert set(found) == {'logits', 'next_h'}
    for name, x in found.items():
      np.testing.assert_allclose(x, expected[name], atol=1e-5)
    given = given | {'carry_h': found['next_h']}


@pytest.mark.parametrize('target', FORMATS)
def test_what_depends_on_the_batch_is_written_for_one(target):
  def call(inputs):
    x = inputs['x']
    return {'y': x * jnp.arange(1.0, x.shape[0] + 1)[:, None]}

  inputs = {'x': jax.ShapeDtypeStruct((1, 6), jnp.float32)}
  runner = target.Runner(target.convert(call, inputs))
  assert not runner.any_batch
  x = np.arange(6, dtype=np.float32)[None]
  np.testing.assert_array_equal(runner({'x': x})['y'], x)


@pytest.mark.parametrize('target', FORMATS)
def test_a_size_that_is_mistaken_for_the_batch_is_kept(target):
  def call(inputs):
    return {'y': inputs['x'].mean(1)}

  inputs = {'x': jax.ShapeDtypeStruct((1, BATCH, 2), jnp.float32)}
  runner = target.Runner(target.convert(call, inputs))
  x = np.random.default_rng(0).standard_normal((1, BATCH, 2)).astype(np.float32)
  np.testing.assert_allclose(runner({'x': x})['y'], x.mean(1), atol=1e-6)
  assert batched({'x': jax.ShapeDtypeStruct((2, 3), jnp.float32)}) == {}


@pytest.mark.parametrize('target', FORMATS)
def test_shapes_that_a_file_does_not_take_are_an_error(target):
  kernel = np.ones((6, 2), np.float32)
  inputs = {'x': jax.ShapeDtypeStruct((1, 6), jnp.float32)}
  runner = target.Runner(target.convert(lambda x: {'y': x['x'] @ kernel}, inputs))
  with pytest.raises(UserError, match='cannot run the model'):
    runner({'x': np.ones((1, 7), np.float32)})


def test_readers_find_what_they_ask_for():
  graph = onnx_library.ModelProto.FromString(float_file(onnx, 's3d')).graph
  convolutions = [n for n in graph.node if n.op_type == 'Conv']
  assert convolutions
  assert all('kernel_shape' in [a.name for a in n.attribute] for n in convolutions)
  model = schema.ModelT.InitFromPackedBuf(float_file(litert, 's3d'), 0)
  (lite,) = model.subgraphs
  names = [t.name for t in lite.tensors]
  assert all(names)
  assert len(set(names)) == len(names)
  assert schema.TensorType.INT64 not in {t.type for t in lite.tensors}


def test_masks_do_not_make_onnx_files_large():
  graph = onnx_library.ModelProto.FromString(float_file(onnx, 'masked')).graph
  for x in map(onnx_library.numpy_helper.to_array, graph.initializer):
    assert x.size == 1 or np.unique(x).size > 1 or x.dtype == np.int64 or x.ndim == 1
