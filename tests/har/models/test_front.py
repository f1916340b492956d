"""The frozen front and the rest together are the model."""

import chex
import jax
import numpy as np
import pytest

from har.models import front, registry
from har.models.mode import Mode
from tests import fakes

RNG = np.random.default_rng(0)
CLIPS = RNG.standard_normal((3, 8, 16, 16, 3)).astype(np.float32)
TINY = {'kind': 'tiny', 'temporal': 'lstm', 'features': 4, 'layers': 1, 'dropout': 0.5}
S3D = {'kind': 's3d', 'width': 0.125}
CNN = {'kind': 'cnn1d', 'channels': (4, 4), 'kernels': (3, 3), 'pools': (2, 2)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)


def shapes(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def find(model, variables, inputs, trained):
  example = {name: x[:1] for name, x in inputs.items()}
  return front.find(model, shapes(variables), shapes(example), trained, sorted(model.encoders))


def check(model, inputs, trained, names):
  """The front keeps the outputs of these modules, and model and rest give the same."""
  variables = fakes.draw_variables(model, inputs)
  found = find(model, variables, inputs, trained)
  assert ['/'.join(path) for (path, _), _ in found.kept] == names
  rest = front.Rest(model, found)
  kept = jax.jit(lambda v, x: found.compute(model, v, x))(variables, inputs)
  of_one = {n: (x.shape, x.dtype) for one in found.shapes().values() for n, x in one.items()}
  assert {name: (x.shape[1:], x.dtype) for name, x in kept.items()} == of_one
  others = {name: x for name, x in inputs.items() if name not in found.names}

  def train(one):
    settings = {'rngs': {'dropout': jax.random.key(1)}, 'mutable': ['batch_stats']}
    return lambda v, x: one.apply(v, x, Mode(True, trained), **settings)

  expected, stats = jax.jit(train(model))(variables, inputs)
  outputs, new_stats = jax.jit(train(rest))(variables, {**others, **kept})
  np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-5, atol=1e-5)
  chex.assert_trees_all_close(new_stats, stats, rtol=1e-5, atol=1e-5)
  assert not outputs.features


@pytest.mark.parametrize(
  ('trained', 'names'),
  [
    (('rgb/time', 'head'), ['rgb/cnn']),
    (('rgb/cnn/head', 'rgb/time', 'head'), ['rgb/cnn/stage1_1']),
    (('*/cnn/*_1/project', 'head'), ['rgb/cnn/stage1_0', 'rgb/cnn/stage1_1/depthwise']),
    (
      ('rgb/cnn/stage1_1/expand/bn/scale', 'head'),
      ['rgb/cnn/stage1_0', 'rgb/cnn/stage1_1/expand/conv'],
    ),
    (('head',), ['rgb']),
  ],
)
def test_of_frames(trained, names):
  # The last block adds what it was given, which is kept beside what its frozen layers made of it.
  model = registry.build(['rgb'], {'rgb': TINY}, {'kind': 'linear'}, 5)
  check(model, {'rgb': CLIPS}, trained, names)


def test_of_blocks_with_branches():
  model = registry.build(['rgb'], {'rgb': S3D}, {'kind': 'linear'}, 5)
  trained = ('rgb/Mixed_5b/branch1_1', 'head')
  # Later branches are computed again from what they are given.
  names = ['rgb/Mixed_4f', 'rgb/Mixed_5b/branch0', 'rgb/Mixed_5b/branch1_0']
  check(model, {'rgb': CLIPS}, trained, names)


def test_of_some_encoders():
  encoders = {'rgb': TINY, 'imu': CNN}
  model = registry.build(['rgb', 'imu'], encoders, {'kind': 'concat_mlp', 'hidden': 4}, 5)
  signals = RNG.standard_normal((3, 20, 6)).astype(np.float32)
  mask = np.arange(20) < np.array([[20], [12], [7]])
  inputs = {'rgb': CLIPS, 'imu': signals, 'imu_mask': mask}
  check(model, inputs, ('imu', 'rgb/time', 'head'), ['rgb/cnn'])


def test_nothing_is_frozen_above_what_trains():
  model = registry.build(['rgb'], {'rgb': TINY}, {'kind': 'linear'}, 5)
  variables = jax.eval_shape(model.init, jax.random.key(0), {'rgb': CLIPS})
  for trained in (('*',), ('rgb',), ('rgb/cnn/stem/conv/kernel',), ('rgb/cnn/stem/*',)):
    assert not find(model, variables, {'rgb': CLIPS}, trained).kept


def test_bfloat16_is_kept_as_it_is():
  model = registry.build(['rgb'], {'rgb': TINY}, {'kind': 'linear'}, 5, 'bfloat16')
  variables = jax.eval_shape(model.init, jax.random.key(0), {'rgb': CLIPS})
  found = find(model, variables, {'rgb': CLIPS}, ('rgb/time', 'head')).shapes()
  assert found == {'rgb': {'rgb_front0': jax.ShapeDtypeStruct((8, 16), jax.numpy.bfloat16)}}
  assert front.size(found['rgb']) == 8 * 16 * 2
