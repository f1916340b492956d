"""Reconstructions have the shape of what entered the model."""

import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models import registry
from tests import fakes

ENCODER = {'kind': 'cnn1d_bn', 'channels': (8,), 'kernels': (5,), 'pools': (2,)}
HEAD = {'kind': 'decoder', 'bottleneck': 3, 'channels': (8, 4), 'kernel': 3}


@pytest.mark.parametrize('samples', [24, 27])
def test_each_input_comes_back_in_its_shape(samples):
  shapes = {'imu': (samples, 6), 'watch': (10, 3)}
  inputs = {n: np.ones((2, *s), np.float32) for n, s in shapes.items()}
  encoders = dict.fromkeys(shapes, ENCODER)
  model = registry.build(shapes, encoders, HEAD, 5, shapes=shapes)
  variables = fakes.draw_variables(model, inputs)
  outputs = jax.jit(model.apply)(variables, inputs)
  assert outputs.logits is None
  assert {n: x.shape for n, x in outputs.reconstruction.items()} == {
    n: (2, *s) for n, s in shapes.items()
  }
  # Everything goes through the bottleneck.
  assert variables['params']['head']['bottleneck']['kernel'].shape == (32, 3)


def test_pictures_are_refused():
  shapes = {'imu': (24, 20, 3)}
  model = registry.build(shapes, {'imu': ENCODER}, HEAD, 5, shapes=shapes)
  with pytest.raises(UserError, match=r'imu has examples of shape \(24, 20, 3\)'):
    model.init(jax.random.key(0), {'imu': np.ones((2, 24, 6), np.float32)})


def test_an_lstm_decoder_sees_the_bottleneck_alone():
  shapes = {'imu': (12, 6), 'skeleton': (5, 4, 3)}
  head = {'kind': 'lstm_decoder', 'bottleneck': 3, 'features': 8}
  encoders = {'imu': {'kind': 'lstm', 'features': 8, 'layers': 1}}
  model = registry.build(['imu'], encoders, head, 5, shapes=shapes)
  x = np.random.default_rng(0).normal(size=(2, 12, 6)).astype(np.float32)
  variables = fakes.draw_variables(model, {'imu': x})
  apply = jax.jit(model.apply)
  given = apply(variables, {'imu': x}).reconstruction
  assert {n: y.shape for n, y in given.items()} == {'imu': (2, 12, 6), 'skeleton': (2, 5, 4, 3)}
  params = variables['params']['head']
  assert params['bottleneck']['kernel'].shape == (8, 3)
  assert params['imu_lstm']['forward_0']['input']['kernel'].shape == (3, 32)
  # Where nothing passes the bottleneck, every example is given back alike.
  params['bottleneck']['kernel'] = np.zeros((8, 3), np.float32)
  blind = apply(variables, {'imu': x}).reconstruction['imu']
  np.testing.assert_array_equal(blind[0], blind[1])
