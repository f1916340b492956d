"""Channels between two layers come to like sizes, and nothing else changes."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import equalise, fake_quant, quantise
from har.compress.quantise import FoldedModel, Scheme

X = {'x': np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype(np.float32)}
SIZES = np.geomspace(1, 0.01, 12).astype(np.float32)


class Block(nn.Module):
  """As of MobileNetV2; its sum is read twice."""

  @nn.compact
  def __call__(self, inputs, mode=None):
    x = nn.Conv(8, (1, 1), name='stem')(inputs['x'])
    y = nn.relu6(nn.Conv(12, (1, 1), name='expand')(x))
    y = nn.relu6(nn.Conv(12, (3, 3), feature_group_count=12, name='depthwise')(y))
    x += nn.Conv(8, (1, 1), name='project')(y)
    x = nn.relu(nn.Dense(7, name='hidden')(x.mean((1, 2))))
    return nn.Dense(4, name='out')(x)


def uneven(seed=1):
  """Variables whose channels behind `expand` differ a hundredfold."""
  params = jax.device_get(Block().init(jax.random.key(seed), X))['params']
  params['expand'] = {'kernel': params['expand']['kernel'] * SIZES, 'bias': 0.3 * SIZES}
  params['depthwise']['kernel'] = params['depthwise']['kernel'] / SIZES
  return {'params': params}


def calibrated(variables, scheme, x=X):
  model = FoldedModel(Block(), variables, scheme)
  return model, quantise.calibrate(model, model.fold(variables, x), [x])


def in_float(variables, x=X):
  return np.asarray(jax.jit(Block().apply)({'params': variables['params']}, x))


def test_factors_bring_channels_to_the_largest():
  variables = uneven()
  model = FoldedModel(Block(), variables, Scheme())
  graph, folded = model.graph(X), model.fold(variables, X)
  shapes = {'expand': 12, 'depthwise': 12, 'hidden': 7}
  seen = {name: np.stack([np.zeros(n), 1 + np.arange(n)]) for name, n in shapes.items()}
  seen['expand'][1, 3], seen['depthwise'][1, 2] = 0, 1e-9
  by = equalise.factors(graph, {f'out:{name}': x for name, x in seen.items()})
  # What `stem` and `project` give is added up.
  assert by.keys() == shapes.keys()
  np.testing.assert_allclose(by['hidden'], 7 / (1 + np.arange(7)), rtol=1e-6)
  # Under ReLU6 none is made to exceed 6; what is silent stays as it is.
  expected = np.maximum(6 / (1 + np.arange(12)), 1)
  np.testing.assert_allclose(by['expand'], np.where(np.arange(12) == 3, 1, expected), rtol=1e-6)
  assert by['depthwise'][2] == equalise.MOST
  some = equalise.factors(graph, {f'out:{n}': x for n, x in seen.items()}, ('project', 'out'))
  assert some.keys() == {'expand'}
  changed = equalise.apply(graph, flax.traverse_util.flatten_dict(folded), by)
  kernel = ('params', 'depthwise', 'kernel')
  scale = by['depthwise'] / by['expand']
  np.testing.assert_allclose(changed[kernel], uneven()['params']['depthwise']['kernel'] * scale)


def test_nothing_else_changes():
  variables = uneven()
  wanted = in_float(variables)
  _, found = calibrated(variables, Scheme(weights=16, activations=16, equalise=True))
  sizes = np.abs(found['params']['expand']['kernel']).max((0, 1, 2))
  assert sizes.max() / sizes.min() < 6
  np.testing.assert_allclose(in_float(found), wanted, rtol=1e-3, atol=1e-3)


def test_channels_of_layers_that_are_trained_on_keep_their_sizes():
  variables, scheme = uneven(), Scheme(equalise=True)
  model = FoldedModel(Block(), variables, scheme)
  found = quantise.calibrate(model, model.fold(variables, X), [X], trained=('hidden', 'out'))
  whole = calibrated(variables, scheme)[1]
  for name in ('hidden', 'out'):
    kept, scaled = (v['params'][name]['kernel'] for v in (found, whole))
    np.testing.assert_array_equal(kept, variables['params'][name]['kernel'])
    assert np.abs(kept - scaled).max() > 1e-3
  expand = found['params']['expand']['kernel']
  np.testing.assert_array_equal(expand, whole['params']['expand']['kernel'])


def test_small_channels_are_no_longer_rounded_away():
  variables = uneven()
  wanted, errors = in_float(variables), {}
  for even in (False, True):
    model, found = calibrated(variables, Scheme(equalise=even))
    errors[even] = np.sqrt(np.mean((model.apply(found, X) - wanted) ** 2))
  assert errors[True] < errors[False] / 2


def test_what_is_rounded_the_same_way_everywhere_is_taken_back():
  """Of a picture of one colour nothing averages out."""
  variables = uneven()
  x = {'x': np.broadcast_to(np.float32([0.31, -0.77, 0.5]), (16, 6, 6, 3)) * 1}
  x['x'][:, :, :3] += np.random.default_rng(0).normal(0, 1e-3, (16, 6, 3, 3)).astype(np.float32)
  _, found = calibrated(variables, Scheme(weights=4, equalise=True), x)
  kernel = variables['params']['stem']['kernel']
  rounded = fake_quant.quantise_activation(x['x'], x['x'].min(), x['x'].max(), 8)
  given = rounded @ fake_quant.quantise_weight(kernel, 4)[0, 0]
  added = np.asarray(given - x['x'] @ kernel[0, 0]).mean((0, 1, 2))
  moved = found['params']['stem']['bias'] - variables['params']['stem']['bias']
  np.testing.assert_allclose(moved, -added, atol=1e-6)
  assert np.abs(added).max() > 0.01


@pytest.mark.parametrize('kind', ['leaky', 'shared', 'tied', 'float'])
def test_what_does_not_grow_with_its_channels_is_left_alone(kind):
  class Net(nn.Module):
    @nn.compact
    def __call__(self, inputs, mode=None):
      first, second = nn.Dense(5, name='first'), nn.Dense(5, name='second')
      x = first(inputs['x'])
      x = jnp.maximum(x, -1.0) if kind == 'leaky' else nn.relu(x)
      x = second(x)
      if kind == 'tied':
        return x @ second.variables['params']['kernel'].T
      return second(nn.relu(x)) if kind == 'shared' else x

  x = {'x': np.ones((2, 3), np.float32)}
  variables = Net().init(jax.random.key(0), x)
  scheme = Scheme(keep_float=('second',) if kind == 'float' else ())
  graph = FoldedModel(Net(), variables, scheme).graph(x)
  seen = {f'out:{name}': np.ones((2, 5)) for name in ('first', 'second', 'second#1')}
  assert equalise.factors(graph, seen) == {}
