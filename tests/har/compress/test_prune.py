"""Pruning zeroes exactly as many weights as said, when said, and they stay zero."""

import dataclasses
import gzip

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from har.compress import prune
from har.compress.prune import Pruning
from har.errors import UserError
from har.models import registry
from har.train import step
from har.train.optimizers import with_rate_scale
from har.train.state import inference_variables
from tests import fakes


def params(seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
  return {
    'imu': {
      'conv_0': {'kernel': draw(3, 8, 10), 'bias': np.zeros(10, np.float32)},
      'conv_1': {'kernel': 0.1 * draw(3, 10, 8)},
      'bn_0': {'scale': np.zeros(8, np.float32)},
    },
    'head': {'imu': {'kernel': draw(8, 5), 'bias': np.zeros(5, np.float32)}},
  }


def test_global_pruning_zeroes_the_smallest_weights_of_all_kernels():
  before = params()
  after = prune.prune(before, Pruning(0.5))
  kernels = [
    (before['imu'][n]['kernel'], after['imu'][n]['kernel']) for n in ('conv_0', 'conv_1')
  ] + [(before['head']['imu']['kernel'], after['head']['imu']['kernel'])]
  assert sum(np.sum(b == 0) for _, b in kernels) == (240 + 240 + 40) // 2
  dropped = max(np.abs(a[b == 0]).max() for a, b in kernels if np.any(b == 0))
  left = min(np.abs(a[b != 0]).min() for a, b in kernels if np.any(b != 0))
  assert dropped < left
  # The kernel of small weights lost more than the others.
  assert np.mean(kernels[1][1] == 0) > 0.8 > np.mean(kernels[0][1] == 0)
  for a, b in kernels:
    np.testing.assert_array_equal(b[b != 0], a[b != 0])
  np.testing.assert_array_equal(after['imu']['bn_0']['scale'], before['imu']['bn_0']['scale'])


@pytest.mark.parametrize('sparsity', [0.0, 0.3, 0.77, 0.999])
def test_pruning_per_layer_counts_exactly(sparsity):
  after = prune.prune(params(), Pruning(sparsity, 'layer'))
  assert prune.zeros(after) == {
    'imu/conv_0/kernel': (round(sparsity * 240), 240),
    'imu/conv_1/kernel': (round(sparsity * 240), 240),
    'head/imu/kernel': (round(sparsity * 40), 40),
  }


def test_equal_magnitudes_are_counted_too():
  tree = {'kernel': np.ones((4, 4), np.float32)}
  assert prune.zeros(prune.prune(tree, Pruning(0.25)))['kernel'] == (4, 16)


def test_pruning_again_changes_nothing():
  once = prune.prune(params(), Pruning(0.6))
  again = prune.prune(once, Pruning(0.6))
  assert prune.zeros(again) == prune.zeros(once)


def test_two_of_four_input_channels_are_left():
  after = prune.prune(params(), Pruning(0.5, '2:4'))
  before = params()['imu']['conv_0']['kernel']
  kernel = np.asarray(after['imu']['conv_0']['kernel'])
  groups = kernel.reshape(3, 2, 4, 10)
  np.testing.assert_array_equal((groups != 0).sum(2), 2)
  lost = np.sort(np.abs(before.reshape(3, 2, 4, 10)), 2)[:, :, :2].sum()
  assert np.abs(before).sum() - np.abs(kernel).sum() == pytest.approx(lost, rel=1e-5)
  # Ten input channels are no multiple of four.
  assert prune.zeros(after)['imu/conv_1/kernel'] == (0, 240)
  # A quarter of the weights: half of the groups.
  half = np.asarray(prune.prune(params(), Pruning(0.25, '2:4'))['imu']['conv_0']['kernel'])
  counts = (half.reshape(3, 2, 4, 10) != 0).sum(2)
  assert (np.sum(counts == 2), np.sum(counts == 4)) == (30, 30)


def test_excluded_zero_and_frozen_kernels_stay_dense():
  tree = params()
  tree['head']['logits'] = {'kernel': np.zeros((8, 5), np.float32)}
  pruning = Pruning(0.5, exclude=('imu/conv_0',))
  assert prune.kernels(tree, pruning) == (('imu', 'conv_1', 'kernel'), ('head', 'imu', 'kernel'))
  once = dataclasses.replace(pruning, schedule='one_shot')
  after, _ = prune.gradually(tree, once, ('head',))
  zeros = prune.zeros(after)
  assert zeros['head/imu/kernel'] == (20, 40)
  assert zeros['head/logits/kernel'] == (40, 40)
  assert zeros['imu/conv_1/kernel'] == (0, 240)
  free = prune.free(after, [('head', 'imu', 'kernel')])
  assert bool(free['head']['logits']['kernel'].all())
  assert bool(free['head']['imu']['bias'].all())
  np.testing.assert_array_equal(free['head']['imu']['kernel'], after['head']['imu']['kernel'] != 0)


def test_the_cubic_schedule():
  events = Pruning(0.8, begin=0.1, end=0.5, times=4).events(100)
  # s (1 - (1 - t)^3) at t = 1/4, 1/2, 3/4, 1.
  assert events == pytest.approx({20: 0.4625, 30: 0.7, 40: 0.7875, 50: 0.8})
  assert Pruning(0.8, schedule='one_shot', begin=0.1).events(100) == {10: 0.8}
  # However few the steps are, the last event comes before the last of them.
  assert Pruning(0.8, end=1.0, times=20).events(3)[2] == 0.8


def test_weights_are_pruned_at_their_steps_only():
  tree = params()
  start, wrap = prune.gradually(tree, Pruning(0.5, 'layer', end=0.5, times=2))
  optimizer = wrap(with_rate_scale(optax.sgd(0.0)), 8)
  state, zeros = optimizer.init(start), []
  update = jax.jit(optimizer.update)
  for _ in range(8):
    zeros.append(prune.zeros(start)['imu/conv_0/kernel'][0])
    changes, state = update(start, state, start, rate_scale=1.0)
    start = optax.apply_updates(start, changes)
  # 0.5 (1 - 1/8) of 240 before step 2, a half before step 4.
  assert zeros == [0, 0, 105, 105, 120, 120, 120, 120]


def test_a_stage_of_one_step_is_pruned_too():
  tree = params()
  start, wrap = prune.gradually(tree, Pruning(0.5, 'layer'))
  optimizer = wrap(with_rate_scale(optax.sgd(0.0)), 1)
  changes, _ = optimizer.update(start, optimizer.init(start), start, rate_scale=1.0)
  after = optax.apply_updates(start, changes)
  assert prune.zeros(after)['imu/conv_0/kernel'][0] == 120


class _Preprocess:
  def __call__(self, batch, key=None):
    return {'imu': batch['imu']}


@pytest.mark.parametrize('scope', ['global', 'layer', '2:4'])
def test_zeros_survive_training_steps_and_the_average_has_them(scope):
  model = registry.build(
    ('imu',),
    {'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8), 'kernels': (5, 5), 'pools': 1}},
    {'kind': 'linear'},
    3,
  )
  rng = np.random.default_rng(0)
  batch = {
    'imu': rng.standard_normal((8, 24, 4)).astype(np.float32),
    'label': np.arange(8, dtype=np.int32) % 3,
  }
  variables = jax.jit(model.init)(jax.random.key(0), {'imu': batch['imu']})
  pruning = Pruning(0.5, scope, end=0.5, times=2)
  _, wrap = prune.gradually(variables['params'], pruning)
  optimizer = wrap(with_rate_scale(optax.adamw(1e-2, weight_decay=0.1)), 10)
  train_step = step.make_train_step(
    model,
    _Preprocess(),
    fakes.classify(3),
    optimizer,
    trained=('*',),
    ema=0.9,
    seed=0,
  )
  state = step.restart(variables, optimizer, trained=('*',), ema=0.9)
  train_step = jax.jit(train_step.whole)
  masks = []
  for _ in range(10):
    state, metrics = train_step(state, batch, 0.5)
    masks.append(jax.tree.map(lambda x: np.asarray(x) == 0, state.params))
  assert np.isfinite(metrics['loss'])
  paths = prune.kernels(variables['params'], pruning)
  assert len(paths) == 3
  total = {'/'.join(p): prune.zeros(state.params)['/'.join(p)] for p in paths}
  sizes = sum(size for _, size in total.values())
  assert sum(zero for zero, _ in total.values()) == sizes // 2
  # After step 5 nothing is pruned any more; weights that are left go on moving.
  for a, b in zip(jax.tree.leaves(masks[5]), jax.tree.leaves(masks[-1]), strict=True):
    np.testing.assert_array_equal(a, b)
  averaged = prune.zeros(inference_variables(state)['params'])
  assert averaged == prune.zeros(state.params)
  kernel = state.params['imu']['conv_0']['kernel']
  assert np.all((kernel != variables['params']['imu']['conv_0']['kernel'])[kernel != 0])


def test_held_weights_stay_as_sparse_as_they_are():
  tree = prune.prune(params(), Pruning(0.9, 'layer'))
  optimizer = prune.hold(tree, Pruning(0.9, 'layer'))(with_rate_scale(optax.sgd(0.1)), 4)
  grads = jax.tree.map(jnp.ones_like, tree)
  changes, _ = optimizer.update(grads, optimizer.init(tree), tree, rate_scale=1.0)
  after = optax.apply_updates(tree, changes)
  assert prune.zeros(after) == prune.zeros(tree)
  moved = np.asarray(after['imu']['conv_0']['kernel'] != tree['imu']['conv_0']['kernel'])
  assert moved.sum() == 240 - 216


def test_sizes_in_bytes():
  tree = {'kernel': np.zeros((10, 10), np.float32), 'bias': np.ones(10, np.float32)}
  tree['kernel'][0] = np.pi
  sizes = prune.sparse_bytes(tree)
  assert sizes['dense'] == 440
  # 13 bytes of bits and 10 values; the bias is smaller as it is.
  assert sizes['compressed'] == 13 + 40 + 40
  together = tree['bias'].tobytes() + tree['kernel'].tobytes()
  assert sizes['gzip'] == len(gzip.compress(together, 9, mtime=0))
  int8 = {'kernel': np.eye(8, dtype=np.int8)}
  assert prune.sparse_bytes(int8)['compressed'] == 8 + 8


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'scope': '2:4', 'sparsity': 0.8}, "sparsity=0.8: must be at most 0.5 for scope='2:4'"),
    ({'begin': 0.6}, 'begin=0.6: must be at most end=0.5'),
    ({'exclude': ('rgb',)}, "the pattern 'rgb' of pruning.exclude matches no kernel"),
    ({'exclude': ('imu', 'head')}, 'there is no kernel to prune'),
  ],
)
def test_wrong_settings_are_user_errors(settings, message):
  with pytest.raises(UserError, match=message):
    prune.prune(params(), Pruning(**settings))


def test_recurrent_kernels_are_pruned():
  model = registry.build(
    ['imu'], {'imu': {'kind': 'gru', 'features': 8, 'layers': 1}}, {'kind': 'linear'}, 5
  )
  params = model.init(jax.random.key(0), {'imu': jnp.ones((1, 4, 6))})['params']
  found = prune.zeros(prune.prune(params, Pruning(sparsity=0.5, scope='layer')))
  assert found == {
    'imu/layer/forward_0/input/kernel': (72, 144),
    'imu/layer/forward_0/recurrent/kernel': (96, 192),
    'head/imu/kernel': (20, 40),
  }
