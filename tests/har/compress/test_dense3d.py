"""Networks of 3-D kernels in int8, slimmed, and as files."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import quantise, units
from har.compress.graph import Graph
from har.compress.hooks import Hook
from har.compress.quantise import FoldedModel, Scheme
from har.models import c3d, registry, s3d
from tests import fakes

SHAPE = (2, 5, 20, 20, 3)


@pytest.fixture(params=['c3d', 'i3d'])
def made(request, monkeypatch):
  monkeypatch.setattr(s3d, 'MIXED', {'Mixed_3b': s3d.MIXED['Mixed_3b']})
  encoders = {'rgb': {'kind': request.param, 'width': 0.125}}
  model = registry.build(['rgb'], encoders, {'kind': 'linear'}, 5)
  inputs = {'rgb': np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}
  return request.param, model, fakes.draw_variables(model, inputs), inputs


def test_every_kernel_is_a_layer_and_folds(made):
  kind, model, variables, inputs = made

  def infer(variables, inputs):
    return model.apply(variables, inputs).logits

  graph = Graph(infer, variables, inputs)
  assert len(graph.layers) == {'c3d': 8, 'i3d': 9}[kind] + 1
  assert not graph.unseen
  # Values reach every convolution quantised, through pools and the frames that are put together.
  assert [p for p in graph.points if p.startswith('to:')] == ['to:head/rgb']
  folded = graph.fold(flax.traverse_util.flatten_dict(variables))
  got = jax.jit(lambda f, x: graph.run(f, x, Hook()))(folded, inputs)
  np.testing.assert_allclose(got, jax.jit(infer)(variables, inputs), rtol=1e-4, atol=1e-4)


def test_int8_is_close_and_trains_on(made):
  _, model, variables, inputs = made
  label = np.array([1, 3])

  def run(scheme):
    folded = FoldedModel(model, variables, scheme)
    start = quantise.calibrate(folded, folded.fold(variables, inputs), [inputs])

    def loss(params):
      logits = folded.apply({**start, 'params': params}, inputs).logits
      return -jax.nn.log_softmax(logits)[np.arange(2), label].sum(), logits

    (_, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(start['params'])
    return logits, flax.traverse_util.flatten_dict(gradient, sep='/')

  (logits, exact), (rounded, through) = run(None), run(Scheme())
  assert 0 < jnp.linalg.norm(rounded - logits) < 0.05 * jnp.linalg.norm(logits)
  assert set(through) == set(exact)
  kernels = {name: g for name, g in through.items() if name.endswith('kernel')}
  cosines = [
    (g * exact[name]).sum() / jnp.linalg.norm(g) / jnp.linalg.norm(exact[name])
    for name, g in kernels.items()
  ]
  assert min(cosines) > 0.5
  assert np.median(cosines) > 0.9


def test_channels_can_go(made):
  kind, model, variables, inputs = made
  found = units.find(model, variables, inputs)
  counts = {name: unit.count for name, unit in found.of('rgb').items()}
  assert not found.opaque('rgb')
  if kind == 'c3d':
    assert counts == {
      f'rgb/{name}/conv': channels // 8 for names in c3d.LAYERS for name, channels in names.items()
    }
  else:
    assert len(counts) == 9
  kept = {name: np.arange(0, count, 2) for name, count in counts.items()}
  cut = found.cut(variables, kept)
  slim = model.clone(widths=found.widths(kept))
  assert found.difference(units.find(slim, cut, inputs), kept) == ''
  assert slim.apply(cut, inputs).logits.shape == (2, 5)
