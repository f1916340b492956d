import functools

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from har.models import registry
from har.models.mode import Mode
from har.objectives.classify import cross_entropy
from har.objectives.distil import Distil
from har.train import mesh as mesh_lib
from har.train import step
from har.train.optimizers import with_rate_scale
from har.train.state import TrainState
from tests import fakes

TRAINED = ('rgb/Mixed_4c', 'rgb/Mixed_5c', 'imu', 'head')


def _preprocess(batch, key=None):
  inputs = {k: v for k, v in batch.items() if k not in ('label', 'mask')}
  if key is not None and 'imu' in inputs:
    inputs['imu'] += 0.1 * jax.random.normal(key, inputs['imu'].shape)
  return inputs


def _batch(n=16, video=False):
  rng = np.random.default_rng(0)
  batch = {
    'imu': rng.normal(size=(n, 60, 6)).astype(np.float32),
    'imu_mask': np.ones((n, 60), bool),
    'label': (np.arange(n) % 5).astype(np.int32),
    'mask': np.ones(n, bool),
  }
  if video:
    batch['rgb'] = rng.normal(size=(n, 8, 32, 32, 3)).astype(np.float32)
  return batch


@pytest.fixture(scope='module')
def fusion():
  """A two-modality model and its variables."""
  encoders = {
    'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8, 8, 8), 'dropout': 0.5},
    'rgb': {'kind': 's3d', 'width': 0.125, 'conv': 'plain'},
  }
  head = {'kind': 'concat_mlp', 'hidden': 16}
  model = registry.build(('imu', 'rgb'), encoders, head, 5)
  batch = _batch(4, video=True)
  return model, batch, fakes.draw_variables(model, _preprocess(batch))


def _make(model, variables, trained, ema=0.0, seed=3, auxiliary=0.0):
  optimizer = with_rate_scale(optax.adam(1e-2))
  state = step.restart(variables, optimizer, trained=trained, ema=ema)
  objective = fakes.classify(label_smoothing=0.1, auxiliary=auxiliary)
  train_step = step.make_train_step(
    model, _preprocess, objective, optimizer, trained=trained, ema=ema, seed=seed
  )
  return state, jax.jit(train_step.whole)


def test_a_teacher_takes_the_place_of_labels():
  model = registry.build(
    ('imu',), {'imu': {'kind': 'cnn1d', 'dropout': 0.0}}, {'kind': 'linear'}, 5
  )
  batch = _batch(4)
  variables = fakes.draw_variables(model, _preprocess(batch))
  facts = fakes.classify().facts
  optimizer = with_rate_scale(optax.adam(1e-2))
  made = step.make_train_step(
    model,
    lambda batch, key: _preprocess(batch),
    Distil(facts, 'stage:itself', model),
    optimizer,
    trained=('*',),
    ema=0.0,
    seed=3,
  )
  train_step = jax.jit(made.whole)
  state = step.restart(variables, optimizer, trained=('*',), ema=0.0)
  wrong = {**batch, 'label': batch['label'] + 1}
  new, metrics = train_step(state, batch, 1.0, variables)
  assert float(metrics['gradient_norm']) < 1e-5
  chex.assert_trees_all_equal(new.params, train_step(state, wrong, 1.0, variables)[0].params)
  # The teacher is an argument of the step: another one is learnt without compiling anew.
  other = jax.tree.map(lambda x: 0.5 * x, variables)
  assert float(train_step(state, batch, 1.0, other)[1]['gradient_norm']) > 0.1
  assert train_step._cache_size() == 1


def test_mixup_blends_inputs_and_labels():
  head = {'kind': 'decision', 'dropout': 0.0}
  encoders = {'imu': {'kind': 'cnn1d', 'dropout': 0.0}}
  model = registry.build(('imu',), encoders, head, 5)
  batch = {**_batch(4), 'label': jnp.array([0, 1, 2, 3])}
  variables = fakes.draw_variables(model, _preprocess(batch))
  # So even that every share is one half.
  objective = fakes.classify(label_smoothing=0.1, auxiliary=2.0, mixup=1e8)
  optimizer = with_rate_scale(optax.sgd(0.1))
  made = step.make_train_step(
    model,
    lambda batch, key: _preprocess(batch),
    objective,
    optimizer,
    trained=('*',),
    ema=0.0,
    seed=0,
  )
  state = step.restart(variables, optimizer, trained=('*',), ema=0.0)
  _, metrics = jax.jit(made.whole)(state, batch, 1.0)
  inputs = _preprocess(batch)
  inputs['imu'] = (inputs['imu'] + np.roll(inputs['imu'], 1, 0)) / 2
  outputs = model.apply(variables, inputs)

  def loss_of(labels):
    parts = (outputs.logits, outputs.own_logits['imu'])
    whole, own = (cross_entropy(logits, labels, 0.1) for logits in parts)
    return jnp.mean(whole + 2 * own)

  expected = (loss_of(batch['label']) + loss_of(jnp.roll(batch['label'], 1))) / 2
  assert float(metrics['loss']) == pytest.approx(float(expected), rel=1e-4)


