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
