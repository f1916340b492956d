"""The traced graph computes what the model does, folded, and knows where values are quantised."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress.graph import Graph, Hook
from har.models import registry
from har.models.mode import INFERENCE, UNROLLED
from tests import fakes

ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (8, 16), 'kernels': (9, 5), 'strides': 2, 'pools': 1},
  'rgb': {'kind': 's3d', 'width': 0.125},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,) * 4},
}
SHAPES = {'imu': (2, 40, 6), 'rgb': (2, 8, 32, 32, 3), 'skeleton': (2, 24, 20, 3)}


def made(modalities, head):
  """A model, its variables with batch norms that do something, and inputs."""
  model = registry.build(modalities, ENCODERS, head, 5)
  keys = jax.random.split(jax.random.key(0), len(SHAPES))
  drawn = {m: jax.random.normal(k, s) for (m, s), k in zip(SHAPES.items(), keys, strict=True)}
  inputs = {m: drawn[m] for m in modalities}
  return model, fakes.draw_variables(model, inputs), inputs


def infer(model):
  return lambda variables, inputs: model.apply(variables, inputs, INFERENCE).logits


def traced(fn, variables, inputs, keep_float=()):
  graph = Graph(fn, variables, inputs, keep_float)
  return graph, graph.fold(flax.traverse_util.flatten_dict(variables))


@pytest.mark.parametrize(
  ('modalities', 'head'),
  [
    (['imu'], {'kind': 'linear'}),
    (['rgb'], {'kind': 'linear'}),
    (['imu', 'skeleton'], {'kind': 'residual', 'hidden': 8}),
    (['imu', 'skeleton'], {'kind': 'concat_mlp', 'hidden': 8}),
    (['imu', 'skeleton'], {'kind': 'attention', 'hidden': 8, 'heads': 2, 'layers': 1}),
    (['imu', 'skeleton'], {'kind': 'hamlet', 'hidden': 8}),
    (['imu', 'skeleton'], {'kind': 'mumu', 'hidden': 8, 'groups': 2}),
  ],
)
def test_a_folded_graph_computes_what_the_model_does(modalities, head):
  model, variables, inputs = made(modalities, head)
  graph, folded = traced(infer(model), variables, inputs)
  expected = jax.jit(infer(model))(variables, inputs)
  got = jax.jit(lambda f, x: graph.run(f, x, Hook()))(folded, inputs)
  np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
  assert not any('bn' in name for path in folded for name in path)
  assert not any(path[0] == 'batch_stats' for path in folded)


def test_folded_parameters_keep_their_paths_and_shapes():
  model, variables, inputs = made(['imu'], {'kind': 'linear'})
  _, folded = traced(infer(model), variables, inputs)
  assert {'/'.join(path): leaf.shape for path, leaf in folded.items()} == {
    'params/imu/conv_0/kernel': (9, 6, 8),
    'params/imu/conv_0/bias': (8,),
    'params/imu/conv_1/kernel': (5, 8, 16),
    'params/imu/conv_1/bias': (16,),
    'params/head/imu/kernel': (32, 5),
    'params/head/imu/bias': (5,),
  }


def test_the_same_folded_parameters_serve_any_batch_size():
  model, variables, inputs = made(['imu'], {'kind': 'linear'})
  _, folded = traced(infer(model), variables, inputs)
  one = {name: x[1:] for name, x in inputs.items()}
  alone = Graph(infer(model), variables, one).run(folded, one, Hook())
  np.testing.assert_allclose(alone, infer(model)(variables, inputs)[1:], rtol=1e-5, atol=1e-5)


def test_points_of_a_one_dimensional_network():
  model, variables, inputs = made(['imu'], {'kind': 'linear'})
  graph, _ = traced(infer(model), variables, inputs)
  # The pooled features are means and maxima, which no layer's output holds.
  names = ['in:imu', 'out:imu/conv_0', 'out:imu/conv_1', 'to:head/imu', 'out:head/imu']
  assert graph.points == {name: name for name in names}


def test_branches_that_are_concatenated_share_a_range():
  model, variables, inputs = made(['rgb'], {'kind': 'linear'})
  graph, _ = traced(infer(model), variables, inputs)
  assert len(graph.layers) == 78
  first = 'out:rgb/Mixed_4c/branch0/conv'
  assert {p for p, group in graph.points.items() if group == first} == {
    first,
    'out:rgb/Mixed_4c/branch1_1/temporal/conv',
    'out:rgb/Mixed_4c/branch2_1/temporal/conv',
    'out:rgb/Mixed_4c/branch3_1/conv',
  }
  # Values reach every convolution quantised, through pools and their padding too.
  assert [p for p in graph.points if p.startswith('to:')] == ['to:head/rgb']


def test_layers_left_in_float_have_no_points():
  model, variables, inputs = made(['imu'], {'kind': 'linear'})
  graph, _ = traced(infer(model), variables, inputs, ['imu/conv_0', 'head'])
  assert [one.name for one in graph.layers if not one.quantised] == ['imu/conv_0', 'head/imu']
  assert list(graph.points) == ['to:imu/conv_1', 'out:imu/conv_1']


class Recorder(Hook):
  def __init__(self):
    self.seen = {}

  def point(self, name, x):
    self.seen[name] = x
    return x

  def lowest(self, name):
    return -123.0


def test_what_is_observed_at_points():
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.relu6(nn.Conv(4, (3, 3), name='conv')(x))
      x = nn.max_pool(
        jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=-jnp.inf), (3, 3)
      )
      return nn.Dense(2, name='dense')(x.max((1, 2)))

  x = 9 * jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
  variables = Net().init(jax.random.key(1), x)

  def fn(v, inputs):
    return Net().apply(v, inputs['x'])

  graph, folded = traced(fn, variables, {'x': x})
  assert graph.points == {n: n for n in ('in:x', 'out:conv', 'out:dense')}
  recorder = Recorder()
  y = graph.run(folded, {'x': x}, recorder)
  np.testing.assert_allclose(y, fn(variables, {'x': x}), rtol=1e-5)
  assert recorder.seen['out:conv'].min() == 0
  assert recorder.seen['out:conv'].max() == 6


def test_a_kernel_that_is_used_twice_is_two_layers():
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
      dense = nn.Dense(4, name='dense')
      return dense(nn.relu(dense(x)))

  x = jax.random.normal(jax.random.key(0), (3, 4))
  variables = Net().init(jax.random.key(1), x)
  variables = jax.tree.map(lambda v: v + 0.3, variables)

  def fn(v, inputs):
    return Net().apply(v, inputs['x'])

  graph, folded = traced(fn, variables, {'x': x})
  assert [one.name for one in graph.layers] == ['dense', 'dense#1']
  np.testing.assert_allclose(
    graph.run(folded, {'x': x}, Hook()), Net().apply(variables, x), rtol=1e-6
  )


def test_masked_signals_go_through():
  model = registry.build(['imu'], ENCODERS, {'kind': 'linear'}, 5)
  x = {'imu': jax.random.normal(jax.random.key(0), SHAPES['imu'])}
  x['imu_mask'] = jnp.arange(40)[None] < jnp.array([[40], [23]])
  variables = dict(model.init(jax.random.key(1), x, INFERENCE))
  graph, folded = traced(infer(model), variables, x)
  np.testing.assert_allclose(
    graph.run(folded, x, Hook()), infer(model)(variables, x), rtol=1e-5, atol=1e-6
  )


class Loop(nn.Module):
  """A foreign recurrent layer: a scan of dense layers, or a `while` that hides its kernel."""

  kind: str

  @nn.compact
  def __call__(self, x):
    kernel = self.param('kernel', nn.initializers.orthogonal(), (4, 4))
    if self.kind == 'scan':
      _, y = jax.lax.scan(lambda h, v: (jnp.tanh(h @ kernel + v),) * 2, x[:, 0], x.swapaxes(0, 1))
      return nn.Dense(2, name='dense')(y[-1])
    y = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] @ kernel), (0, x[:, 0]))
    return nn.Dense(2, name='dense')(y[1])


def traced_loop(kind):
  x = jax.random.normal(jax.random.key(0), (3, 5, 4))
  variables = Loop(kind).init(jax.random.key(1), x)

  def fn(v, inputs):
    return Loop(kind).apply(v, inputs['x'])

  graph, folded = traced(fn, variables, {'x': x})
  expected = fn(variables, {'x': x})
  np.testing.assert_allclose(graph.run(folded, {'x': x}, Hook()), expected, rtol=1e-5)
  return graph


def test_layers_inside_a_scan_are_seen():
  graph = traced_loop('scan')
  assert [one.name for one in graph.layers] == ['kernel', 'dense']
  assert list(graph.points) == ['to:kernel', 'out:kernel', 'to:dense', 'out:dense']
  assert not graph.unseen


def test_what_hides_a_kernel_is_named():
  graph = traced_loop('while')
  assert [one.name for one in graph.layers] == ['dense']
  assert graph.unseen == ('kernel (while)',)


def test_uses_of_one_kernel_fold_one_bias_and_share_ranges():
  encoder = {'kind': 'gru', 'features': 4, 'layers': 1}
  model = registry.build(['imu'], {'imu': encoder}, {'kind': 'linear'}, 5)
  x = {'imu': jax.random.normal(jax.random.key(0), (2, 4, 6))}
  variables = dict(model.init(jax.random.key(1), x, INFERENCE))
  variables = jax.tree.map(lambda v: v + 0.1, variables)
  for mode, uses in ((INFERENCE, 1), (UNROLLED, 3)):  # the first step's product is of zeros
    graph, folded = traced(lambda v, x, mode=mode: model.apply(v, x, mode).logits, variables, x)
    np.testing.assert_allclose(
      graph.run(folded, x, Hook()), infer(model)(variables, x), rtol=1e-5, atol=1e-6
    )
    found = [one for one in graph.layers if 'recurrent' in one.name]
    assert len(found) == uses
    assert {one.bias for one in found} == {(*found[0].path[:-1], 'bias')}
    assert len({graph.points[f'out:{one.name}'] for one in found}) == 1
    assert len({graph.entrance(one) for one in found}) == 1
