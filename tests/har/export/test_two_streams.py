"""Colours and stacked flow, fused late, become one file of each format, in float and in int8."""

import jax
import numpy as np
import pytest

from har.compress import units
from har.compress.quantise import FoldedModel, Scheme, calibrate
from har.export import litert, onnx
from har.models import registry
from tests import fakes

SHAPES = {'flow': (2, 2, 12, 12, 6), 'rgb': (2, 3, 12, 12, 3)}


@pytest.fixture(scope='module')
def fused():
  """A model, its variables and inputs."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
    encoders = {name: {'kind': 'tiny', 'temporal': 'mean'} for name in SHAPES}
    model = registry.build(SHAPES, encoders, {'kind': 'decision'}, 3)
  rng = np.random.default_rng(0)
  x = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in SHAPES.items()}
  return model, fakes.draw_variables(model, x), x


@pytest.mark.parametrize('scheme', [None, Scheme()], ids=['float', 'int8'])
def test_files_agree_with_jax(fused, scheme):
  model, variables, x = fused
  folded = FoldedModel(model, variables, scheme)
  values = folded.fold(variables, x)
  values = values if scheme is None else calibrate(folded, values, [x])
  values = jax.tree.map(np.asarray, values)
  expected = np.asarray(jax.jit(lambda x: folded.apply(values, x).logits)(x))
  shapes = {n: jax.ShapeDtypeStruct((1, *one.shape[1:]), one.dtype) for n, one in x.items()}
  for library in (litert, onnx):
    file = library.convert(
      lambda x: folded.apply(values, x, mark=True).named(), shapes, int8=scheme is not None
    )
    runner = library.Runner(file)
    found = [runner({n: one[i : i + 1] for n, one in x.items()})['logits'] for i in range(2)]
    tolerance = 1e-4 if scheme is None else 0.02 * np.ptp(expected)
    np.testing.assert_allclose(np.concatenate(found), expected, atol=tolerance)
    if library is litert and scheme is not None:
      counts = litert.operations(file)
      assert counts['CONV_2D', 'int8'] == 14
      assert not counts['CONV_2D', 'float32']


def test_each_stream_has_channels_of_its_own_to_cut(fused):
  model, variables, x = fused
  found = units.find(model, variables, x)
  streams = {name: set(found.of(name)) for name in SHAPES}
  assert 'flow/cnn/stem/conv' in streams['flow']
  assert {name.replace('flow/', 'rgb/') for name in streams['flow']} == streams['rgb']
