"""I3D and C3D: sizes, equal forms, any clip, and I3D against PyTorch's operations."""

import itertools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from har.errors import UserError
from har.models import s3d
from har.models.c3d import C3D
from har.models.conv3d import same_pads
from har.models.i3d import I3D
from har.models.mode import Mode
from tests import fakes


def clip(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def few_blocks(monkeypatch):
  kept = {name: s3d.MIXED[name] for name in ('Mixed_3b', 'Mixed_4c', 'Mixed_5c')}
  monkeypatch.setattr(s3d, 'MIXED', kept)


def count(model):
  variables = jax.eval_shape(model.init, jax.random.key(0), clip(1, 16, 32, 32, 3))
  return sum(x.size for x in jax.tree.leaves(variables['params']))


def test_the_published_sizes():
  # Less the classifier, and the scales of batch norms that PyTorch's ports have.
  assert count(I3D()) == 12_697_264 - 400 * 1025 - 7280
  # Of Tran et al.'s convolutions, with scale and bias in place of a bias.
  channels = (3, 64, 128, 256, 256, 512, 512, 512, 512)
  kernels = sum(27 * c * d for c, d in itertools.pairwise(channels))
  assert count(C3D()) == kernels + 2 * sum(channels[1:])


@pytest.mark.parametrize(
  ('time', 'height', 'width', 'steps'),
  [(16, 112, 112, (2, 1)), (1, 1, 1, (1, 1)), (5, 17, 33, (1, 1)), (33, 64, 48, (5, 3))],
)
def test_any_clip_length_and_size(time, height, width, steps):
  x = clip(2, time, height, width, 3)
  for model, count, features in zip(
    (I3D(width=0.25), C3D(width=0.25)), steps, (256, 128), strict=True
  ):
    found = jax.eval_shape(lambda x, m=model: m.init_with_output(jax.random.key(0), x)[0], x)
    assert found.sequence.shape == (2, count, features)
    assert found.pooled.shape == (2, features)


@pytest.mark.parametrize('kind', [I3D, C3D])
def test_forms_agree(kind, few_blocks):
  x = clip(2, 5, 20, 19, 3)
  variables = fakes.draw_variables(kind(width=0.125), x)
  folded = jax.jit(kind(width=0.125).apply)(variables, x)
  plain = jax.jit(kind(width=0.125, conv='plain').apply)(variables, x)
  assert folded.pooled.std() > 0.1
  np.testing.assert_allclose(folded.sequence, plain.sequence, atol=1e-5)


@pytest.mark.parametrize('kind', [I3D, C3D])
def test_bfloat16(kind, few_blocks):
  x = clip(2, 8, 32, 32, 3)
  variables = fakes.draw_variables(kind(width=0.125), x)

  def run(dtype):
    model = kind(width=0.125, conv='folded', dtype=dtype)

    def loss(params):
      given = {**variables, 'params': params}
      y, updates = model.apply(given, x, None, Mode(train=True), mutable=['batch_stats'])
      return (y.pooled.astype(jnp.float32) ** 2).sum(), (y, updates)

    (_, found), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables['params'])
    inferred = jax.jit(model.apply)(variables, x)
    return *found, gradient, inferred.sequence

  _, _, slopes, exact = run(jnp.float32)
  y, updates, gradient, sequence = run(jnp.bfloat16)
  assert y.sequence.dtype == sequence.dtype == jnp.bfloat16
  assert {v.dtype for v in jax.tree.leaves((updates, gradient))} == {jnp.dtype('float32')}
  for one, slope in zip(*map(jax.tree.leaves, (gradient, slopes)), strict=True):
    assert np.isfinite(one).all()
    # What the next batch norm takes away is rounding alone.
    assert np.any(one) or np.abs(slope).max() < 1e-3
  np.testing.assert_allclose(sequence.astype(np.float32), exact, atol=0.05 * exact.max())


