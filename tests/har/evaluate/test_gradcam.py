"""Grad-CAM's maps against what they are by hand, and the pictures made of them."""

import base64
import io

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from har.errors import UserError
from har.evaluate import gradcam
from har.models import registry
from har.models.mode import INFERENCE
from har.models.recogniser import Recogniser
from har.models.types import Features

CLASSES = 3


class Pictures(nn.Module):
  """A convolution on each frame, or on all with three axes; then means over places and time."""

  folded: bool

  @nn.compact
  def __call__(self, x, mask=None, mode=INFERENCE):
    y = x.reshape(-1, *x.shape[2:]) if self.folded else x
    y = nn.relu(nn.Conv(4, (3,) * (y.ndim - 2), name='conv')(y))
    y = y.mean((-3, -2)).reshape(*x.shape[:2], -1)
    return Features(sequence=y, pooled=y.mean(1))


class Flat(nn.Module):
  @nn.compact
  def __call__(self, x, mask=None, mode=INFERENCE):
    y = nn.Dense(4)(x.reshape(*x.shape[:2], -1))
    return Features(sequence=y, pooled=y.mean(1))


def model(encoder):
  head = registry.build(('rgb',), {'rgb': {'kind': 'mobilenet_v2'}}, {'kind': 'linear'}, CLASSES)
  return Recogniser({'rgb': encoder}, head.head)


def started(encoder):
  made = model(encoder)
  x = {'rgb': jax.random.normal(jax.random.key(1), (2, 4, 6, 8, 3))}
  return made, made.init(jax.random.key(0), x, INFERENCE), x


@pytest.mark.parametrize('folded', [True, False], ids=['frames', 'clips'])
def test_of_means_and_a_linear_head_it_is_the_class_activation_map(folded):
  made, variables, x = started(Pictures(folded))
  classes = jnp.array([2, 0])
  found = jax.jit(lambda v, x: gradcam.maps(made, v, x, 'rgb', classes))(variables, x)

  conv = variables['params']['rgb']['conv']
  values = x['rgb'].reshape(-1, 6, 8, 3) if folded else x['rgb']
  layer = nn.Conv(4, (3,) * (values.ndim - 2))
  # The layer that is looked at is the last that has places: before its ReLU, as there is no module.
  activations = layer.apply({'params': conv}, values).reshape(2, 4, 6, 8, 4)
  kernel = jax.tree.leaves({'k': variables['params']['head']})
  (kernel,) = (leaf for leaf in kernel if leaf.ndim == 2)
  passed = (activations > 0).mean((2, 3), keepdims=True)  # the ReLU's part of the gradient
  weights = kernel.T[classes][:, None, None, None] * passed
  heat = np.maximum((weights * activations).sum(-1), 0)
  expected = heat / heat.max((1, 2, 3), keepdims=True)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert found.shape == (2, 4, 6, 8)


def test_a_map_depends_on_the_class():
  made, variables, x = started(Pictures(True))
  one, other = (gradcam.maps(made, variables, x, 'rgb', jnp.array([c, c])) for c in (0, 1))
  assert float(jnp.abs(one - other).max()) > 0.1


def test_an_encoder_without_places_is_told():
  made, variables, x = started(Flat())
  with pytest.raises(UserError, match='rgb: no layer of its encoder has a height and a width'):
    gradcam.last_map(made, variables, x, 'rgb')


def test_a_strip_has_frames_above_the_same_frames_under_the_map():
  frames = np.full((12, 20, 20, 3), 200, np.uint8)
  heat = np.zeros((3, 4, 4), np.float32)
  heat[2] = 1  # the last third of the time
  address = gradcam.strip(frames, heat)
  kind, content = address.split(',')
  assert kind == 'data:image/jpeg;base64'
  picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))), int)
  side = picture.shape[0] // 2
  assert picture.shape == (2 * side, gradcam.FRAMES * side, 3)
  assert np.abs(picture[: side - 8] - 200).max() < 6
  columns = picture[side:].reshape(side, gradcam.FRAMES, side, 3).mean((0, 2, 3))
  assert (columns[:4] < 110).all()  # darkened where nothing speaks for the class
  assert (columns[4:] > 150).all()


def test_flow_is_shown_by_two_colours():
  flow = np.arange(2 * 3 * 3 * 10, dtype=np.uint8).reshape(2, 3, 3, 10)
  shown = gradcam.picture(flow)
  assert shown.shape == (2, 3, 3, 3)
  np.testing.assert_array_equal(shown[..., :2], flow[..., :2])
  assert (shown[..., 2] == 128).all()
  colours = np.zeros((2, 3, 3, 3), np.uint8)
  assert gradcam.picture(colours) is colours
