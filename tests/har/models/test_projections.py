"""Projections of each modality by itself."""

import jax
import jax.numpy as jnp
import numpy as np

from har.models.mode import Mode
from har.models.projections import Projections
from har.models.types import Features

RNG = np.random.default_rng(0)
IMU, RGB = (RNG.standard_normal((4, n)).astype(np.float32) for n in (5, 3))
HEAD = Projections(7, hidden=6, size=2)


def features(imu=IMU, present=None):
  return {'rgb': Features(RGB[:, None], RGB), 'imu': Features(imu[:, None], imu, None, present)}


def test_embeddings_are_a_perceptron_with_the_batchs_statistics():
  variables = HEAD.init(jax.random.key(0), features())
  outputs, _ = HEAD.apply(variables, features(), Mode(train=True), mutable=['batch_stats'])
  assert outputs.logits is None
  assert outputs.named() == {}
  params = variables['params']
  for name, x in (('imu', IMU), ('rgb', RGB)):
    x = x @ params[f'{name}_hidden']['kernel']
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    out = params[f'{name}_out']
    expected = np.maximum(x, 0) @ out['kernel'] + out['bias']
    np.testing.assert_allclose(outputs.embeddings[name], expected, rtol=1e-4, atol=1e-5)
    assert outputs.embeddings[name].dtype == jnp.float32


def test_what_is_absent_is_not_in_the_batchs_statistics():
  present = np.array([True, True, False, True])
  variables = HEAD.init(jax.random.key(0), features())
  garbage = np.where(present[:, None], IMU, 1e3).astype(np.float32)
  run = jax.jit(
    lambda x: HEAD.apply(variables, features(x, present), Mode(train=True), mutable=['batch_stats'])
  )
  (one, stats), (other, moved) = run(IMU), run(garbage)
  np.testing.assert_array_equal(one.embeddings['imu'][present], other.embeddings['imu'][present])
  jax.tree.map(np.testing.assert_array_equal, stats, moved)
