"""Channels are taken out of models without a trace: dead ones leave outputs equal."""

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np
import pytest

from har.compress import channels, units
from har.compress.channels import Slimming
from har.compress.streaming import StepModel
from har.errors import UserError
from har.models import registry
from har.models.mode import INFERENCE, UNROLLED, Mode
from har.models.recogniser import Recogniser
from har.models.types import Features
from tests import fakes

ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (12, 16), 'kernels': (5, 3), 'pools': (2, 1)},
  'plain': {'kind': 'cnn1d', 'channels': (8, 12), 'kernels': (5, 3)},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (10, 8), 'kernels': (5, 3), 'strides': 2},
  'rgb': {'kind': 's3d', 'width': 0.125, 'conv': 'plain'},
  'lstm': {'kind': 'lstm', 'features': 9, 'bidirectional': True, 'pooling': 'mean_max'},
  'gru': {'kind': 'gru', 'features': 9, 'layers': 1},
  'cnn_gru': {'kind': 'cnn_gru', 'channels': (8, 6), 'kernels': (5, 3), 'features': 6},
  'tcn': {'kind': 'tcn', 'features': (6, 6, 9), 'kernel': 3, 'pooling': 'last'},
}
SHAPES = {'skeleton': (16, 20, 3), 'rgb': (4, 16, 16, 3)}


class Separable(nn.Module):
  """An inverted residual with a depthwise convolution of two outputs for each input."""

  @nn.compact
  def __call__(self, x, mask=None, mode: Mode = INFERENCE) -> Features:
    x = nn.Dense(8, name='in')(x)
    wide = x.shape[-1] * 3 // 2
    y = nn.relu(nn.BatchNorm(use_running_average=True, name='bn')(nn.Conv(wide, (1,))(x)))
    y = nn.relu(nn.Conv(2 * wide, (3,), feature_group_count=wide, name='depthwise')(y))
    x = x + nn.Dense(8, name='out')(y)
    return Features(x, x.mean(1))


def model_of(names, head=None, batch=1, encoder=None):
  rng = np.random.default_rng(0)
  model = registry.build(names, ENCODERS, head or {'kind': 'linear'}, 3)
  if encoder is not None:
    model = model.clone(encoders={names[0]: encoder})
  inputs = {
    n: rng.standard_normal((batch, *SHAPES.get(n, (24, 6)))).astype(np.float32) for n in names
  }
  return model, fakes.draw_variables(model, inputs), inputs


def kill(found, variables, modalities):
  """Makes some channels of each unit zero; returns the living ones and the new variables."""
  flat = {p: np.array(x) for p, x in flax.traverse_util.flatten_dict(variables).items()}
  living = {}
  for i, (name, unit) in enumerate(found.units.items()):
    if name.split('/')[0] not in modalities:
      continue
    dead = np.arange(unit.count)[np.arange(unit.count) % 3 == i % 3]
    living[name] = np.setdiff1d(np.arange(unit.count), dead)
    for (path, axis), numbers in unit.places.items():
      if path[0] == 'params' and path[1] != 'head' and axis == flat[path].ndim - 1:
        flat[path][..., np.isin(numbers, dead)] = 0
  return living, flax.traverse_util.unflatten_dict(flat)


def check_equal(model, variables, inputs, modalities, mode=INFERENCE):
  found = units.find(model, variables, inputs)
  living, variables = kill(found, variables, modalities)
  assert living
  small, slim = model.clone(widths=found.widths(living)), found.cut(variables, living)
  shapes = jax.eval_shape(lambda: small.init(jax.random.key(0), inputs, mode))
  assert jax.tree.map(np.shape, slim['params']) == jax.tree.map(lambda x: x.shape, shapes['params'])
  left = units.find(small, slim, inputs).units
  assert {n: left[n].count for n in living} == {n: len(i) for n, i in living.items()}
  expected = jax.jit(lambda v: model.apply(v, inputs, mode).logits)(variables)
  assert np.std(expected) > 0.02
  found = jax.jit(lambda v: small.apply(v, inputs, mode).logits)(slim)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  return small, slim


@pytest.mark.parametrize('name', list(ENCODERS))
def test_dropping_dead_channels_leaves_logits_equal(name):
  model, variables, inputs = model_of((name,), batch=2)
  check_equal(model, variables, inputs, (name,))


@pytest.mark.parametrize('name', ['imu', 'lstm', 'tcn'])
def test_a_masked_clip_gives_the_same_too(name):
  model, variables, inputs = model_of((name,), batch=2)
  inputs[f'{name}_mask'] = np.arange(24) < np.array([[24], [13]])
  check_equal(model, variables, inputs, (name,), UNROLLED if name == 'lstm' else INFERENCE)


