"""Arrays are split over devices as the config says, and training does not notice."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from har.errors import UserError
from har.models import registry
from har.train import accumulate, checkpoints, step
from har.train import mesh as mesh_lib
from har.train.optimizers import with_rate_scale
from tests import fakes, in_process

LARGEST = {'fsdp_rules': (('*', 'largest'),), 'fsdp_min_size': 64}
TRAINED = ('imu/conv_0', 'imu/bn_0')


def preprocess(batch, key=None):
  del key
  return {'imu': batch['imu'], 'imu_mask': batch['imu_mask']}


def make_batch(n=16):
  rng = np.random.default_rng(0)
  return {
    'imu': rng.normal(size=(n, 60, 6)).astype(np.float32),
    'imu_mask': np.ones((n, 60), bool),
    'label': (np.arange(n) % 5).astype(np.int32),
    'mask': np.ones(n, bool),
  }


@pytest.fixture(scope='module')
def model():
  encoders = {'imu': {'kind': 'cnn1d_bn', 'channels': (8, 16), 'kernels': (5, 3), 'pools': (2, 1)}}
  return registry.build(('imu',), encoders, {'kind': 'linear'}, 5)


@pytest.fixture(scope='module')
def variables(model):
  return fakes.draw_variables(model, preprocess(make_batch()))


def make_state(variables, mesh, trained=('*',), runtime=LARGEST, optimizer=None):
  optimizer = optimizer or optax.adam(1e-2)
  make = functools.partial(step.restart, optimizer=optimizer, trained=trained, ema=0.9)
  state = jax.eval_shape(make, variables)
  return jax.jit(make, out_shardings=mesh_lib.shardings(state, mesh, runtime))(variables)


def bytes_on_a_device(tree):
  return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ('error', 'reason'),
  [
    (RuntimeError("Unable to initialize backend 'tpu'\nmore"), 'initialize'),
    (AssertionError(), 'A'),
  ],
)
def test_devices_that_are_not_there_are_refused(error, reason, monkeypatch):
  def devices():
    raise error

  monkeypatch.setenv('JAX_PLATFORMS', 'tpu')
  monkeypatch.setattr(jax, 'devices', devices)
  with pytest.raises(UserError, match=f'^JAX_PLATFORMS=tpu: no such device .*{reason}.*=cpu$'):
    mesh_lib.initialise(cache_dir='')


def test_a_mesh_has_the_devices_in_order():
  mesh = mesh_lib.make_mesh(8, 4)
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 4}
  assert [d.id for d in mesh.devices.flat] == list(range(8))
  assert dict(mesh_lib.make_mesh(2).shape) == {'data': 2, 'fsdp': 1}


@pytest.mark.parametrize(
  ('devices', 'fsdp', 'message'),
  [
    (9, 1, r'config\.runtime\.devices asks for 9 devices and there are 8'),
    (8, 3, r'config\.runtime\.fsdp=3 does not divide the 8 devices'),
    (6, 4, r'config\.runtime\.fsdp=4 does not divide the 6 devices'),
    (0, 16, r'config\.runtime\.fsdp=16 does not divide the 8 devices'),
  ],
)
def test_devices_that_cannot_form_a_mesh_are_refused(devices, fsdp, message):
  with pytest.raises(UserError, match=message):
    mesh_lib.make_mesh(devices, fsdp)


@pytest.mark.parametrize(
  ('rules', 'expected'),
  [
    # The largest axis of the second kernel, 6, is not divisible.
    ((('*', 'largest'),), {'a/kernel': (3, None), 'b/kernel': (1, None), 'b/bias': ()}),
    ((('b', 'largest'),), {'a/kernel': (), 'b/kernel': (1, None), 'b/bias': ()}),
    ((('a', 0), ('*', 'none')), {'a/kernel': (0,), 'b/kernel': (), 'b/bias': ()}),
    ((('*/kernel', -1),), {'a/kernel': (3,), 'b/kernel': (1,), 'b/bias': ()}),
    ((('b', 'none'), ('*', -1)), {'a/kernel': (3,), 'b/kernel': (), 'b/bias': ()}),
  ],
)
def test_rules_say_which_axis_is_split(rules, expected):
  shapes = {'a': {'kernel': (4, 1, 4, 8)}, 'b': {'kernel': (6, 4), 'bias': (4,)}}
  tree = {'params': jax.tree.map(jnp.zeros, shapes, is_leaf=lambda x: isinstance(x, tuple))}
  runtime = {'fsdp_rules': rules, 'fsdp_min_size': 5}
  found = mesh_lib.shardings(tree, mesh_lib.make_mesh(8, 4), runtime)['params']
  for path, axis in expected.items():
    layer, name = path.split('/')
    wanted = PartitionSpec(*[None] * axis[0], 'fsdp') if axis else PartitionSpec()
    assert found[layer][name].spec == wanted, path


@pytest.mark.parametrize(
  ('rules', 'message'),
  [
    ((('*', 1),), r'axis 1 of a, whose shape is \(8, 6\), .* config\.runtime\.fsdp=4 devices'),
    ((('*', 2),), r'config\.runtime\.fsdp_rules: axis 2 of a'),
  ],
)
def test_rules_that_cannot_be_followed_are_refused(rules, message):
  runtime = {'fsdp_rules': rules, 'fsdp_min_size': 1}
  with pytest.raises(UserError, match=message):
    mesh_lib.shardings({'a': jnp.zeros((8, 6))}, mesh_lib.make_mesh(8, 4), runtime)


def test_each_device_holds_its_share_and_no_more(variables):
  """Kernels of 5x6x8 and 3x8x16 are split in four, so is the classifier's 32x5; vectors are not."""
  whole = 4 * (5 * 6 * 8 + 3 * 8 * 16 + 32 * 5)
  params = variables['params']
  vectors = sum(x.nbytes for x in jax.tree.leaves(params) if x.ndim == 1)
  assert whole + vectors == sum(x.nbytes for x in jax.tree.leaves(params))
  state = make_state(variables, mesh_lib.make_mesh(8, 4))
  copy = whole // 4 + vectors
  assert bytes_on_a_device(state.params) == copy
  assert bytes_on_a_device(state.ema) == copy
  assert bytes_on_a_device(state.opt_state) == 2 * copy + 4  # Adam's count of steps
  assert all(len(x.addressable_shards) == 8 for x in jax.tree.leaves(state))
  assert bytes_on_a_device(make_state(variables, mesh_lib.make_mesh(8)).params) == whole + vectors


