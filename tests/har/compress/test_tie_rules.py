"""Channels go in step through what mixes or moves them, each operation by its rule."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import channels, units
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from tests.har.compress.test_channels import check_equal, model_of


class Between(nn.Module):
  """Two dense layers, and something between them."""

  how: str

  @nn.compact
  def __call__(self, x, mask=None, mode: Mode = INFERENCE) -> Features:
    y = nn.relu(nn.Dense(12, name='a')(x))
    y = nn.Dense(7, name='b')(getattr(self, f'_{self.how}')(y))
    return Features(y, y.mean(1))

  def _grouped(self, x):
    return nn.Conv(18, (3,), feature_group_count=3, name='grouped')(x)

  def _norm(self, x):
    return nn.GroupNorm(3, name='norm')(x)

  def _taken(self, x):
    return x[:, np.array([0, 5, 5, 2])]

  def _table(self, x):
    return x * nn.Embed(30, x.shape[-1], name='table')(jnp.arange(x.shape[1]))

  def _nearest(self, x):
    return jax.image.resize(x, (len(x), 36, x.shape[-1]), 'nearest')

  def _stacked(self, x):
    return jnp.stack([x, 2 * x], -1).reshape(*x.shape[:2], -1)

  def _tiled(self, x):
    return jnp.tile(x, (1, 1, 2))

  def _waves(self, x):
    return jax.checkpoint(lambda y: jnp.sin(y) + jnp.log1p(y))(x)


@pytest.mark.parametrize(
  ('how', 'counts'),
  [
    ('grouped', {'a': 4, 'grouped': 6, 'b': 7}),  # the same channels of each group
    *(
      (how, {'a': 12, 'b': 7}) for how in ('taken', 'table', 'nearest', 'stacked', 'tiled', 'waves')
    ),
  ],
)
def test_dropping_dead_channels_leaves_logits_equal(how, counts):
  model, variables, inputs = model_of(('imu',), encoder=Between(how))
  found = units.find(model, variables, inputs)
  assert {unit.name: unit.count for unit in found.units.values()} == {
    f'imu/{name}': count for name, count in counts.items()
  }
  assert found.opaque('imu') == []
  check_equal(model, variables, inputs, ('imu',))


def test_groups_of_a_norm_lose_the_same_channels():
  model, variables, inputs = model_of(('imu',), encoder=Between('norm'))
  found = units.find(model, variables, inputs)
  kept = {'imu/a': np.array([0, 2, 3])}
  small, slim = model.clone(widths=found.widths(kept)), found.cut(variables, kept)
  assert dict(small.widths) == {'imu/a': 9}
  left = [0, 2, 3, 4, 6, 7, 8, 10, 11]
  scale = variables['params']['imu']['norm']['scale']
  np.testing.assert_array_equal(slim['params']['imu']['norm']['scale'], scale[left])
  assert found.difference(units.find(small, slim, inputs), kept) == ''
  small, _ = channels.shrink(model, variables, inputs, channels.Slimming(0.75, multiple=6, least=0))
  assert dict(small.widths) == {'imu/a': 6, 'imu/b': 7}  # two of each group


def test_the_number_of_the_largest_channel_needs_all():
  class Largest(nn.Module):
    @nn.compact
    def __call__(self, x, mask=None, mode: Mode = INFERENCE) -> Features:
      y = nn.Dense(6, name='a')(x).argmax(-1, keepdims=True).astype(jnp.float32)
      return Features(y, y.mean(1))

  found = units.find(*model_of(('imu',), encoder=Largest()))
  assert found.units == {}
  assert found.opaque('imu') == ['argmax in Recogniser/Recogniser.encode/imu']
