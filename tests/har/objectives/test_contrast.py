"""Contrast between modalities, with and without mined positives, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.types import Features, Outputs
from har.objectives import contrast
from har.objectives.cmkm import Mined, nearest
from har.objectives.contrast import Contrast
from har.objectives.objective import Facts

FACTS = Facts(('a', 'b'), (), np.array([1, 1]))
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((5, 4)).astype(np.float32) for _ in range(3))
PRESENT = np.array([True, True, False, True, True])


def unit(x):
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def by_hand(a, b, temperature, near_a=None, near_b=None):
  """The losses of a's rows one by one: positives and negatives written out."""
  losses = []
  for i in range(len(a)):
    across = np.exp(unit(a)[i] @ unit(b).T / temperature)
    positives = {i} if near_b is None else {i, *near_b[i]}
    good, every = sum(across[j] for j in positives), across.sum()
    if near_a is not None:
      within = np.exp(unit(a)[i] @ unit(a).T / temperature)
      good += sum(within[j] for j in near_a[i])
      every += within.sum() - within[i]
    losses.append(-np.log(good / every))
  return np.mean(losses)


def test_cmc_is_cross_entropy_of_the_pairs_in_both_directions():
  loss, metrics = jax.jit(Contrast(FACTS, 0.2).loss)(
    Outputs(embeddings={'imu': A, 'rgb': B}), {'present': {}, 'near': {}}
  )
  expected = (by_hand(A, B, 0.2) + by_hand(B, A, 0.2)) / 2
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  s = unit(A) @ unit(B).T
  right = [(s.argmax(1) == np.arange(5)).mean(), (s.argmax(0) == np.arange(5)).mean()]
  np.testing.assert_allclose(metrics['retrieval'], np.mean(right), rtol=1e-6)


def test_all_pairs_of_three_modalities_count():
  three = {'imu': A, 'rgb': B, 'skeleton': C}
  loss, _ = Contrast(FACTS).loss(Outputs(embeddings=three), {'present': {}, 'near': {}})
  pairs = [(A, B), (A, C), (B, C)]
  expected = sum((by_hand(x, y, 0.1) + by_hand(y, x, 0.1)) / 2 for x, y in pairs)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_what_is_absent_has_no_part_in_it():
  inputs = {'imu': A, 'imu_present': jnp.asarray(PRESENT)}
  _, targets = Contrast(FACTS).prepare(inputs, {}, jax.random.key(0), None)
  garbage = np.where(PRESENT[:, None], A, 1e3).astype(np.float32)

  def loss(embeddings):
    return Contrast(FACTS).loss(Outputs(embeddings={'imu': embeddings, 'rgb': B}), targets)[0]

  value, grad = jax.value_and_grad(loss)(garbage)
  kept = A[PRESENT], B[PRESENT]
  np.testing.assert_allclose(
    value, (by_hand(*kept, 0.1) + by_hand(*kept[::-1], 0.1)) / 2, rtol=1e-5
  )
  assert not grad[2].any()
  assert np.abs(grad[PRESENT]).min() > 0
  nobody = {'present': {'imu': jnp.zeros(5, bool)}, 'near': {}}
  lonely = jax.value_and_grad(
    lambda x: Contrast(FACTS).loss(Outputs(embeddings={'imu': x, 'rgb': B}), nobody)[0]
  )
  value, grad = lonely(A)
  assert value == 0
  assert not grad.any()


class Teacher:
  """Its variables are its features."""

  def apply(self, variables, inputs, mode):
    present = {name: inputs.get(f'{name}_present') for name in variables}
    return Outputs(
      features={n: Features(x[:, None], x, None, present[n]) for n, x in variables.items()}
    )


def test_cmkm_mines_positives_by_each_modality_and_counts_its_own_embeddings():
  alike = {
    'imu': np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.8], [-1, 0.3]], np.float32),
    'rgb': np.array([[1, 0], [0, 1], [0.9, 0.1], [0.2, 1], [0.1, -1]], np.float32),
  }
  near = {
    n: [set(np.argsort(-unit(x)[i] @ unit(x).T)[:2].tolist()) - {i} for i in range(5)]
    for n, x in alike.items()
  }
  assert near['imu'] == [{1}, {0}, {3}, {2}, {2}]
  assert near['rgb'] == [{2}, {3}, {0}, {1}, {0}]
  objective = Mined(FACTS, 0.2, teacher='stage:views', teacher_model=Teacher())
  inputs, targets = objective.prepare({'imu': 0}, {}, jax.random.key(0), alike)
  assert inputs == {'imu': 0}
  for name, mask in targets['near'].items():
    assert [set(np.flatnonzero(row)) for row in mask] == near[name]
  loss, _ = objective.loss(Outputs(embeddings={'imu': A, 'rgb': B}), targets)
  forth = by_hand(A, B, 0.2, near['imu'], near['rgb'])
  back = by_hand(B, A, 0.2, near['rgb'], near['imu'])
  np.testing.assert_allclose(loss, (forth + back) / 2, rtol=1e-5)


def test_cmkm_does_not_mine_what_is_absent():
  x = unit(np.array([[1, 0], [0.99, 0.1], [0.9, 0.3], [0, 1]]))
  np.testing.assert_array_equal(nearest(x, None, 1)[0], [False, True, False, False])
  present = jnp.array([True, False, True, True])
  np.testing.assert_array_equal(nearest(x, present, 1)[0], [False, False, True, False])
  np.testing.assert_array_equal(nearest(x, present, 2)[0], [False, False, True, True])
  few = jnp.array([True, False, True, False])
  np.testing.assert_array_equal(nearest(x, few, 2)[0], [False, False, True, False])
  with pytest.raises(UserError, match='positives=4: must be below the 4 examples of a batch'):
    nearest(x, None, 4)


def test_validation_goes_by_groups(monkeypatch):
  monkeypatch.setattr(contrast, '_GROUP', 3)
  objective = Contrast(FACTS, 0.2)
  inputs = {'imu_present': jnp.asarray(PRESENT)}
  scores = objective.scores(Outputs(embeddings={'imu': A, 'rgb': B}), inputs)
  found = objective.validate({n: np.asarray(x) for n, x in scores.items()}, np.zeros(5, int))
  first, second = (A[:2], B[:2]), (A[3:], B[3:])
  of = [(by_hand(*p, 0.2) + by_hand(*p[::-1], 0.2)) / 2 for p in (first, second)]
  assert found['loss'] == pytest.approx((3 * of[0] + 2 * of[1]) / 5, rel=1e-5)
  assert 0 <= found['retrieval'] <= 1


@pytest.mark.parametrize(
  ('outputs', 'message'),
  [
    (Outputs(), 'needs head.kind=projections'),
    (Outputs(embeddings={'imu': A}), 'contrast is between modalities, and this stage has one'),
  ],
)
def test_what_it_cannot_do_is_told(outputs, message):
  with pytest.raises(UserError, match=message):
    Contrast(FACTS).loss(outputs, {'present': {}, 'near': {}})
