"""The work of models, counted by hand and against published figures."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from har.compress import ties, trace, units
from har.models import registry


def work_of(name, encoder, shape):
  model = registry.build((name,), {name: encoder}, {'kind': 'linear'}, 3)
  inputs = {name: np.zeros((1, *shape), np.float32)}
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
  found = units.find(model, variables, inputs)
  return found.multiply_adds(found.kernels(name)), found


def test_work_by_hand():
  encoder = {'kind': 'cnn1d_bn', 'channels': (12, 16), 'kernels': (5, 3), 'pools': (2, 1)}
  work, found = work_of('imu', encoder, (24, 6))
  # 24 positions of 5 taps, then after the pool 12 positions of 3 taps.
  assert work == 24 * 5 * 6 * 12 + 12 * 3 * 12 * 16
  less = found.multiply_adds(found.kernels('imu'), {'imu/conv_0': 7})
  assert less == 24 * 5 * 6 * 7 + 12 * 3 * 7 * 16


def test_a_loop_multiplies_at_each_step():
  work, found = work_of('imu', {'kind': 'lstm', 'features': 8, 'layers': 1}, (24, 6))
  assert work == 24 * (6 * 32 + 8 * 32)
  less = found.multiply_adds(found.kernels('imu'), {'imu/layer/forward_0/input': 5})
  assert less == 24 * (6 * 20 + 5 * 20)


def test_the_work_of_the_published_s3d():
  # torchvision gives 17.98 billion multiply-adds at 224 x 224, classifier included.
  work, _ = work_of('rgb', {'kind': 's3d'}, (16, 112, 112, 3))
  assert work == pytest.approx(17.98e9 / 4, rel=0.01)


class Views(nn.Module):
  """Moves the channels `a` about: splits, joins, pads, turns and cuts them."""

  @nn.compact
  def __call__(self, x):
    a = nn.Dense(6, use_bias=False, name='a')(x)
    a = a.reshape(2, 2, 6).transpose(0, 2, 1)[:, ::-1, :1].sum(2)
    padded = jax.numpy.pad(a[:, :4], ((0, 0), (1, 0)))
    return nn.Dense(3, use_bias=False, name='b')(padded), a[:, 4:]


def test_channels_are_followed_through_views():
  model, inputs = Views(), {'x': np.zeros((4, 5), np.float32)}
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs['x']))
  found = ties.Ties(trace.trace(lambda v, i: model.apply(v, i['x']), variables, inputs))
  a, b = (found.leaves['params', name, 'kernel'] for name in 'ab')
  assert not a[0].any()
  assert not b[1].any()
  # Turned around, so that the last four come first; the other two are outputs of the model.
  np.testing.assert_array_equal(a[1][:2], 0)
  np.testing.assert_array_equal(b[0], [0, *a[1][:1:-1]])
  assert len(set(a[1][2:])) == 4
  assert found.opaque == []
