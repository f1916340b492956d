"""Heads: any modalities in any order, products of experts, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models import fusion
from har.models.mode import Mode
from har.models.types import Features

RNG = np.random.default_rng(0)


def feature(steps, width, mask=None):
  sequence = RNG.standard_normal((2, steps, width)).astype(np.float32)
  return Features(sequence, sequence.mean(1), mask)


BOTH = {'rgb': feature(3, 8), 'imu': feature(5, 4)}
HEADS = [
  fusion.Linear(7),
  fusion.ConcatMLP(7),
  fusion.ConcatMLP(7, layer_norm=True),
  fusion.Decision(7),
  fusion.Residual(7),
  fusion.Attention(7, hidden=16),
]


@pytest.mark.parametrize('head', HEADS, ids=lambda head: type(head).__name__)
@pytest.mark.parametrize('names', [('imu',), ('rgb', 'imu')])
def test_any_modalities_in_any_order(head, names):
  features = {name: BOTH[name] for name in names}
  variables = jax.jit(head.init)(jax.random.key(0), features)
  logits = jax.jit(head.apply)(variables, features)
  assert logits.shape == (2, 7)
  assert logits.dtype == jnp.float32
  assert not np.allclose(logits[0], logits[1])
  backwards = dict(reversed(features.items()))
  np.testing.assert_allclose(head.apply(variables, backwards), logits, atol=1e-6)


@pytest.mark.parametrize(
  'kind', [fusion.Linear, fusion.ConcatMLP, fusion.Decision, fusion.Residual, fusion.Attention]
)
def test_dropout_only_where_the_head_trains(kind):
  head = kind(7, dropout=0.5)
  variables = jax.jit(head.init)(jax.random.key(0), BOTH)
  still = head.apply(variables, BOTH)
  np.testing.assert_array_equal(head.apply(variables, BOTH, Mode(True, ('imu',))), still)
  moved = head.apply(variables, BOTH, Mode(True), rngs={'dropout': jax.random.key(1)})
  assert not np.allclose(moved, still)


@pytest.mark.parametrize('head', [fusion.Decision(7), fusion.Residual(7)])
def test_stage_one_classifiers_make_the_geometric_mean_of_experts(head):
  experts = {
    name: fusion.Linear(7).init(jax.random.key(i), {name: BOTH[name]})['params'][name]
    for i, name in enumerate(BOTH)
  }
  variables = head.init(jax.random.key(9), BOTH)
  logits = head.apply({'params': variables['params'] | experts}, BOTH)
  product = 1
  for name, expert in experts.items():
    scores = fusion.Linear(7).apply({'params': {name: expert}}, {name: BOTH[name]})
    product *= jnp.sqrt(jax.nn.softmax(scores))
  expected = product / product.sum(-1, keepdims=True)
  np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=1e-6)


def test_trust_weighs_log_probabilities_at_the_start():
  variables = fusion.Residual(7, trust=(('imu', 0.5),)).init(jax.random.key(0), BOTH)['params']
  other = next(name for name in BOTH if name != 'imu')
  assert variables['weight_imu'] == pytest.approx(1 / 3)
  assert variables[f'weight_{other}'] == pytest.approx(2 / 3)
  with pytest.raises(UserError, match="trust of the head names 'sonar'"):
    fusion.Residual(7, trust=(('sonar', 0.5),)).init(jax.random.key(0), BOTH)


@pytest.mark.parametrize('head', [fusion.Decision(7), fusion.Residual(7)])
def test_products_of_experts_sow_each_experts_logits(head):
  variables = head.init(jax.random.key(0), BOTH)
  _, sown = head.apply({'params': variables['params']}, BOTH, mutable=['auxiliary'])
  assert set(sown['auxiliary']) == {f'logits_{name}' for name in BOTH}
  for name, features in BOTH.items():
    expert = {'params': {name: variables['params'][name]}}
    expected = fusion.Linear(7).apply(expert, {name: features})
    np.testing.assert_allclose(sown['auxiliary'][f'logits_{name}'][0], expected, rtol=1e-6)


def test_attention_does_not_see_padding():
  head = fusion.Attention(7, hidden=16)
  mask = np.array([[True] * 3 + [False] * 2, [True] * 5])
  padded = BOTH['imu'].replace(mask=mask)
  variables = head.init(jax.random.key(0), {'imu': padded})
  logits = head.apply(variables, {'imu': padded})
  garbage = np.where(mask[..., None], padded.sequence, 9.0)
  changed = head.apply(variables, {'imu': padded.replace(sequence=garbage)})
  np.testing.assert_allclose(logits, changed, atol=1e-6)
  unmasked = head.apply(variables, {'imu': padded.replace(mask=None)})
  assert not np.allclose(logits[0], unmasked[0])
  np.testing.assert_allclose(logits[1], unmasked[1], atol=1e-6)


def test_attention_heads_must_divide_the_width():
  with pytest.raises(UserError, match='hidden=10'):
    fusion.Attention(7, hidden=10).init(jax.random.key(0), BOTH)
