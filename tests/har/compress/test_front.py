"""The frozen front of folded models: kept once, it gives what the whole model gives."""

import jax
import numpy as np
import pytest

from har.compress import quantise
from har.compress.quantise import FoldedModel, Scheme
from har.models import front, registry
from tests import fakes

RNG = np.random.default_rng(0)
CLIPS = RNG.standard_normal((3, 4, 16, 16, 3)).astype(np.float32)
SIGNALS = RNG.standard_normal((3, 20, 6)).astype(np.float32)
FRAMES = {'kind': 'tiny', 'temporal': 'lstm', 'features': 4}
CNN = {'kind': 'cnn1d', 'channels': (4, 4), 'kernels': (3, 3), 'pools': (2, 2)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)


def quantised(encoders, inputs, scheme):
  head = {'kind': 'concat_mlp', 'hidden': 4} if len(encoders) > 1 else {'kind': 'linear'}
  model = registry.build(list(encoders), encoders, head, 5)
  variables = fakes.draw_variables(model, inputs)
  folded = FoldedModel(model, variables, scheme)
  variables = folded.fold(variables, inputs)
  return folded, quantise.calibrate(folded, variables, [inputs]) if scheme else variables


def shapes(tree, size=None):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((size or len(x), *x.shape[1:]), x.dtype), tree)


def find(model, variables, inputs, trained):
  return front.find(model, shapes(variables), shapes(inputs, 1), trained, sorted(inputs))


@pytest.mark.parametrize('scheme', [None, Scheme()])
@pytest.mark.parametrize('trained', [('rgb/time', 'head'), ('head',), ('rgb/cnn/head', 'head')])
def test_front_and_rest_are_the_model(trained, scheme):
  inputs = {'rgb': CLIPS}
  model, variables = quantised({'rgb': FRAMES}, inputs, scheme)
  found = find(model, variables, inputs, trained)
  assert found.names == ('rgb',)
  kept = jax.jit(lambda v, x: found.compute(model, v, x))(variables, inputs)
  one = {n: (x.shape, x.dtype) for n, x in found.shapes()['rgb'].items()}
  assert {name: (x.shape[1:], x.dtype) for name, x in kept.items()} == one

  def slope(model, inputs):
    def loss(params):
      return (model.apply({**variables, 'params': params}, inputs).logits ** 2).sum()

    return jax.jit(jax.value_and_grad(loss))(variables['params'])

  expected, slopes = slope(model, inputs)
  value, ours = slope(found.rest(model), kept)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_allclose(
    ours['head']['rgb']['kernel'], slopes['head']['rgb']['kernel'], rtol=1e-4, atol=1e-6
  )
  # Nothing is computed again: what is frozen has no say in the rest.
  assert not np.any(ours['rgb']['cnn']['stem']['conv']['kernel'])
  assert np.any(slopes['rgb']['cnn']['stem']['conv']['kernel'])


def test_an_input_whose_first_layer_trains_has_none():
  inputs = {'imu': SIGNALS, 'rgb': CLIPS}
  model, variables = quantised({'imu': CNN, 'rgb': FRAMES}, inputs, Scheme())
  found = find(model, variables, inputs, ('imu', 'rgb/time', 'head'))
  assert found.names == ('rgb',)
  kept = jax.jit(lambda v, x: found.compute(model, v, x))(variables, {'rgb': CLIPS})
  expected = jax.jit(model.apply)(variables, inputs).logits
  logits = jax.jit(found.rest(model).apply)(variables, {'imu': SIGNALS, **kept}).logits
  np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
  assert find(model, variables, inputs, ('*',)).names == ()


def test_ranges_are_among_what_is_kept_depends_on():
  inputs = {'rgb': CLIPS}
  model, variables = quantised({'rgb': FRAMES}, inputs, Scheme())
  frozen = find(model, variables, inputs, ('rgb/time', 'head')).frozen(variables)
  assert set(frozen) == {'params', 'batch_stats'}
  np.testing.assert_array_equal(frozen['batch_stats']['ranges'], variables['batch_stats']['ranges'])
  assert set(frozen['params']['rgb']) == {'cnn'}


def test_depthwise_convolutions_run_in_their_fast_form():
  """On CPU XLA's own takes 25 times as long; the trace that a front is cut from shows that one."""
  inputs = {'rgb': CLIPS}
  model, variables = quantised({'rgb': FRAMES}, inputs, Scheme())
  found = find(model, variables, inputs, ('rgb/time', 'head'))
  text = jax.jit(lambda x: found.compute(model, variables, x)).lower(inputs).compile().as_text()
  assert 'convolution(' in text  # The first one.
  assert 'feature_group_count' not in text
