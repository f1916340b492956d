"""HAMLET's head against the same numbers in NumPy."""

import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models.hamlet import Hamlet
from har.models.mode import Mode
from har.models.types import Features
from tests.har.models.attention import attend

RNG = np.random.default_rng(0)
MASK = np.array([[True] * 5, [True] * 3 + [False] * 2, [True] * 5])
PRESENT = np.array([True, True, False])


def features(steps, width, mask=None, present=None):
  sequence = RNG.standard_normal((3, steps, width)).astype(np.float32)
  return Features(sequence, sequence.mean(1), mask, present)


BOTH = {'skeleton': features(4, 6), 'imu': features(5, 3, MASK, PRESENT)}


def drawn(head):
  """Variables of order 1, biases too."""
  tree = jax.eval_shape(lambda: head.init(jax.random.key(0), BOTH))
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype('f') / 2, tree)


def expected(params, fused):
  """The paper's two levels, each example and modality by itself."""
  out = []
  for i in range(3):
    found, there = [], []
    for name in ('imu', 'skeleton'):
      x, given = BOTH[name].sequence[i], BOTH[name]
      if given.mask is not None:
        x = x[given.mask[i]]
      x = x @ params[f'{name}_in']['kernel'] + params[f'{name}_in']['bias']
      found.append(attend(params[f'{name}_attention'], x, x).mean(0))
      there.append(given.present is None or given.present[i])
    seen = np.stack([x for x, kept in zip(found, there, strict=True) if kept])
    fusing = np.zeros((2, 8))
    fusing[there] = attend(params['between'], seen, seen)
    fusing = fusing.ravel() if fused == 'concat' else fusing.sum(0)
    hidden = np.maximum(fusing @ params['hidden']['kernel'] + params['hidden']['bias'], 0)
    out.append(hidden @ params['logits']['kernel'] + params['logits']['bias'])
  return np.stack(out)


@pytest.mark.parametrize('fused', ['concat', 'sum'])
def test_forward_is_that_of_numpy(fused):
  head = Hamlet(7, hidden=8, heads=2, fused=fused)
  variables = drawn(head)
  logits = jax.jit(head.apply)(variables, BOTH).logits
  np.testing.assert_allclose(logits, expected(variables['params'], fused), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient():
  head = Hamlet(7, hidden=8, heads=2)
  variables = drawn(head)

  def loss(params, key):
    logits = head.apply({'params': params}, BOTH, Mode(train=True), rngs={'dropout': key}).logits
    return (logits**2).sum()

  grads = jax.jit(jax.grad(loss))(variables['params'], jax.random.key(3))
  for path, grad in jax.tree_util.tree_leaves_with_path(grads):
    # A constant that is added to all keys changes no softmax.
    vanishing = "['key']['bias']" in jax.tree_util.keystr(path)
    assert bool(np.abs(grad).max() > 1e-4) != vanishing, jax.tree_util.keystr(path)


def test_heads_must_divide_the_width():
  with pytest.raises(UserError, match='hidden=9 of the head is not a multiple of heads=2'):
    Hamlet(7, hidden=9).init(jax.random.key(0), BOTH)