def test_frozen_parts_stay_and_trained_parts_move(fusion):
  model, batch, variables = fusion
  state, train_step = _make(model, variables, TRAINED)
  new, metrics = train_step(state, batch, jnp.float32(1))
  assert int(new.step) == 1
  assert np.isfinite(metrics['loss'])
  flatten = functools.partial(flax.traverse_util.flatten_dict, sep='/')
  for tree in ('params', 'batch_stats'):
    before, after = flatten(getattr(state, tree)), flatten(getattr(new, tree))
    for path in before:
      moved = not np.array_equal(before[path], after[path])
      assert moved == path.startswith(TRAINED), path


def test_frozen_parts_have_no_optimiser_state(fusion):
  model, _, variables = fusion
  state, _ = _make(model, variables, TRAINED)
  adam = state.opt_state[0]
  assert set(adam.mu) == {'imu', 'rgb', 'head'}
  assert set(adam.mu['rgb']) == {'Mixed_4c', 'Mixed_5c'}


def test_no_gradient_work_below_the_lowest_trained_layer(fusion):
  """Freezing up to Mixed_5b must save more than the weight gradients: the whole way back too.

  Counted before XLA removes what is not used: nothing of the kind is even traced.
  """
  model, batch, variables = fusion

  def flops(trained):
    state, train_step = _make(model, variables, trained)
    return train_step.lower(state, batch, jnp.float32(1)).cost_analysis()['flops']

  forward = jax.jit(functools.partial(model.apply, variables))
  forward = forward.lower(_preprocess(batch)).cost_analysis()['flops']
  everything = flops(('*',))
  late = flops(('rgb/Mixed_5c', 'imu', 'head'))
  paper = flops(TRAINED)
  head = flops(('head',))
  assert everything > 2.5 * forward
  assert head < 1.1 * forward
  assert late < 1.35 * forward
  assert late < paper < 0.6 * everything


def test_rate_scale_scales_the_update(fusion):
  model, batch, variables = fusion
  state, train_step = _make(model, variables, ('head',))

  def moved(scale):
    new, _ = train_step(state, batch, jnp.float32(scale))
    kernel = ('params', 'head', 'logits', 'kernel')
    return new.params[kernel[1]][kernel[2]][kernel[3]] - state.params['head']['logits']['kernel']

  np.testing.assert_allclose(moved(0.5), 0.5 * moved(1.0), rtol=1e-4, atol=1e-7)
  assert float(jnp.abs(moved(1.0)).max()) > 1e-3


def test_the_average_follows_the_trained_parameters(fusion):
  model, batch, variables = fusion
  state, train_step = _make(model, variables, ('head',), ema=0.9)
  new, _ = train_step(state, batch, jnp.float32(1))
  # The first decay is (1 + 0) / (10 + 0).
  expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, state.params['head'], new.params['head'])
  chex.assert_trees_all_close(new.ema['head'], expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def imu():
  encoders = {'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8, 8, 8), 'dropout': 0.5}}
  model = registry.build(('imu',), encoders, {'kind': 'linear', 'dropout': 0.2}, 5)
  return model, jax.jit(model.init)(jax.random.key(0), _preprocess(_batch()))


def test_randomness_is_a_function_of_seed_and_step(imu):
  model, variables = imu
  state, train_step = _make(model, variables, ('*',))
  losses = [float(train_step(state, _batch(), jnp.float32(1))[1]['loss']) for _ in range(2)]
  later = state.replace(step=state.step + 1)
  losses.append(float(train_step(later, _batch(), jnp.float32(1))[1]['loss']))
  _, other = _make(model, variables, ('*',), seed=4)
  losses.append(float(other(state, _batch(), jnp.float32(1))[1]['loss']))
  assert losses[0] == losses[1]
  assert len(set(losses)) == 3


def test_eight_devices_train_as_one_does(imu):
  model, variables = imu

  def run(devices):
    mesh = mesh_lib.make_mesh(devices)
    state, train_step = _make(model, variables, ('*',))
    state: TrainState = jax.device_put(state, mesh_lib.replicated(mesh))
    losses = []
    for _ in range(20):
      batch = mesh_lib.put_batch(_batch(), mesh)
      state, metrics = train_step(state, batch, jnp.float32(1))
      losses.append(float(metrics['loss']))
    return losses

  one, eight = run(1), run(8)
  assert one[-1] < 0.8 * one[0]
  np.testing.assert_allclose(one, eight, rtol=0, atol=1e-5)


def test_evaluation_is_deterministic_and_has_no_dropout(imu):
  model, variables = imu
  assert isinstance(model, nn.Module)
  eval_step = jax.jit(step.make_eval_step(model, _preprocess, fakes.classify()))
  a, b = (eval_step(variables, _batch())['logits'] for _ in range(2))
  assert a.shape == (16, 5)
  np.testing.assert_array_equal(a, b)


ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8, 8, 8), 'dropout': 0.0},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': (2,)},
}
ENCODERS['skeleton'] |= {'dropout': 0.0, 'joint_dropout': 0.0}
SOME = np.arange(16) % 3 > 0