def test_depthwise_convolutions_and_residuals_go_with_their_channels():
  model, variables, inputs = model_of(('imu',), encoder=Separable())
  found = units.find(model, variables, inputs).units
  assert {name: unit.count for name, unit in found.items()} == {'imu/in': 8, 'imu/Conv_0': 12}
  assert [path[2] for path in found['imu/in'].layers] == ['in', 'out']
  assert [path[2] for path in found['imu/Conv_0'].layers] == ['Conv_0', 'depthwise']
  small, slim = check_equal(model, variables, inputs, ('imu',))
  assert dict(small.widths) == {'imu/in': 5, 'imu/out': 5, 'imu/Conv_0': 8, 'imu/depthwise': 16}
  assert slim['params']['imu']['depthwise']['kernel'].shape == (3, 1, 16)


@pytest.mark.parametrize('name', ['gru', 'tcn'])
def test_a_slim_model_still_runs_step_by_step(name):
  model, variables, inputs = model_of((name,))
  found = units.find(model, variables, inputs)
  kept = {n: np.arange(unit.count - 2) for n, unit in found.units.items()}
  small, slim = model.clone(widths=found.widths(kept)), found.cut(variables, kept)
  step = StepModel(small)
  state, apply = step.initial(slim, inputs[name].shape[2:]), jax.jit(lambda x: step.apply(slim, x))
  for t in range(24):
    state = apply({**state, name: inputs[name][:, t]})
    logits = state.pop('logits')
  np.testing.assert_allclose(logits, small.apply(slim, inputs).logits, atol=1e-5)


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
  model, variables, inputs = model_of(('imu', 'plain', 'skeleton'), head, batch=2)
  check_equal(model, variables, inputs, ('imu', 'skeleton'))


@pytest.mark.parametrize(
  ('head', 'norm', 'times'),
  [
    ({'kind': 'attention', 'hidden': 8, 'heads': 2}, 'imu_norm', 1),
    ({'kind': 'residual', 'hidden': 6}, 'norm_imu', 2),
  ],
)
def test_norms_in_heads_fit_the_features(head, norm, times):
  model, variables, inputs = model_of(('imu', 'skeleton'), head)
  slimming = Slimming(0.9, multiple=2, exclude=('skeleton', 'imu/conv_0'))
  _, slim = channels.shrink(model, variables, inputs, slimming)
  size = slim['params']['imu']['conv_1']['kernel'].shape[-1]
  assert size < 16
  assert slim['params']['head'][norm]['scale'].shape == (times * size,)


@pytest.fixture(scope='module')
def s3d():
  """The network at half its width, what it needs, and its units."""
  model = registry.build(('rgb',), {'rgb': {'kind': 's3d', 'width': 0.5}}, {'kind': 'linear'}, 3)
  inputs = {'rgb': np.zeros((1, 4, 32, 32, 3), np.float32)}
  variables = fakes.draw_variables(model, inputs)
  return model, variables, inputs, units.find(model, variables, inputs)


@pytest.mark.parametrize('policy', ['work', 'even'])
def test_half_the_work_of_s3d(policy, s3d):
  model, variables, inputs, found = s3d
  slimming = Slimming(policy=policy, exclude=('rgb/Conv_2b',))
  small, slim = channels.shrink(model, variables, inputs, slimming)
  after = units.find(small, slim, inputs)
  kernels = found.kernels('rgb')
  assert 0.4 < after.multiply_adds(kernels) / found.multiply_adds(kernels) <= 0.5
  full = {name: unit.count for name, unit in found.units.items()}
  counts = {name: unit.count for name, unit in after.units.items()}
  assert counts['rgb/Conv_2b/conv'] == 32
  assert all(c % 8 == 0 and 0.5 * full[n] <= c <= full[n] for n, c in counts.items())
  left = {n: c / full[n] for n, c in counts.items() if full[n] >= 64}
  # 'even' leaves all of them about as wide; 'work' narrows costly units and no others.
  assert (max(left.values()) - min(left.values()) < 0.3) == (policy == 'even')
  # The channels with the largest scales are kept, in their order.
  before, now = (v['params']['rgb']['Conv_2c'] for v in (variables, slim))
  scale, count = before['spatial']['bn']['scale'], counts['rgb/Conv_2c/spatial/conv']
  kept = np.sort(np.argsort(-scale, kind='stable')[:count])
  np.testing.assert_array_equal(now['spatial']['bn']['scale'], scale[kept])
  kernel = before['temporal']['conv']['kernel'][..., kept, :]
  if now['temporal']['conv']['kernel'].shape == kernel.shape:
    np.testing.assert_array_equal(now['temporal']['conv']['kernel'], kernel)


def test_a_recurrent_unit_counts_by_all_of_its_gates():
  model, variables, inputs = model_of(('gru',))
  found = units.find(model, variables, inputs)
  (scores,) = channels.scores_of(found, 'gru', variables).values()
  cell = variables['params']['gru']['layer']['forward_0']
  each = [
    np.linalg.norm(cell[layer]['kernel'].reshape(-1, 3, 9), axis=(0, 1))
    for layer in ('input', 'recurrent')
  ]
  np.testing.assert_allclose(scores, sum(x / x.mean() for x in each), rtol=1e-6)


