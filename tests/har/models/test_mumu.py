"""MuMu's head against the same numbers in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.models.mode import Mode
from har.models.mumu import MuMu
from tests.har.models.attention import attend
from tests.har.models.test_hamlet import BOTH, drawn

HEAD = MuMu(7, groups=3, hidden=8, heads=2)


def expected(params):
  """Logits and group logits, each example by itself."""

  def classify(x, name):
    for part in ('hidden', 'logits'):
      layer = params[f'{name}_{part}']
      x = x @ layer['kernel'] + layer['bias']
      x = np.maximum(x, 0) if part == 'hidden' else x
    return x

  logits, groups = [], []
  for i in range(3):
    found = []
    for name in ('imu', 'skeleton'):
      given = BOTH[name]
      if given.present is not None and not given.present[i]:
        continue
      x = given.sequence[i] if given.mask is None else given.sequence[i][given.mask[i]]
      x = x @ params[f'{name}_in']['kernel'] + params[f'{name}_in']['bias']
      found.append(attend(params[f'{name}_attention'], x, x).mean(0))
    found = np.stack(found)
    weights = np.exp(found @ params['weight']['kernel'] + params['weight']['bias'])
    group = (weights / weights.sum() * found).sum(0)
    groups.append(classify(group, 'group'))
    logits.append(classify(attend(params['guided'], group[None], found)[0], 'target'))
  return np.stack(logits), np.stack(groups)


def test_forward_is_that_of_numpy():
  variables = drawn(HEAD)
  outputs = jax.jit(HEAD.apply)(variables, BOTH)
  logits, groups = expected(variables['params'])
  np.testing.assert_allclose(outputs.logits, logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs.group_logits, groups, rtol=1e-4, atol=1e-5)
  assert outputs.deployed().group_logits is None


@pytest.mark.parametrize(
  ('task', 'untouched'), [('group_logits', ('target', 'guided')), ('logits', ('group',))]
)
def test_the_activity_trains_what_the_group_is_told_by_but_its_classifier(task, untouched):
  variables = drawn(HEAD)

  def loss(params, key):
    outputs = HEAD.apply({'params': params}, BOTH, Mode(train=True), rngs={'dropout': key})
    return (getattr(outputs, task) ** 2).sum()

  grads = jax.jit(jax.grad(loss))(variables['params'], jax.random.key(3))
  for name, layer in grads.items():
    moved = any(np.abs(x).max() > 1e-6 for x in jax.tree.leaves(layer))
    assert moved != name.startswith(untouched), name


def test_what_is_given_is_float32_though_the_computation_is_bfloat16():
  half = HEAD.clone(dtype=jnp.bfloat16)
  outputs = jax.eval_shape(half.apply, drawn(HEAD), BOTH)
  assert outputs.logits.dtype == outputs.group_logits.dtype == jnp.float32
  hidden = jax.eval_shape(
    lambda variables: half.apply(variables, BOTH, capture_intermediates=True)[1], drawn(HEAD)
  )['intermediates']
  assert hidden['guided']['__call__'][0].dtype == jnp.bfloat16
