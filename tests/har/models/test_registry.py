"""Models from configs, and the mistakes that configs can hold."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from har.errors import UserError
from har.models.mode import Mode
from har.models.registry import build

ENCODERS = ml_collections.ConfigDict(
  {
    'imu': {'kind': 'cnn1d', 'channels': [8, 8, 8], 'kernels': (5, 3, 3)},
    'depth': {'kind': 's3d', 'width': 0.125},
    'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': 1},
  }
)
RNG = np.random.default_rng(0)
INPUTS = {
  'imu': RNG.standard_normal((2, 20, 6)).astype(np.float32),
  'imu_mask': np.arange(20) < np.array([[20], [12]]),
  'depth': RNG.standard_normal((2, 4, 8, 8, 3)).astype(np.float32),
  'skeleton': RNG.standard_normal((2, 6, 20, 3)).astype(np.float32),
}


def test_parameters_are_grouped_by_modality():
  model = build(['skeleton', 'imu', 'depth'], ENCODERS, {'kind': 'concat_mlp'}, 5)
  params = jax.eval_shape(model.init, jax.random.key(0), INPUTS)['params']
  assert sorted(params) == ['depth', 'head', 'imu', 'skeleton']
  assert 'Mixed_5c' in params['depth']


def test_masks_reach_their_encoder():
  model = build(['skeleton', 'imu'], ENCODERS, {'kind': 'concat_mlp'}, 5)
  variables = jax.jit(model.init)(jax.random.key(0), INPUTS)
  logits = jax.jit(model.apply)(variables, INPUTS).logits
  assert logits.shape == (2, 5)
  # It changes the example that has padding, and only that.
  full = INPUTS | {'imu_mask': np.ones((2, 20), bool)}
  other = jax.jit(model.apply)(variables, full).logits
  np.testing.assert_allclose(other[0], logits[0], atol=1e-5)
  assert not np.allclose(other[1], logits[1], atol=1e-5)


def test_patterns_name_what_trains():
  encoders = {'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8, 8, 8)}}
  model = build(['imu'], encoders, {'kind': 'linear', 'dropout': 0.5}, 5)
  inputs = {'imu': INPUTS['imu']}
  variables = jax.jit(model.init)(jax.random.key(0), inputs)
  _, updates = model.apply(variables, inputs, Mode(True, ('imu/bn_3',)), mutable=['batch_stats'])
  for name, stats in updates['batch_stats']['imu'].items():
    same = np.array_equal(stats['mean'], variables['batch_stats']['imu'][name]['mean'])
    assert same == (name != 'bn_3')


def test_bfloat16_keeps_parameters_and_logits_in_float32():
  model = build(['imu'], ENCODERS, {'kind': 'linear'}, 5, 'bfloat16')
  variables = jax.jit(model.init)(jax.random.key(0), INPUTS)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  assert model.apply(variables, INPUTS).logits.dtype == jnp.float32


@pytest.mark.parametrize(
  ('modalities', 'encoders', 'head', 'dtype', 'match'),
  [
    (['rgb'], {}, {}, 'float32', "modality 'rgb' has no encoder .* depth, imu, skeleton"),
    ([], {}, {}, 'float32', 'at least one modality'),
    (
      ['imu'],
      {'imu': {'kind': 'transformer'}},
      {},
      'float32',
      "encoders.imu.kind='transformer': must be one of 'c3d', 'cnn1d'",
    ),
    (['imu'], {'imu': {}}, {}, 'float32', 'encoders.imu.kind is missing'),
    (
      ['imu'],
      {'imu': {'kind': 'cnn1d', 'depth': 3}},
      {},
      'float32',
      'encoders.imu.depth=3: no such option; there are kind, channels, kernels, strides',
    ),
    (['imu'], {}, {'kind': 'mean'}, 'float32', "head.kind='mean': must be one of 'linear', 'mlp'"),
    (
      ['imu'],
      {},
      {'kind': 'linear', 'hidden': 3},
      'float32',
      'head.hidden=3: no such',
    ),
    (['imu'], {}, {'kind': 'linear', 'num_classes': 3}, 'float32', 'head.num_classes=3: no such'),
    (['imu'], {'imu': {'kind': 'cnn1d', 'dropout': 1}}, {}, 'float32', 'imu.dropout=1: must be a '),
  ],
)
def test_user_errors(modalities, encoders, head, dtype, match):
  with pytest.raises(UserError, match=match):
    build(modalities, ENCODERS.to_dict() | encoders, head or {'kind': 'linear'}, 5, dtype)