@pytest.mark.parametrize(
  ('kind', 'trained'), [(I3D, {'Mixed_5c'}), (C3D, {'conv5a', 'conv5b'})], ids=['i3d', 'c3d']
)
def test_frozen_parts_keep_their_statistics(kind, trained, few_blocks):
  x = clip(2, 4, 8, 8, 3)
  model = kind(width=0.125, conv='plain')
  variables = fakes.draw_variables(model, x)
  mode = Mode(True, kind.fine_tuned)
  _, updates = jax.jit(lambda v: model.apply(v, x, None, mode, mutable=['batch_stats']))(variables)
  flatten = flax.traverse_util.flatten_dict
  before, after = flatten(variables['batch_stats']), flatten(updates['batch_stats'])
  changed = {path[0] for path in before if not np.array_equal(before[path], after[path])}
  assert changed == trained


def padded(x, window, strides, value=0.0):
  pads = same_pads((0, *x.shape[2:]), window, strides)
  return functional.pad(x, [n for pair in pads[::-1] for n in pair], value=value)


class TorchI3D:
  """I3D of PyTorch's operations over our variables, channels first."""

  def __init__(self, variables):
    self.params, self.stats = (
      flax.traverse_util.flatten_dict(variables[n], sep='/') for n in ('params', 'batch_stats')
    )

  def unit(self, x, name, stride=1):
    kernel = torch.from_numpy(self.params[f'{name}/conv/kernel'].transpose(4, 3, 0, 1, 2).copy())
    window, strides = tuple(kernel.shape[2:]), (stride,) * 3
    x = functional.conv3d(padded(x, window, strides), kernel, stride=strides)
    norm = [self.stats[f'{name}/bn/mean'], self.stats[f'{name}/bn/var']]
    norm = [torch.from_numpy(v) for v in (*norm, self.params[f'{name}/bn/bias'])]
    return functional.batch_norm(x, *norm[:2], None, norm[2], eps=1e-3).relu()

  def pool(self, x, window, strides):
    return functional.max_pool3d(padded(x, window, strides, -np.inf), window, strides)

  def mixed(self, x, name):
    one = self.unit(self.unit(x, f'{name}/branch1_0'), f'{name}/branch1_1')
    two = self.unit(self.unit(x, f'{name}/branch2_0'), f'{name}/branch2_1')
    pooled = self.pool(x, (3, 3, 3), (1, 1, 1))
    parts = self.unit(x, f'{name}/branch0'), one, two, self.unit(pooled, f'{name}/branch3_1')
    return torch.cat(parts, 1)

  def __call__(self, x):
    x = self.unit(torch.from_numpy(x.transpose(0, 4, 1, 2, 3).copy()), 'Conv3d_1a_7x7', 2)
    x = self.unit(self.pool(x, (1, 3, 3), (1, 2, 2)), 'Conv3d_2b_1x1')
    x = self.pool(self.unit(x, 'Conv3d_2c_3x3'), (1, 3, 3), (1, 2, 2))
    for block in s3d.MIXED:
      if block == 'Mixed_4b':
        x = self.pool(x, (3, 3, 3), (2, 2, 2))
      if block == 'Mixed_5b':
        x = self.pool(x, (2, 2, 2), (2, 2, 2))
      x = self.mixed(x, block)
    return x.mean((3, 4)).numpy().transpose(0, 2, 1)


def test_i3d_equals_pytorchs_operations():
  # Sizes at which SAME padding is uneven.
  x = clip(1, 18, 50, 45, 3)
  variables = fakes.draw_variables(I3D(width=0.125), x)
  ours = jax.jit(I3D(width=0.125, conv='plain').apply)(variables, x).sequence
  with torch.inference_mode():
    theirs = TorchI3D(variables)(x)
  assert theirs.shape == (1, 3, 128)
  assert theirs.std() > 0.1
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_user_errors():
  x = clip(1, 2, 8, 8, 3)
  for kind in (I3D, C3D):
    for inputs, match in (((x[0],), 'needs clips'), ((x, np.ones((1, 2), bool)), 'takes no mask')):
      with pytest.raises(UserError, match=f'{kind.__name__} {match}'):
        kind().init(jax.random.key(0), *inputs)
