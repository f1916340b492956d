"""Image networks on frames become convolutions that runtimes fuse, in float and in int8."""

import collections

import jax
import numpy as np
import onnx as onnx_library
import pytest

from har.compress.quantise import FoldedModel, Scheme, calibrate
from har.export import litert, onnx
from har.models import registry
from tests import fakes

DEPTHWISE, OTHERS = 3, 7


@pytest.mark.parametrize('scheme', [None, Scheme()], ids=['float', 'int8'])
def test_files_agree_and_hold_nothing_between_convolutions(monkeypatch, scheme):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
  model = registry.build(['rgb'], {'rgb': {'kind': 'tiny'}}, {'kind': 'linear'}, 3)
  x = {'rgb': np.random.default_rng(0).standard_normal((3, 2, 12, 12, 3)).astype(np.float32)}
  variables = fakes.draw_variables(model, x)
  folded = FoldedModel(model, variables, scheme)
  values = folded.fold(variables, x)
  values = values if scheme is None else calibrate(folded, values, [x])
  values = jax.tree.map(np.asarray, values)
  expected = np.asarray(jax.jit(lambda x: folded.apply(values, x).logits)(x))
  shapes = {'rgb': jax.ShapeDtypeStruct((1, 2, 12, 12, 3), np.float32)}

  files = {}
  for library in (litert, onnx):
    files[library] = library.convert(
      lambda x: folded.apply(values, x, mark=True).named(), shapes, int8=scheme is not None
    )
    runner = library.Runner(files[library])
    logits = np.concatenate([runner({'rgb': one[None]})['logits'] for one in x['rgb']])
    tolerance = 1e-5 if scheme is None else 0.02 * np.ptp(expected)
    np.testing.assert_allclose(logits, expected, atol=tolerance)

  counts = litert.operations(files[litert])
  kind = 'float32' if scheme is None else 'int8'
  assert counts['DEPTHWISE_CONV_2D', kind] == DEPTHWISE
  assert counts['CONV_2D', kind] == OTHERS
  assert not any('RELU' in name for name, _ in counts)
  nodes = onnx_library.load_from_string(files[onnx]).graph.node
  counts = collections.Counter(node.op_type for node in nodes)
  groups = [a.i for n in nodes for a in n.attribute if a.name == 'group' and a.i > 1]
  assert (counts['Conv'], len(groups)) == (DEPTHWISE + OTHERS, DEPTHWISE)
  assert counts['Transpose'] == 2  # what goes in, and what the last convolution gives
  assert counts['Clip'] == (7 if scheme is None else 0)  # int8 values end at the limit
  assert not counts['Relu']
  assert not counts['Min']
