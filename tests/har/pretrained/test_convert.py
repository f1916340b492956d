"""A network for colours takes other channels."""

import jax
import numpy as np

from har.pretrained import convert


def test_other_channels_get_the_mean_over_the_colours():
  rng = np.random.default_rng(0)
  stem, block = rng.normal(size=(3, 3, 3, 8)), rng.normal(size=(1, 1, 3, 5))
  params = {'stem': {'kernel': stem, 'bias': np.ones(8)}, 'block': {'kernel': block}}
  like = jax.eval_shape(lambda: params)
  like['stem']['kernel'] = jax.ShapeDtypeStruct((3, 3, 10, 8), np.float32)
  found = convert.for_channels(params, like)
  assert found['stem']['kernel'].shape == (3, 3, 10, 8)
  for channel in range(10):
    np.testing.assert_allclose(found['stem']['kernel'][:, :, channel], stem.mean(2))
  np.testing.assert_array_equal(found['block']['kernel'], block)
  np.testing.assert_array_equal(found['stem']['bias'], params['stem']['bias'])


def test_what_does_not_fit_otherwise_is_left_alone():
  params = {'kernel': np.zeros((3, 3, 3, 8))}
  like = {'kernel': jax.ShapeDtypeStruct((5, 5, 10, 8), np.float32)}
  assert convert.for_channels(params, like)['kernel'].shape == (3, 3, 3, 8)