def test_a_shrunk_model_can_be_shrunk_again():
  model, variables, inputs = model_of(('lstm',))
  found = units.find(model, variables, inputs)
  kernels = found.kernels('lstm')
  once, slim = channels.shrink(
    model, {**variables, 'batch_stats': {}}, inputs, Slimming(0.7, multiple=1)
  )
  assert slim['batch_stats'] == {}  # so that it can be saved and read
  twice, slim = channels.shrink(once, slim, inputs, Slimming(0.7, multiple=1))
  after = units.find(twice, slim, inputs)
  assert after.multiply_adds(kernels) <= 0.49 * found.multiply_adds(kernels)


def test_excluded_encoders_and_layers_stay_whole():
  model, variables, inputs = model_of(('imu', 'skeleton'))
  slimming = Slimming(0.9, multiple=1, exclude=('skeleton', 'imu/conv_0'))
  small, slim = channels.shrink(model, variables, inputs, slimming)
  assert dict(small.widths)['imu/conv_0'] == 12
  assert dict(small.widths)['imu/conv_1'] < 16
  np.testing.assert_array_equal(
    slim['params']['skeleton']['cnn']['conv_0']['kernel'],
    variables['params']['skeleton']['cnn']['conv_0']['kernel'],
  )


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'exclude': ('rgb/conv_0', 'imu/conv_7')}, "exclude names 'imu/conv_7', which is no layer"),
    ({'flops': 0.1}, r'slimming.flops=0.1 cannot be reached: 0\.\d\d of the work of imu is left'),
  ],
)
def test_wrong_settings_are_user_errors(settings, message):
  model, variables, inputs = model_of(('imu',))
  with pytest.raises(UserError, match=message):
    channels.shrink(model, variables, inputs, Slimming(**settings))


class Sorted(nn.Module):
  """Needs all of its channels."""

  @nn.compact
  def __call__(self, x, mask=None, mode: Mode = INFERENCE) -> Features:
    x = jax.lax.sort(nn.Dense(8, name='dense')(x))
    return Features(x, x.mean(1))


class Written(nn.Module):
  """Depends on how many channels it has."""

  how: str

  @nn.compact
  def __call__(self, x, mask=None, mode: Mode = INFERENCE) -> Features:
    x = nn.Dense(8, name='before')(x)
    y = nn.Dense(8, name='dense')(x)
    if self.how == 'size':
      y += np.ones(8, np.float32)
    elif self.how == 'positions':
      y *= jax.numpy.arange(y.shape[-1])
    elif self.how == 'halves':
      y = jax.numpy.concatenate([y[:, :, : y.shape[-1] // 2], -y[:, :, y.shape[-1] // 2 :]], -1)
    elif self.how == 'even':
      y = y[:, :, ::2]
    elif self.how == 'shortcut' and x.shape[-1] == 8:
      y += x
    y = nn.Dense(8, name='last')(y)
    return Features(y, y.mean(1))


@pytest.mark.parametrize(
  ('encoder', 'message'),
  [
    (Sorted(), r'encoder Sorted of imu can be taken out: sort in \S*/imu needs all of them; leave'),
    (Written('size'), r"code depends on their number: see Incompatible shapes.*\('imu/dense',\)"),
    (Written('positions'), r"see mul in \S*imu; leave its layers as they are.*\('imu/dense',\)"),
    (Written('shortcut'), r"imu cannot be taken out.*see imu/dense/kernel;.*\('imu/before',\)"),
  ],
)
def test_encoders_that_cannot_be_slimmed_are_refused(encoder, message):
  model, variables, inputs = model_of(('imu',), encoder=encoder)
  assert isinstance(model, Recogniser)
  with pytest.raises(UserError, match=message):
    channels.shrink(model, variables, inputs, Slimming(0.6, multiple=1))


@pytest.mark.parametrize(
  ('how', 'gone', 'found'),
  [
    ('halves', {'imu/dense': [0, 7]}, ''),
    ('halves', {'imu/dense': [0, 1]}, 'slice in Recogniser/Recogniser.encode/imu'),
    ('even', {'imu/dense#1': [3]}, ''),
    ('even', {'imu/dense#1': [1]}, 'imu/last/kernel'),
  ],
)
def test_other_pairs_of_channels_of_equal_shapes_are_found(how, gone, found):
  model, variables, inputs = model_of(('imu',), encoder=Written(how))
  before = units.find(model, variables, inputs)
  kept = {n: np.setdiff1d(np.arange(before.units[n].count), i) for n, i in gone.items()}
  small, slim = model.clone(widths=before.widths(kept)), before.cut(variables, kept)
  assert before.difference(units.find(small, slim, inputs), kept) == found
