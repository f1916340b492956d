"""Rewritten calls give the same numbers with operations that mobile runtimes run fast."""

import collections

import jax
import numpy as np
import pytest

from har.export.rewrite import rewrite
from tests.har.export.stand_in import MODELS, example, network


@pytest.mark.parametrize('name', list(MODELS))
def test_numbers_stay_the_same(name):
  call, inputs = network(name)
  given = example(inputs)
  expected = jax.jit(call)(given)['logits']
  found = jax.jit(rewrite(call, inputs))(given)['logits']
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_layers_of_three_dimensions_become_two():
  call, inputs = network('s3d')
  eqns = jax.make_jaxpr(rewrite(call, inputs))(inputs).jaxpr.eqns
  found = collections.Counter((e.primitive.name, e.outvars[0].aval.ndim) for e in eqns)
  assert found['conv_general_dilated', 4] == 77
  # (1, 3, 3) twice; rows and columns, then time of (3, 3, 3) ten times and of (2, 2, 2).
  assert found['reduce_window_max', 4] == 2 + 2 * 11
  assert found['conv_general_dilated', 5] == found['reduce_window_max', 5] == 0
