"""Quantised models: close to the float ones, trainable, with ranges found on examples."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import quantise
from har.compress.quantise import FoldedModel, Scheme
from har.errors import UserError
from har.models import sequence
from har.models.mode import INFERENCE
from tests.har.compress import test_graph


def made(modalities=('imu',), head=None, scheme=None):
  model, variables, inputs = test_graph.made(list(modalities), head or {'kind': 'linear'})
  expected = model.apply(variables, inputs).logits
  folded = FoldedModel(model, variables, scheme)
  return folded, folded.fold(variables, inputs), inputs, expected


def error(got, expected):
  return float(jnp.linalg.norm(got - expected) / jnp.linalg.norm(expected))


@pytest.mark.parametrize(
  ('scheme', 'limit'),
  [
    (Scheme(), 0.03),
    (Scheme(calibration='percentile', percentile=99.9), 0.05),
    (Scheme(equalise=True), 0.03),
    (Scheme(ranges='dynamic'), 0.03),
    (Scheme(weights=4), 0.3),
    (Scheme(activations=16), 0.02),
  ],
)
def test_error_of_quantisation(scheme, limit):
  model, variables, inputs, expected = made(scheme=scheme)
  variables = quantise.calibrate(model, variables, [inputs])
  assert 1e-5 < error(model.apply(variables, inputs).logits, expected) < limit


def test_more_bits_give_smaller_errors():
  errors = []
  for scheme in (Scheme(weights=4), Scheme(), Scheme(weights=16, activations=16)):
    model, variables, inputs, expected = made(scheme=scheme)
    variables = quantise.calibrate(model, variables, [inputs])
    errors.append(error(model.apply(variables, inputs).logits, expected))
  assert errors[0] > 2 * errors[1] > 20 * errors[2]


def test_ranges_are_the_extremes_over_all_batches():
  model, variables, inputs, _ = made(scheme=Scheme())
  batches = [inputs, {'imu': 3 * inputs['imu']}]
  ranges = quantise.calibrate(model, variables, batches)['batch_stats']['ranges']
  assert ranges.shape == (5, 2)
  np.testing.assert_allclose(
    ranges[0], [3 * inputs['imu'].min(), 3 * inputs['imu'].max()], rtol=1e-6
  )
  assert ranges[1, 0] == 0  # behind a ReLU


def test_ranges_of_what_is_computed_example_by_example():
  class Mapped(nn.Module):
    @nn.compact
    def __call__(self, inputs, mode=None):
      kernel = self.param('kernel', nn.initializers.ones, (3, 4))
      return jax.lax.map(lambda row: row @ kernel, inputs['x'])

  x = {'x': np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
  model = FoldedModel(Mapped(), Mapped().init(jax.random.key(0), x), Scheme())
  found = quantise.calibrate(model, model.fold({'params': {'kernel': np.ones((3, 4))}}, x), [x])
  sums = x['x'].sum(1)
  wanted = [[x['x'].min(), x['x'].max()], [sums.min(), sums.max()]]
  np.testing.assert_allclose(found['batch_stats']['ranges'], wanted, rtol=1e-5)


def test_percentiles_leave_examples_out():
  model, variables, _, _ = made(scheme=Scheme(calibration='percentile', percentile=90))
  x = np.random.default_rng(0).uniform(-1, 1, (21, 40, 6)).astype(np.float32)
  x[0, 0, 0], x[1, 5, 2] = 1000.0, -1000.0
  low, high = quantise.calibrate(model, variables, [{'imu': x}])['batch_stats']['ranges'][0]
  # The third of 21 examples from the end.
  assert low == np.sort(x.min((1, 2)))[2]
  assert high == np.sort(x.max((1, 2)))[-3]


def test_convolutional_video_network():
  net, variables, inputs = test_graph.made(['rgb'], {'kind': 'linear'})
  model = FoldedModel(net, variables, Scheme())
  folded = model.fold(variables, inputs)
  variables = jax.device_get(quantise.calibrate(model, folded, [inputs]))
  points = model.graph(inputs).points
  by_name = dict(zip(points, variables['batch_stats']['ranges'].tolist(), strict=True))
  for name, group in points.items():
    assert by_name[name] == by_name[group]
  assert len({tuple(r) for r in by_name.values()}) > 40
  # With the marks that exporters recognise the numbers are the same.
  marked = jax.jit(lambda x: model.apply(variables, x, mark=True).logits)(inputs)
  plain = jax.jit(lambda x: model.apply(variables, x).logits)(inputs)
  assert error(marked, plain) < 1e-5


def test_calibration_needs_examples():
  model, variables, _, _ = made(scheme=Scheme())
  with pytest.raises(UserError, match='calibration needs at least one example'):
    quantise.calibrate(model, variables, [])


def test_calibration_names_where_values_are_not_finite():
  model, variables, inputs, _ = made(scheme=Scheme())
  with pytest.raises(UserError, match='not finite at in:imu'):
    quantise.calibrate(model, variables, [{'imu': inputs['imu'] * np.nan}])


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'ranges': 'fixed'}, "ranges='fixed': must be one of 'static', 'dynamic'"),
    ({'calibration': 'mean'}, "calibration='mean': must be one of 'minmax', 'percentile'"),
    ({'weights': 1}, 'weights=1: must be a whole number from 2 to 16'),
    ({'percentile': 101.0}, 'percentile=101.0: must be a finite number, above 50, at most 100'),
    ({'examples': 0}, 'examples=0: must be a whole number from 1'),
  ],
)
def test_wrong_schemes(change, message):
  with pytest.raises(UserError, match=message):
    Scheme.from_config(change)


class Depthwise(nn.Module):
  @nn.compact
  def __call__(self, inputs, mode=None):
    x = nn.relu6(nn.Conv(12, (1, 1), name='expand')(inputs['x']))
    x = nn.relu6(nn.Conv(12, (3, 3), feature_group_count=12, name='depthwise')(x))
    return nn.Dense(4, name='dense')(nn.Conv(6, (1, 1), name='project')(x).mean((1, 2)))


class Recurrent(nn.Module):
  @nn.compact
  def __call__(self, inputs, mode=None):
    x = inputs['x']
    cell = nn.LSTMCell(6, name='lstm')
    carry = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)
    for t in range(x.shape[1]):
      carry, y = cell(carry, x[:, t])
    return nn.Dense(4, name='dense')(y)


class Looped(nn.Module):
  @nn.compact
  def __call__(self, inputs, mode=None):
    lstm = sequence.LSTM(features=6, name='lstm')
    return nn.Dense(4, name='dense')(lstm(inputs['x'], None, mode or INFERENCE).pooled)


@pytest.mark.parametrize(
  ('net', 'shape'),
  [
    (Depthwise(), (2, 8, 8, 3)),
    (Recurrent(), (3, 5, 4)),
    (Looped(), (3, 5, 4)),
    (None, None),
  ],
  ids=['depthwise', 'foreign lstm', 'lstm', 'residual fusion'],
)
def test_straight_through_gradients_are_close_to_those_in_float(net, shape):
  if net is None:
    head = {'kind': 'residual', 'hidden': 64}
    net, variables, inputs = test_graph.made(['imu', 'skeleton'], head)
  else:
    inputs = {'x': jax.random.normal(jax.random.key(0), shape)}
    variables = net.init(jax.random.key(1), inputs)

  def gradient(scheme):
    model = FoldedModel(net, variables, scheme)
    start = quantise.calibrate(model, model.fold(variables, inputs), [inputs])

    def loss(params):
      outputs = model.apply({**start, 'params': params}, inputs)
      logits = getattr(outputs, 'logits', outputs)
      return jax.nn.logsumexp(logits, -1).sum() - logits[:, 0].sum()

    return flax.traverse_util.flatten_dict(jax.jit(jax.grad(loss))(start['params']))

  exact, through = gradient(None), gradient(Scheme())
  assert set(exact) == set(through)
  cosines = []
  for path, g in through.items():
    size, exact_size = jnp.linalg.norm(g), jnp.linalg.norm(exact[path])
    if exact_size > 1e-6:
      assert 0.2 < size / exact_size < 5, path
      cosines.append(float((g * exact[path]).sum() / size / exact_size))
  # Rounded values tie in maxima, so that single small gradients take other ways.
  assert np.median(cosines) > 0.9
  assert min(cosines) > 0.1


def test_deployed_bytes():
  model, variables, inputs, _ = made(scheme=Scheme())
  kernels, channels, biases = 9 * 6 * 8 + 5 * 8 * 16 + 32 * 5, 8 + 16 + 5, 8 + 16 + 5
  assert quantise.count_bytes(model, variables, inputs) == kernels + 4 * channels + 4 * biases
  in_float, variables, inputs, _ = made()
  assert quantise.count_bytes(in_float, variables, inputs) == 4 * (kernels + biases)


def test_float_layers_are_listed_and_untouched():
  model, variables, inputs, expected = made(scheme=Scheme(keep_float=('*',)))
  assert quantise.float_layers(model, inputs) == ['imu/conv_0', 'imu/conv_1', 'head/imu']
  variables = quantise.calibrate(model, variables, [inputs])
  np.testing.assert_allclose(model.apply(variables, inputs).logits, expected, rtol=1e-5, atol=1e-5)


def marked(model, folded, x):
  constants = jax.tree.map(np.asarray, folded)
  return jax.jit(lambda x: model.apply(constants, x, mark=True))(x)


def test_loops_have_the_ranges_of_their_unrolled_form():
  net, x = Looped(), {'x': jax.random.normal(jax.random.key(0), (3, 5, 4))}
  variables = net.init(jax.random.key(1), x)
  for scheme in (Scheme(), Scheme(calibration='percentile', percentile=95)):
    model = FoldedModel(net, variables, scheme)
    folded = quantise.calibrate(model, model.fold(variables, x), [x])
    looped, unrolled = model.graph(x), model.graph(x, unroll=True)
    recurrent = [one for one in unrolled.layers if one.name.startswith('lstm/layer/forward_0/rec')]
    assert len(recurrent) == 4
    assert quantise.float_layers(model, x) == []
    ranges = quantise.ranges_for(unrolled, looped, folded['batch_stats']['ranges'])
    found = {tuple(np.asarray(ranges[f'to:{one.name}'])) for one in recurrent}
    ((low, high),) = found
    assert -1 < low < 0 < high < 1
    np.testing.assert_allclose(model.apply(folded, x), marked(model, folded, x), atol=1e-5)
