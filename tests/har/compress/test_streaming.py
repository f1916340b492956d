"""A stream's steps give what the whole clip gives, in float and in int8."""

import jax
import numpy as np
import pytest

from har.compress.quantise import FoldedModel, Scheme, calibrate
from har.compress.streaming import StepModel, step_form
from har.errors import UserError
from har.models import registry
from tests import fakes

X = {'imu': np.random.default_rng(0).standard_normal((1, 9, 6)).astype(np.float32)}
ENCODERS = {
  'lstm': {'kind': 'lstm', 'features': 8, 'pooling': 'mean_max'},
  'gru': {'kind': 'gru', 'features': 8, 'layers': 1},
  'tcn': {'kind': 'tcn', 'features': (8, 8), 'kernel': 3, 'pooling': 'last'},
  'frames': {'kind': 'frames', 'temporal': 'gru', 'features': 8},
  'shifted': {'kind': 'frames', 'temporal': 'mean', 'shift': 'causal'},
}
VIDEO = {'imu': np.random.default_rng(0).standard_normal((1, 9, 8, 8, 3)).astype(np.float32)}


def recogniser(encoder):
  return registry.build(['imu'], {'imu': encoder}, {'kind': 'linear'}, 4)


@pytest.fixture(autouse=True)
def frames(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'frames', fakes.TinyFrames)


@pytest.mark.parametrize('scheme', [None, Scheme()], ids=['float', 'int8'])
@pytest.mark.parametrize('kind', ENCODERS)
def test_steps_give_the_logits_of_the_whole_clip(kind, scheme):
  model = recogniser(ENCODERS[kind])
  x = VIDEO if ENCODERS[kind]['kind'] == 'frames' else X
  variables = dict(jax.jit(model.init)(jax.random.key(0), x))
  whole = FoldedModel(model, variables, scheme)
  folded = whole.fold(variables, x)
  if scheme is not None:
    folded = calibrate(whole, folded, [x])
  step, step_variables, inputs = step_form(whole, folded, x)
  apply = jax.jit(lambda inputs: step.apply(step_variables, inputs))
  for t in range(9):
    out = apply(inputs | {'imu': x['imu'][:, t]})
    logits = out.pop('logits')
    assert {name: x.shape for name, x in out.items()} == {
      name: x.shape for name, x in inputs.items() if name != 'imu'
    }
    inputs |= out
  expected = jax.jit(whole.apply)(folded, x).logits
  np.testing.assert_allclose(logits, expected, atol=1e-5 if scheme is None else 0.02)
  assert all(one.quantised == (scheme is not None) for one in step.graph(inputs).layers)


@pytest.mark.parametrize(
  ('modalities', 'encoder', 'match', 'head'),
  [
    (['imu'], {'kind': 'lstm', 'bidirectional': True}, 'LSTM of imu is not causal', 'linear'),
    (['imu'], {'kind': 'frames', 'temporal': 'bilstm'}, 'of imu is not causal', 'linear'),
    (['imu'], {'kind': 'frames', 'shift': 'both'}, 'of imu is not causal', 'linear'),
    (['imu'], {'kind': 'cnn_gru'}, 'CnnGRU of imu is not causal', 'linear'),
    (['imu', 'skeleton'], {'kind': 'lstm'}, 'imu and skeleton takes more than one input', 'mlp'),
    (['imu'], {'kind': 'gru'}, 'Attention reads all steps at once', 'attention'),
  ],
)
def test_what_cannot_be_streamed_is_refused(modalities, encoder, match, head):
  encoders = {'imu': encoder, 'skeleton': {'kind': 'skeleton_cnn'}}
  model = registry.build(modalities, encoders, {'kind': head}, 4)
  with pytest.raises(UserError, match=match):
    StepModel(model)
