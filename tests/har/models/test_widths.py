"""Layers take other numbers of features by their paths, and nothing else changes."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from har.models.widths import narrowed

X = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)


class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.Conv(8, (3,), name='a')(x)
    x = nn.Conv(16, (3,), feature_group_count=8, name='depthwise')(x)
    return nn.BatchNorm(use_running_average=True, name='bn')(nn.Dense(3, name='b')(x))


def init(widths, below=''):
  with narrowed(widths, below):
    return Net().init(jax.random.key(0), X)


@pytest.mark.parametrize('below', ['', 'imu'])
def test_features_and_groups(below):
  widths = [('a', 5), ('depthwise', 10)]
  widths = [(f'{below}/{path}' if below else path, n) for path, n in widths]
  shapes = jax.tree.map(np.shape, init(widths, below))['params']
  assert shapes['a'] == {'kernel': (3, 4, 5), 'bias': (5,)}
  assert shapes['depthwise'] == {'kernel': (3, 1, 10), 'bias': (10,)}
  assert shapes['b']['kernel'] == (10, 3)


def test_groups_of_several_channels_stay():
  class Grouped(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Conv(8, (1,), name='a')(x)
      return nn.Conv(12, (3,), feature_group_count=4, name='b')(x)

  with narrowed([('a', 4), ('b', 8)]):
    shapes = jax.tree.map(np.shape, Grouped().init(jax.random.key(0), X))['params']
  assert shapes['b']['kernel'] == (3, 1, 8)


def test_nothing_changes_without():
  plain = Net().init(jax.random.key(0), X)
  for widths in ([], [('elsewhere/a', 5)], [('a', 8)]):
    jax.tree.map(np.testing.assert_array_equal, init(widths), plain)