def _lacking(rate=0.0, head='decision'):
  """A fusion without any other dropout, its variables, and a batch of which some lack the IMU."""
  model = registry.build(
    ('imu', 'skeleton'), ENCODERS, {'kind': head, 'dropout': 0.0}, 5, modality_dropout=rate
  )
  skeleton = np.random.default_rng(1).normal(size=(16, 12, 20, 3)).astype(np.float32)
  batch = _batch() | {'skeleton': skeleton, 'imu_present': SOME}
  return model, fakes.draw_variables(model, _preprocess(batch)), batch


def test_each_modalitys_own_loss_is_of_the_examples_that_have_it():
  model, variables, batch = _lacking()
  losses = {}
  for auxiliary in (0.0, 1.0):
    # The head alone trains, so that its experts see what inference shows.
    state, train_step = _make(model, variables, ('head',), auxiliary=auxiliary)
    losses[auxiliary] = float(train_step(state, batch, jnp.float32(1))[1]['loss'])
  key = jax.random.split(jax.random.fold_in(jax.random.key(3), 0))[0]
  outputs = jax.jit(model.apply)(variables, _preprocess(batch, key))
  own = {
    name: cross_entropy(logits, batch['label'], 0.1) for name, logits in outputs.own_logits.items()
  }
  expected = own['imu'][SOME].mean() + own['skeleton'].mean()
  assert losses[1.0] - losses[0.0] == pytest.approx(float(expected), rel=1e-4)
  assert abs(float(own['imu'].mean() - own['imu'][SOME].mean())) > 0.01


def test_modality_dropout_is_a_function_of_seed_and_step():
  losses = {}
  for rate in (0.0, 0.5):
    model, variables, batch = _lacking(rate)
    state, train_step = _make(model, variables, ('head',))
    again = [train_step(state, batch, jnp.float32(1))[1]['loss'] for _ in range(2)]
    later = train_step(state.replace(step=state.step + 1), batch, jnp.float32(1))[1]['loss']
    assert again[0] == again[1]
    losses[rate] = [float(again[0]), float(later)]
  # Between steps the noise of `_preprocess` differs too, but far less than what the head sees.
  moved = np.abs(np.subtract(losses[0.5], losses[0.0]))
  assert (moved > 0.05).all()
  assert abs(moved[0] - moved[1]) > 1e-3


def test_modality_dropout_leaves_batch_statistics_alone():
  logits, stats = {}, {}
  for rate in (0.0, 0.5):
    model, variables, batch = _lacking(rate)
    run = functools.partial(model.apply, mode=Mode(True), mutable=['batch_stats'])
    rngs = {'dropout': jax.random.key(0)}
    # Not compiled as a whole: in two programs XLA may round the same sums differently.
    outputs, stats[rate] = run(variables, _preprocess(batch), rngs=rngs)
    logits[rate] = outputs.logits
  chex.assert_trees_all_equal(stats[0.0], stats[0.5])
  assert not np.allclose(logits[0.0], logits[0.5])


@pytest.mark.parametrize('head', ['linear', 'residual'])
def test_each_modality_is_taken_away_from_every_example(head):
  model, variables, batch = _lacking(head=head)
  everywhere, nowhere = np.ones(16, bool), np.zeros(16, bool)
  parts = model, _preprocess, fakes.classify()
  removed = jax.jit(step.make_removed_step(*parts, ('imu', 'skeleton')))
  found = removed(variables, batch)
  assert list(found) == ['imu', 'skeleton']
  run = jax.jit(model.apply)
  for name, imu, skeleton in (('imu', nowhere, everywhere), ('skeleton', SOME, nowhere)):
    present = {'imu_present': imu, 'skeleton_present': skeleton}
    expected = run(variables, _preprocess(batch) | present).logits
    np.testing.assert_allclose(found[name]['logits'], expected, rtol=1e-5, atol=1e-5)
  assert not np.allclose(found['imu']['logits'], found['skeleton']['logits'], atol=0.1)
  # The encoders run once for both.
  whole = jax.jit(step.make_eval_step(*parts))
  flops = [s.lower(variables, batch).cost_analysis()['flops'] for s in (whole, removed)]
  assert flops[1] < 1.1 * flops[0]
