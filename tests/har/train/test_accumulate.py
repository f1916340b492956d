"""A batch in several parts gives the gradients of the whole batch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from har.errors import UserError
from har.models import registry
from har.models.mode import Mode
from har.train import accumulate, step
from har.train import mesh as mesh_lib
from har.train.optimizers import with_rate_scale
from tests import fakes
from tests.har.train import test_mesh, test_step

PLAIN = {'kind': 'cnn1d', 'channels': (8, 8, 8), 'dropout': 0.0}
NORMED = {'kind': 'cnn1d_bn', 'channels': (8,), 'kernels': (5,), 'pools': (2,), 'dropout': 0.0}
RUNTIME = test_mesh.LARGEST


def build(encoder, head=None):
  model = registry.build(('imu',), {'imu': encoder}, head or {'kind': 'linear'}, 5)
  variables = fakes.draw_variables(model, test_mesh.preprocess(test_mesh.make_batch()))
  # A loss of order 1.
  variables['params']['head'] = jax.tree.map(lambda x: 0.1 * x, variables['params']['head'])
  return model, variables


def make(model, preprocess=test_mesh.preprocess):
  optimizer = with_rate_scale(optax.sgd(1e-2, 0.9))
  made = step.make_train_step(
    model,
    preprocess,
    fakes.classify(label_smoothing=0.1),
    optimizer,
    trained=('*',),
    ema=0.9,
    seed=3,
  )
  return made, optimizer


def run(model, variables, count, devices=1, fsdp=1, steps=5):
  train_step, optimizer = make(model)
  mesh = mesh_lib.make_mesh(devices, fsdp)
  state = test_mesh.make_state(variables, mesh, optimizer=optimizer)
  compiled = accumulate.compile_step(
    train_step,
    jax.eval_shape(lambda: state),
    trained=('*',),
    accumulate=count,
    mesh=mesh,
    runtime=RUNTIME,
  )
  parts = [mesh_lib.put_batch(b, mesh) for b in accumulate.split(test_mesh.make_batch(), count)]
  scale = jax.device_put(np.float32(1), mesh_lib.replicated(mesh))
  metrics = []
  for _ in range(steps):
    with jax.transfer_guard('disallow'):
      state, one = compiled(state, parts, scale, None)
    metrics.append(one)
  return jax.device_get((metrics, state))


def test_microbatches_take_turns():
  batch = {'label': np.arange(6), 'imu': np.arange(12).reshape(6, 2)}
  first, second, third = accumulate.split(batch, 3)
  assert [list(b['label']) for b in (first, second, third)] == [[0, 3], [1, 4], [2, 5]]
  np.testing.assert_array_equal(second['imu'], [[2, 3], [8, 9]])


@pytest.mark.parametrize(('devices', 'fsdp'), [(1, 1), (4, 2)])
def test_four_microbatches_equal_the_whole_batch(devices, fsdp):
  model, variables = build(PLAIN)
  whole, expected = run(model, variables, 1)
  parts, found = run(model, variables, 4, devices, fsdp)
  assert whole[-1]['loss'] < whole[0]['loss'] - 1e-3
  assert int(found.step) == 5
  chex.assert_trees_all_close(parts, whole, rtol=0, atol=1e-6)
  for tree in ('params', 'ema', 'opt_state'):
    chex.assert_trees_all_close(getattr(found, tree), getattr(expected, tree), rtol=0, atol=1e-6)


def test_each_microbatch_moves_the_running_statistics_in_turn():
  model, variables = build(NORMED)
  _, state = run(model, variables, 4, steps=1)
  stats = variables['batch_stats']
  for part in accumulate.split(test_mesh.make_batch(), 4):
    now = {'params': variables['params'], 'batch_stats': stats}
    inputs = test_mesh.preprocess(part)
    _, new = model.apply(now, inputs, Mode(train=True), mutable=['batch_stats'])
    stats = new['batch_stats']
  chex.assert_trees_all_close(state.batch_stats, stats, rtol=1e-5, atol=1e-6)
  _, other = run(model, variables, 1, steps=1)
  mean = ('imu', 'bn_0', 'mean')
  assert np.abs(_at(other.batch_stats, mean) - _at(stats, mean)).max() > 1e-2


def _at(tree, path):
  for name in path:
    tree = tree[name]
  return tree


@pytest.mark.parametrize('random', ['augmentation', 'dropout', 'nothing'])
def test_microbatches_have_random_keys_of_their_own(random):
  head = {'kind': 'linear', 'dropout': 0.5 if random == 'dropout' else 0.0}
  model, variables = build(PLAIN, head)
  preprocess = test_step._preprocess if random == 'augmentation' else test_mesh.preprocess
  train_step, optimizer = make(model, preprocess)
  state = step.restart(variables, optimizer, trained=('*',), ema=0.0)
  add, batch = jax.jit(train_step.add), test_mesh.make_batch()
  state, sums = jax.jit(train_step.first)(state, batch)
  losses = [0.0, float(sums.metrics['loss'])]
  for _ in range(2):
    state, sums = add(state, sums, batch)
    losses.append(float(sums.metrics['loss']))
  assert int(sums.count) == 3
  different = len(set(np.diff(losses).round(4)))
  assert different == (1 if random == 'nothing' else 3)


def test_the_mean_is_over_microbatches():
  model, variables = build(PLAIN)
  train_step, optimizer = make(model)
  state = step.restart(variables, optimizer, trained=('*',), ema=0.9)
  metrics = {'loss': jnp.float32(6), 'top1': jnp.float32(3)}
  sums = step.Sums(jnp.int32(4), metrics, jax.tree.map(jnp.zeros_like, state.params))
  _, metrics = jax.jit(train_step.apply)(state, sums, jnp.float32(1))
  assert {k: float(v) for k, v in metrics.items()} == {
    'loss': 1.5,
    'top1': 0.75,
    'gradient_norm': 0.0,
  }


@pytest.mark.parametrize(
  ('batch_size', 'devices', 'count', 'message'),
  [
    (8, 1, 3, r'config\.stages\.imu\.accumulate=3 does not divide the 8 examples that each of 1 '),
    (8, 4, 4, r'config\.stages\.imu\.accumulate=4 does not divide the 2 examples that each of 4 '),
    (8, 3, 1, r'config\.stages\.imu\.batch_size=8 is not a multiple of the 3 devices'),
  ],
)
def test_batches_that_cannot_be_split_are_refused(batch_size, devices, count, message):
  mesh = mesh_lib.make_mesh(devices)
  with pytest.raises(UserError, match=message):
    mesh_lib.check_batch_size(batch_size, mesh, 'config.stages.imu', count)
