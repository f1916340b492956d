"""Heads: any modalities in any order, products of experts, masks."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from har.errors import UserError
from har.models import fusion, hamlet, mumu
from har.models.mode import Mode
from har.models.types import Features

RNG = np.random.default_rng(0)


def feature(steps, width, mask=None):
  sequence = RNG.standard_normal((2, steps, width)).astype(np.float32)
  return Features(sequence, sequence.mean(1), mask)


@functools.cache
def applied(head):
  return jax.jit(head.apply, static_argnums=2)


@functools.cache
def drawn(head):
  return jax.jit(head.init)


BOTH = {'rgb': feature(3, 8), 'imu': feature(5, 4)}
HEADS = [
  fusion.Linear(7),
  fusion.ConcatMLP(7),
  fusion.ConcatMLP(7, layer_norm=True),
  fusion.Decision(7),
  fusion.Residual(7),
  fusion.Attention(7, hidden=16),
  hamlet.Hamlet(7, hidden=16),
  hamlet.Hamlet(7, hidden=16, fused='sum'),
  mumu.MuMu(7, groups=3, hidden=16),
]


@pytest.mark.parametrize('head', HEADS, ids=lambda head: type(head).__name__)
@pytest.mark.parametrize('names', [('imu',), ('rgb', 'imu')])
def test_any_modalities_in_any_order(head, names):
  features = {name: BOTH[name] for name in names}
  variables = drawn(head)(jax.random.key(0), features)
  logits = applied(head)(variables, features).logits
  assert logits.shape == (2, 7)
  assert logits.dtype == jnp.float32
  assert not np.allclose(logits[0], logits[1])
  backwards = dict(reversed(features.items()))
  np.testing.assert_allclose(applied(head)(variables, backwards).logits, logits, atol=1e-6)


@pytest.mark.parametrize('kind', sorted({type(head) for head in HEADS}, key=lambda k: k.__name__))
def test_dropout_only_where_the_head_trains(kind):
  head = kind(7, dropout=0.5, **({'groups': 3} if kind is mumu.MuMu else {}))
  variables = drawn(head)(jax.random.key(0), BOTH)
  still = applied(head)(variables, BOTH).logits
  np.testing.assert_array_equal(applied(head)(variables, BOTH, Mode(True, ('imu',))).logits, still)
  moved = applied(head)(variables, BOTH, Mode(True), rngs={'dropout': jax.random.key(1)}).logits
  assert not np.allclose(moved, still)


@pytest.mark.parametrize('head', [fusion.Decision(7), fusion.Residual(7)])
def test_stage_one_classifiers_make_the_geometric_mean_of_experts(head):
  experts = {
    name: drawn(fusion.Linear(7))(jax.random.key(i), {name: BOTH[name]})['params'][name]
    for i, name in enumerate(BOTH)
  }
  variables = drawn(head)(jax.random.key(9), BOTH)
  logits = applied(head)({'params': variables['params'] | experts}, BOTH).logits
  product = 1
  for name, expert in experts.items():
    scores = applied(fusion.Linear(7))({'params': {name: expert}}, {name: BOTH[name]}).logits
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
def test_products_of_experts_give_each_experts_logits(head):
  variables = drawn(head)(jax.random.key(0), BOTH)
  own = applied(head)({'params': variables['params']}, BOTH).own_logits
  assert set(own) == set(BOTH)
  for name, features in BOTH.items():
    expert = {'params': {name: variables['params'][name]}}
    expected = applied(fusion.Linear(7))(expert, {name: features}).logits
    np.testing.assert_allclose(own[name], expected, rtol=1e-6)


def test_attention_does_not_see_padding():
  head = fusion.Attention(7, hidden=16)
  mask = np.array([[True] * 3 + [False] * 2, [True] * 5])
  padded = BOTH['imu'].replace(mask=mask)
  variables = drawn(head)(jax.random.key(0), {'imu': padded})
  logits = applied(head)(variables, {'imu': padded}).logits
  garbage = np.where(mask[..., None], padded.sequence, 9.0)
  changed = applied(head)(variables, {'imu': padded.replace(sequence=garbage)}).logits
  np.testing.assert_allclose(logits, changed, atol=1e-6)
  unmasked = applied(head)(variables, {'imu': padded.replace(mask=None)}).logits
  assert not np.allclose(logits[0], unmasked[0])
  np.testing.assert_allclose(logits[1], unmasked[1], atol=1e-6)


def varied(head, features):
  """Variables in which biases and scales do something too."""
  params = drawn(head)(jax.random.key(0), features)['params']
  draw = np.random.default_rng(1)
  moved = jax.tree.map(lambda x: x + draw.uniform(0.02, 0.1, x.shape).astype('f'), params)
  return {'params': moved}


SOME = np.array([True, False])


@pytest.mark.parametrize('head', HEADS, ids=lambda head: type(head).__name__)
def test_what_is_absent_has_no_influence(head):
  lacking = BOTH | {'imu': BOTH['imu'].replace(present=SOME)}
  variables = varied(head, BOTH)
  run = jax.jit(lambda variables, features: head.apply(variables, features).logits)
  logits = run(variables, lacking)
  noise = RNG.normal(0, 1e4, (2, 5, 4)).astype(np.float32)
  garbage = Features(
    np.where(SOME[:, None, None], BOTH['imu'].sequence, noise),
    np.where(SOME[:, None], BOTH['imu'].pooled, noise[:, 0]),
    present=SOME,
  )
  np.testing.assert_array_equal(run(variables, lacking | {'imu': garbage}), logits)
  whole = run(variables, BOTH)
  np.testing.assert_allclose(logits[0], whole[0], rtol=1e-5, atol=1e-6)
  assert not np.allclose(logits[1], whole[1], atol=1e-3)


@pytest.mark.parametrize('head', HEADS, ids=lambda head: type(head).__name__)
def test_an_example_without_anything_gets_finite_logits(head):
  nothing = {n: f.replace(present=np.zeros(2, bool)) for n, f in BOTH.items()}
  variables = varied(head, BOTH)

  def run(variables):
    logits = head.apply(variables, nothing).logits
    return logits.sum(), logits

  (_, logits), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(variables)
  np.testing.assert_array_equal(logits[0], logits[1])
  assert all(np.isfinite(x).all() for x in [logits, *jax.tree.leaves(gradients)])
  if isinstance(head, fusion.Linear | fusion.Decision):
    assert not logits.any()


def test_weights_of_what_is_present_add_up_to_those_of_all():
  lacking = BOTH | {'imu': BOTH['imu'].replace(present=SOME)}
  rgb = {'rgb': BOTH['rgb']}
  params = varied(fusion.Linear(7), BOTH)['params']
  alone = applied(fusion.Linear(7))({'params': {'rgb': params['rgb']}}, rgb).logits
  summed = applied(fusion.Linear(7))({'params': params}, lacking).logits
  np.testing.assert_allclose(summed[1], 2 * alone[1], rtol=1e-6)
  weights = {'weight_imu': jnp.float32(-0.75), 'weight_rgb': jnp.float32(0.25)}
  product = applied(fusion.Decision(7))({'params': params | weights}, lacking).logits
  # The other's 0.25 becomes 1, the sum of both magnitudes.
  np.testing.assert_allclose(product[1], jax.nn.log_softmax(alone[1]), rtol=1e-6)


@pytest.mark.parametrize('kind', [fusion.Decision, fusion.Residual])
def test_an_expert_has_no_say_on_classes_that_it_never_saw(kind):
  head = kind(7, unknown=(('imu', (2, 5)), ('rgb', ())))
  variables = drawn(head)(jax.random.key(0), BOTH)
  # The heads start as products of their experts, by half of each.
  found = applied(head)(variables, BOTH)
  imu, rgb = (special.log_softmax(found.own_logits[n], -1) for n in ('imu', 'rgb'))
  known = np.array([0, 1, 3, 4, 6])
  wanted = rgb.copy()
  left = special.logsumexp(rgb[:, known], -1, keepdims=True)
  wanted[:, known] = special.log_softmax((imu + rgb)[:, known] / 2, -1) + left
  np.testing.assert_allclose(found.logits, wanted, rtol=1e-5)
  np.testing.assert_allclose(special.logsumexp(found.logits, -1), 0, atol=1e-5)
  lacking = BOTH | {'imu': BOTH['imu'].replace(present=np.zeros(2, bool))}
  np.testing.assert_allclose(applied(head)(variables, lacking).logits, rgb, rtol=1e-5)
  gradients = jax.grad(lambda v: (head.apply(v, BOTH).logits ** 2).sum())(variables)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_zeros_stand_for_absent_features_behind_the_layer_norm():
  head = fusion.ConcatMLP(7, layer_norm=True)
  lacking = BOTH | {'imu': BOTH['imu'].replace(present=SOME)}
  params = varied(head, BOTH)['params']
  rgb = nn.LayerNorm().apply({'params': params['norm_rgb']}, BOTH['rgb'].pooled)
  x = jnp.concatenate([jnp.zeros((2, 4)), rgb], -1)
  x = nn.relu(x @ params['hidden']['kernel'] + params['hidden']['bias'])
  expected = x @ params['logits']['kernel'] + params['logits']['bias']
  found = applied(head)({'params': params}, lacking).logits
  np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)


def test_attention_heads_must_divide_the_width():
  with pytest.raises(UserError, match='hidden=10'):
    fusion.Attention(7, hidden=10).init(jax.random.key(0), BOTH)
