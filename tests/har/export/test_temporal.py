"""Recurrent and two-sided models become files, in float and in int8, with masks too."""

import jax
import numpy as np
import pytest

from har.compress.quantise import FoldedModel, Scheme, calibrate
from har.export import litert, onnx
from har.models import registry

RNG = np.random.default_rng(0)
X = {
  'imu': RNG.standard_normal((8, 4, 6)).astype(np.float32),
  'imu_mask': np.arange(4) < RNG.integers(2, 5, 8)[:, None],
}
KINDS = {
  'bilstm': {'kind': 'lstm', 'features': 8, 'bidirectional': True},
  'gru': {'kind': 'gru', 'features': 8, 'layers': 1},
  'samples': {'kind': 'samples'},
}
HEADS = {'samples': {'kind': 'between', 'features': (4,), 'kernel': 3, 'hidden': 8, 'skip': 0}}


@pytest.mark.parametrize('scheme', [None, Scheme()], ids=['float', 'int8'])
@pytest.mark.parametrize('kind', KINDS)
def test_files_agree(kind, scheme):
  model = registry.build(['imu'], {'imu': KINDS[kind]}, HEADS.get(kind, {'kind': 'linear'}), 5)
  output = 'anomaly' if kind in HEADS else 'logits'
  variables = dict(model.init(jax.random.key(0), X))
  folded = FoldedModel(model, variables, scheme)
  values = folded.fold(variables, X)
  if scheme is not None:
    values = calibrate(folded, values, [X])
  values = jax.tree.map(np.asarray, values)
  expected = np.asarray(jax.jit(lambda x: folded.apply(values, x).named()[output])(X))
  numbers = X | {'imu_mask': X['imu_mask'].astype(np.float32)}
  inputs = {n: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for n, x in numbers.items()}

  def call(x):
    return folded.apply(values, x | {'imu_mask': x['imu_mask'] > 0.5}, mark=True).named()

  for library in (litert, onnx):
    runner = library.Runner(library.convert(call, inputs, int8=scheme is not None))
    each = [runner({n: x[i : i + 1] for n, x in numbers.items()})[output] for i in range(8)]
    tolerance = 1e-4 if scheme is None else 0.03 * np.ptp(expected)
    np.testing.assert_allclose(np.concatenate(each), expected, atol=tolerance)
