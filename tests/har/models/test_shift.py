"""Temporal shift is what its paper defines, causal where it says so, and survives slimming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from har.compress import units
from har.models import registry
from har.models.shift import Shift
from tests import fakes

OPTIONS = {'temporal': 'mean', 'pooling': 'last'}


def by_definition(x, causal):
  """The paper's Section 4.1 on `[B, T, H, W, C]`: slices of channels, as its code has them."""
  x = torch.from_numpy(x)
  y, fold = torch.zeros_like(x), x.shape[-1] // 8
  first, second = slice(0, fold), slice(fold, fold if causal else 2 * fold)
  if causal:
    y[:, 1:, ..., first] = x[:, :-1, ..., first]
  else:
    y[:, :-1, ..., first] = x[:, 1:, ..., first]
    y[:, 1:, ..., second] = x[:, :-1, ..., second]
  y[..., second.stop :] = x[..., second.stop :]
  return y.numpy()


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('length', [1, 2, 5])
def test_a_shift_is_that_of_the_paper(causal, length):
  x = np.random.default_rng(0).standard_normal((2, length, 3, 4, 24)).astype(np.float32)
  frames = x.reshape(-1, *x.shape[2:])
  (_, y), variables = Shift(causal).init_with_output(jax.random.key(0), frames, length)
  np.testing.assert_array_equal(y.reshape(x.shape), by_definition(x, causal))
  assert set(variables) == {'batch_stats'}


@pytest.fixture
def encoder():
  x = np.random.default_rng(0).standard_normal((1, 4, 9, 9, 3)).astype(np.float32)

  def build(shift):
    model = fakes.TinyFrames(**OPTIONS, shift=shift)
    return model, fakes.draw_variables(model, x), x

  return build


@pytest.mark.parametrize(
  ('shift', 'seen'), [('none', {2}), ('causal', {1, 2}), ('both', {1, 2, 3})]
)
def test_which_frames_a_frame_sees(encoder, shift, seen):
  model, variables, x = encoder(shift)

  @jax.jit
  def gradient(x):
    return jax.grad(lambda x: (model.apply(variables, x).sequence[0, 2] ** 2).sum())(x)

  found = np.abs(gradient(x)).max((0, 2, 3, 4))
  assert set(np.flatnonzero(found > 1e-6)) == seen
  assert set(np.flatnonzero(found)) == seen


def test_only_blocks_with_a_residual_and_an_expansion_shift():
  model, x = registry.ENCODERS['mobilenet_v2'](shift='both'), jnp.zeros((1, 2, 32, 32, 3))
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
  blocks = {n for n, one in shapes['batch_stats']['cnn'].items() if 'shift' in one}
  # Ten of MobileNetV2's 17 blocks (Sandler et al., Table 2).
  assert blocks == {
    f'stage{i}_{j}' for i, n in enumerate((1, 2, 3, 4, 3, 3, 1)) for j in range(1, n)
  }
  assert len(blocks) == 10


@pytest.mark.parametrize('shift', ['both', 'causal'])
def test_slimming_takes_what_is_shifted_along(monkeypatch, shift):
  """Channels that give nothing are taken out: the function stays the same."""
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
  options = {'kind': 'tiny', 'shift': shift}
  model = registry.build(['rgb'], {'rgb': options}, {'kind': 'linear'}, 3)
  x = {'rgb': np.random.default_rng(0).standard_normal((1, 3, 12, 12, 3)).astype(np.float32)}
  variables = fakes.draw_variables(model, x)
  found = units.find(model, variables, x)
  name = 'rgb/cnn/stage1_0/project/conv'
  assert found.units[name].count == 8
  kept = {name: np.array([1, 2, 3, 6])}
  for block in ('stage1_0', 'stage1_1'):
    for group, leaf in (('params', 'scale'), ('params', 'bias')):
      norm = variables[group]['rgb']['cnn'][block]['project']['bn']
      norm[leaf] = np.where(np.isin(np.arange(8), kept[name]), norm[leaf], 0)
  small, slim = model.clone(widths=found.widths(kept)), found.cut(variables, kept)
  assert found.difference(units.find(small, slim, x), kept) == ''
  offset = slim['batch_stats']['rgb']['cnn']['stage1_1']['shift']['offset']
  assert offset.tolist() == ([-1, 0, 0, 0] if shift == 'both' else [0, 0, 0, 0])
  whole = jax.jit(model.apply)(variables, x).logits
  np.testing.assert_allclose(jax.jit(small.apply)(slim, x).logits, whole, atol=1e-5)
