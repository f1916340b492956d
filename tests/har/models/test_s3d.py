"""S3D: sizes, names, equal forms, frozen parts."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.mode import INFERENCE, Mode
from har.models.s3d import S3D, Mixed, scaled, unit_channels
from tests import fakes


def clip(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def shapes(model, x):
  return jax.eval_shape(model.init, jax.random.key(0), x)


def test_the_published_size():
  variables = shapes(S3D(), clip(1, 16, 32, 32, 3))
  sizes = [x.size for x in jax.tree.leaves(variables['params'])]
  assert sum(sizes) == 8_320_048 - 400 * 1025
  assert variables['params']['Mixed_4c']['branch1_1']['temporal']['conv']['kernel'].shape == (
    (3, 1, 1, 224, 224)
  )
  assert list(variables['params']['Conv_1a']['spatial']) == ['bn', 'conv']


@pytest.mark.parametrize(
  ('time', 'height', 'width', 'steps'),
  [(16, 112, 112, 2), (1, 1, 1, 1), (5, 17, 33, 1), (3, 16, 200, 1), (32, 64, 48, 4)],
)
def test_any_clip_length_and_size(time, height, width, steps):
  x = clip(2, time, height, width, 3)
  model = S3D(width=0.25)
  features = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], x)
  assert features.sequence.shape == (2, steps, 256)
  assert features.pooled.shape == (2, 256)


def test_forms_agree():
  x = clip(2, 6, 20, 20, 3)
  # One set of variables serves both forms.
  variables = fakes.draw_variables(S3D(width=0.125), x)
  folded = jax.jit(S3D(width=0.125).apply)(variables, x)
  plain = jax.jit(S3D(width=0.125, conv='plain').apply)(variables, x)
  assert folded.pooled.std() > 0.1
  np.testing.assert_allclose(folded.sequence, plain.sequence, atol=1e-5)


def test_forms_agree_in_gradients_and_statistics():
  x = clip(2, 4, 6, 6, 8)
  sizes = (8, 8, 16, 24, 8, 8, 16, 8)
  variables = fakes.draw_variables(Mixed(sizes), x, INFERENCE)

  def run(form, dtype=jnp.float32):
    def loss(params, x):
      y, updates = Mixed(sizes, form, dtype=dtype).apply(
        variables | {'params': params}, x, Mode(train=True), mutable=['batch_stats']
      )
      return (y.astype(jnp.float32) ** 3).sum(), (y, updates)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(variables['params'], x)

  (folded, gradient), plain = run('folded'), run('plain')
  for a, b in zip(jax.tree.leaves((folded, gradient)), jax.tree.leaves(plain), strict=True):
    # Batch statistics of few values amplify rounding; conv3d's own test is ten times stricter.
    np.testing.assert_allclose(a, b, atol=1e-4 * max(1, float(jnp.abs(b).max())))

  (_, (y, updates)), gradient = run('folded', jnp.bfloat16)
  assert y.dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves((updates, gradient))} == {jnp.dtype('float32')}
  np.testing.assert_allclose(y.astype(np.float32), folded[1][0], atol=0.1)


def test_frozen_blocks_keep_their_statistics():
  x = clip(2, 4, 8, 8, 3)
  model = S3D(width=0.125, dropout=0.5)
  variables = fakes.draw_variables(model, x)

  @jax.jit
  def step(variables):
    mode = Mode(True, ('Mixed_5c',))
    return model.apply(variables, x, None, mode, mutable=['batch_stats'])

  # No dropout key is asked for: the dropout is frozen with the rest.
  _, updates = step(variables)
  flatten = flax.traverse_util.flatten_dict
  before, after = flatten(variables['batch_stats']), flatten(updates['batch_stats'])
  changed = {path[0] for path in before if not np.array_equal(before[path], after[path])}
  assert changed == {'Mixed_5c'}


def test_user_errors():
  x = clip(1, 2, 8, 8, 3)
  for model, inputs, match in (
    (S3D(), (x[0],), 'clips'),
    (S3D(), (x[:, :0],), 'clips'),
    (S3D(), (x, np.ones((1, 2), bool)), 'no mask'),
  ):
    with pytest.raises(UserError, match=match):
      model.init(jax.random.key(0), *inputs)


def test_scaled_channels_are_multiples_of_eight():
  assert [scaled(c, 1.0) for c in (24, 112, 832)] == [24, 112, 832]
  assert [scaled(c, 0.25) for c in (16, 64, 112)] == [8, 16, 32]


def test_the_units_are_those_of_the_parameters():
  params = shapes(S3D(width=0.25), clip(1, 4, 16, 16, 3))['params']
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  kernels = {k.removesuffix('/conv/kernel'): v.shape[-1] for k, v in flat.items() if 'kernel' in k}
  assert unit_channels(0.25) == kernels
