"""Channels are taken out of encoders and heads without a trace: dead ones leave outputs equal."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import channels, units
from har.compress.channels import Slimming
from har.errors import UserError
from har.models import registry
from har.models.s3d import S3D

ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (12, 16), 'kernels': (5, 3), 'pools': (2, 1)},
  'plain': {'kind': 'cnn1d', 'channels': (8, 12), 'kernels': (5, 3)},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (10, 8), 'kernels': (5, 3), 'strides': 2},
  'rgb': {'kind': 's3d', 'width': 0.125, 'conv': 'plain'},
}
SHAPES = {'imu': (24, 6), 'plain': (24, 6), 'skeleton': (16, 20, 3), 'rgb': (4, 16, 16, 3)}


def drawn(model, *args):
  """Variables of order 1 that took no compilation."""
  tree = dict(jax.eval_shape(lambda: model.init(jax.random.key(0), *args)))
  tree = flax.traverse_util.flatten_dict(tree)
  rng = np.random.default_rng(1)

  def draw(path, x):
    if path[-1] == 'kernel':
      return rng.standard_normal(x.shape) * np.sqrt(2 / np.prod(x.shape[:-1]))
    return rng.uniform(0.5, 1.5, x.shape)

  return flax.traverse_util.unflatten_dict(
    {path: draw(path, x).astype(np.float32) for path, x in tree.items()}
  )


def model_of(names, head, batch=2):
  rng = np.random.default_rng(0)
  model = registry.build(names, ENCODERS, head, 3)
  inputs = {n: rng.standard_normal((batch, *SHAPES[n])).astype(np.float32) for n in names}
  return model, drawn(model, inputs), inputs


def own(variables, name):
  return {tree: branches[name] for tree, branches in variables.items() if name in branches}


def kill(encoder, variables):
  """Makes some channels of each unit output zero; returns the living ones."""
  flat = {t: flax.traverse_util.flatten_dict(v) for t, v in variables.items()}
  living = {}
  for i, (unit, count) in enumerate(
    zip(units.units(encoder)[0], units.unit_channels(encoder).values(), strict=True)
  ):
    dead = np.arange(count) % 3 == i % 3
    living[unit.name] = np.flatnonzero(~dead)
    if unit.norm is None:
      paths = [(*unit.conv, 'kernel'), (*unit.conv, 'bias')]
    else:
      paths = [(*unit.norm, 'scale'), (*unit.norm, 'bias')]
    for path in paths:
      flat['params'][path][..., dead] = 0
  return living


@pytest.mark.parametrize('name', list(ENCODERS))
def test_dropping_dead_channels_leaves_logits_equal(name):
  model, variables, inputs = model_of((name,), {'kind': 'linear'})
  encoder = model.encoders[name]
  living = kill(encoder, own(variables, name))
  expected = jax.jit(model.apply)(variables, inputs).logits
  small, sliced = channels.keep(encoder, own(variables, name), living)
  assert units.unit_channels(small) == {n: len(i) for n, i in living.items()}
  head = channels.slice_head(
    model.head, variables['params']['head'], model.encoders, {name: living}
  )
  slim = model.clone(encoders={name: small})
  everything = {t: {name: v} for t, v in sliced.items()}
  everything['params']['head'] = head
  assert jax.tree.map(np.shape, everything['params']) == jax.tree.map(
    lambda x: x.shape, jax.eval_shape(slim.init, jax.random.key(0), inputs)['params']
  )
  found = jax.jit(slim.apply)(everything, inputs).logits
  assert np.std(expected) > 0.1
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_masked_clip_gives_the_same_too():
  model, variables, inputs = model_of(('imu',), {'kind': 'linear'})
  inputs['imu_mask'] = np.arange(24) < np.array([[24], [13]])
  living = kill(model.encoders['imu'], own(variables, 'imu'))
  small, sliced = channels.keep(model.encoders['imu'], own(variables, 'imu'), living)
  head = channels.slice_head(
    model.head, variables['params']['head'], model.encoders, {'imu': living}
  )
  slim = {t: {'imu': v} for t, v in sliced.items()}
  slim['params']['head'] = head
  np.testing.assert_allclose(
    model.clone(encoders={'imu': small}).apply(slim, inputs).logits,
    model.apply(variables, inputs).logits,
    atol=1e-5,
  )


@pytest.mark.parametrize(
  'head',
  [
    {'kind': 'linear'},
    {'kind': 'decision'},
    {'kind': 'concat_mlp', 'hidden': 6},
    {'kind': 'residual', 'hidden': 6, 'layer_norm': False},
  ],
)
def test_heads_over_several_modalities_read_what_is_left(head):
  names = ('imu', 'plain', 'skeleton')
  model, variables, inputs = model_of(names, head)
  living, encoders = {}, dict(model.encoders)
  for name in ('imu', 'skeleton'):
    living[name] = kill(model.encoders[name], own(variables, name))
  expected = model.apply(variables, inputs).logits
  slim = {t: dict(v) for t, v in variables.items()}
  for name, kept in living.items():
    encoders[name], sliced = channels.keep(model.encoders[name], own(variables, name), kept)
    for tree, value in sliced.items():
      slim[tree][name] = value
  slim['params']['head'] = channels.slice_head(
    model.head, variables['params']['head'], model.encoders, living
  )
  found = model.clone(encoders=encoders).apply(slim, inputs).logits
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
  'head', [{'kind': 'attention', 'hidden': 8, 'heads': 2}, {'kind': 'residual', 'hidden': 6}]
)
def test_norms_and_token_projections_fit_the_features(head):
  model, variables, inputs = model_of(('imu', 'skeleton'), head)
  encoder = model.encoders['imu']
  kept = {n: np.arange(1, c) for n, c in units.unit_channels(encoder).items()}
  small, _ = channels.keep(encoder, own(variables, 'imu'), kept)
  found = channels.slice_head(
    model.head, variables['params']['head'], model.encoders, {'imu': kept}
  )
  slim = model.clone(encoders={**model.encoders, 'imu': small})
  expected = jax.eval_shape(slim.init, jax.random.key(0), inputs)['params']['head']
  assert jax.tree.map(np.shape, found) == jax.tree.map(jnp.shape, expected)


def test_work_by_hand():
  encoder = registry.build(('imu',), ENCODERS, {'kind': 'linear'}, 3).encoders['imu']
  # 24 positions of 5 taps, then after the pool 12 positions of 3 taps.
  assert units.flops(encoder, (24, 6)) == 2 * (24 * 5 * 6 * 12 + 12 * 3 * 12 * 16)


def test_the_work_of_the_published_s3d():
  # torchvision gives 17.98 billion multiply-adds at 224 x 224, classifier included.
  assert units.flops(S3D(), (16, 112, 112, 3)) == pytest.approx(2 * 17.98e9 / 4, rel=0.01)


@pytest.mark.parametrize('policy', channels.POLICIES)
def test_half_the_work_of_s3d(policy):
  encoder, shape = S3D(width=0.5), (4, 32, 32, 3)
  variables = drawn(encoder, np.zeros((1, *shape), np.float32))
  small, sliced, kept = channels.shrink(
    encoder, variables, Slimming(policy=policy), input_shape=shape, excluded=('Conv_2b',)
  )
  share = units.flops(small, shape) / units.flops(encoder, shape)
  assert 0.4 < share <= 0.5
  counts, full = units.unit_channels(small), units.unit_channels(encoder)
  assert counts == {n: len(i) for n, i in kept.items()}
  assert counts['Conv_2b'] == 32
  assert all(c % 8 == 0 and 0.25 * full[n] <= c <= full[n] for n, c in counts.items())
  left = {n: c / full[n] for n, c in counts.items() if full[n] >= 64}
  # 'even' leaves all of them about as wide; 'work' narrows costly units and no others.
  assert (max(left.values()) - min(left.values()) < 0.3) == (policy == 'even')
  # The channels with the largest scales are kept, in their order.
  scale = variables['params']['Conv_2c']['spatial']['bn']['scale']
  index = kept['Conv_2c/spatial']
  assert scale[index].min() > np.delete(scale, index).max()
  np.testing.assert_array_equal(sliced['params']['Conv_2c']['spatial']['bn']['scale'], scale[index])
  before = variables['params']['Conv_2c']['temporal']['conv']['kernel']
  np.testing.assert_array_equal(
    sliced['params']['Conv_2c']['temporal']['conv']['kernel'],
    before[..., index, :][..., kept['Conv_2c/temporal']],
  )


def test_a_shrunk_encoder_can_be_shrunk_again():
  encoder, shape = S3D(width=0.5), (4, 32, 32, 3)
  variables = drawn(encoder, np.zeros((1, *shape), np.float32))
  once, sliced, _ = channels.shrink(encoder, variables, Slimming(0.7), input_shape=shape)
  twice, again, _ = channels.shrink(once, sliced, Slimming(0.7), input_shape=shape)
  assert units.flops(twice, shape) <= 0.49 * units.flops(encoder, shape)
  shapes = jax.eval_shape(twice.init, jax.random.key(0), np.zeros((1, *shape), np.float32))
  assert jax.tree.map(np.shape, again) == jax.tree.map(lambda x: x.shape, shapes)


def test_excluded_units_are_named_by_patterns():
  encoder = S3D(width=0.125)
  found = channels.excluded_units('rgb', encoder, ('rgb/Mixed_5c', 'rgb/Conv_1a/spatial'))
  assert found[0] == 'Conv_1a/spatial'
  assert len(found) == 9
  everything = channels.excluded_units('rgb', encoder, ('rgb',))
  assert len(everything) == len(units.units(encoder)[0])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'flops': 0.0}, r'slimming.flops=0.0 is not in \(0, 1\]'),
    ({'policy': 'odd'}, "slimming.policy='odd' is none of work, even"),
    ({'least': 2.0}, 'least=2.0 in'),
    ({'flops': 0.1}, r'slimming.flops=0.1 cannot be reached: 0\.\d\d of the work is left'),
  ],
)
def test_wrong_settings_are_user_errors(settings, message):
  model, variables, _ = model_of(('imu',), {'kind': 'linear'})
  with pytest.raises(UserError, match=message):
    channels.shrink(
      model.encoders['imu'], own(variables, 'imu'), Slimming(**settings), input_shape=(24, 6)
    )


def test_unknown_encoders_and_channels_are_user_errors():
  model, variables, _ = model_of(('imu',), {'kind': 'linear'})
  with pytest.raises(UserError, match='channels of a Linear cannot be taken out'):
    units.units(model.head)
  with pytest.raises(UserError, match='conv_0 has 12 channels and cannot keep those asked for'):
    channels.keep(model.encoders['imu'], own(variables, 'imu'), {'conv_0': np.array([3, 12])})