def test_frozen_parameters_are_split_too(variables):
  state = make_state(variables, mesh_lib.make_mesh(8, 4), trained=TRAINED)
  (kernel,) = (x for x in jax.tree.leaves(state.params['head']) if x.ndim == 2)
  assert kernel.shape == (32, 5)
  assert kernel.addressable_shards[0].data.shape == (8, 5)
  assert set(state.ema) == {'imu'}


def train(model, variables, devices, fsdp, *, steps=20, trained=('*',), parts=1, mixup=0.0):
  """Losses of so many steps, and the last state."""
  mesh, optimizer = mesh_lib.make_mesh(devices, fsdp), with_rate_scale(optax.adam(1e-2))
  state = make_state(variables, mesh, trained, optimizer=optimizer)
  train_step = accumulate.compile_step(
    step.make_train_step(
      model,
      preprocess,
      fakes.classify(label_smoothing=0.1, mixup=mixup),
      optimizer,
      trained=trained,
      ema=0.9,
      seed=3,
    ),
    jax.eval_shape(lambda: state),
    trained=trained,
    accumulate=parts,
    mesh=mesh,
    runtime=LARGEST,
  )
  batch = [mesh_lib.put_batch(b, mesh) for b in accumulate.split(make_batch(), parts)]
  scale = jax.device_put(np.float32(1), mesh_lib.replicated(mesh))
  losses = []
  for _ in range(steps):
    with jax.transfer_guard('disallow'):
      state, metrics = train_step(state, batch, scale, None)
    losses.append(float(metrics['loss']))
  return losses, state


@pytest.mark.parametrize('mixup', [0.0, 0.3])
def test_split_parameters_train_as_whole_ones_do(mixup, model, variables):
  one, _ = train(model, variables, 1, 1, mixup=mixup)
  eight, state = train(model, variables, 8, 4, mixup=mixup)
  assert one[-1] < 0.8 * one[0]
  np.testing.assert_allclose(eight, one, rtol=0, atol=1e-5)
  # Steps leave arrays where they were.
  before = make_state(variables, mesh_lib.make_mesh(8, 4))
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(before), strict=True):
    assert a.sharding.is_equivalent_to(b.sharding, a.ndim)


def scrambled(state):
  """Other values in each array, on the host."""
  rng = np.random.default_rng(7)
  values = jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype), state)
  return values.replace(step=np.int32(5))


LAYOUTS = [(8, 4), (8, 1), (1, 1), (4, 2)]


@pytest.mark.parametrize('saved_on', LAYOUTS)
def test_checkpoints_are_restored_on_other_devices(saved_on, variables, tmp_path):
  """To the same bits: the state of an interrupted run, and the result of a finished one."""
  mesh = mesh_lib.make_mesh(*saved_on)
  like = make_state(variables, mesh)
  values = scrambled(like)
  state = jax.device_put(values, jax.tree.map(lambda x: x.sharding, like))
  with checkpoints.StageCheckpoints(tmp_path, 'imu') as saved:
    saved.save_latest(state, {'seconds': 1.0})
    saved.finish(5, {'params': state.params, 'batch_stats': state.batch_stats}, {'steps': 5})
  for layout in LAYOUTS:
    mesh = mesh_lib.make_mesh(*layout)
    like = make_state(variables, mesh)
    with checkpoints.StageCheckpoints(tmp_path, 'imu') as saved:
      found, meta = saved.restore_latest(like)
    assert meta == {'seconds': 1.0}
    assert_equal_on(found, values, like)
    where = mesh_lib.shardings(variables, mesh, LARGEST)
    final, meta = checkpoints.load_final(tmp_path, 'imu', variables, where)
    assert meta == {'steps': 5}
    assert_equal_on(final['params'], values.params, like.params)
    assert_equal_on(final['batch_stats'], values.batch_stats, like.batch_stats)
    kernel = final['params']['imu']['conv_0']['kernel']
    assert math.prod(kernel.shape) == kernel.addressable_shards[0].data.size * layout[1]


def assert_equal_on(found, values, like):
  """The same bits, with the shardings of `like`."""
  assert jax.tree.structure(found) == jax.tree.structure(values)
  leaves = map(jax.tree.leaves, (found, values, like))
  for x, value, where in zip(*leaves, strict=True):
    np.testing.assert_array_equal(x, value)
    assert x.sharding.is_equivalent_to(where.sharding, x.ndim)


@pytest.mark.parametrize(('given', 'expected'), [('0', 0.0), (None, 0.5)])
def test_programs_that_compile_quickly_are_kept_where_the_environment_says_so(
  given, expected, tmp_path, monkeypatch
):
  name = 'jax_persistent_cache_min_compile_time_secs'
  monkeypatch.delenv(name.upper())
  if given is not None:
    monkeypatch.setenv(name.upper(), given)
  with in_process.settings_kept():
    jax.config.update(name, 0.0)
    mesh_lib.initialise(cache_dir=str(tmp_path))
    assert getattr(jax.config, name) == expected
