"""StableHLO files give JAX's numbers for any batch size."""

import pathlib

import jax
import numpy as np
import pytest

from har.errors import UserError
from har.export import stablehlo
from tests.har.export.stand_in import example, network


@pytest.mark.parametrize('name', ['masked', 's3d'])
def test_any_batch_size_on_every_platform(name):
  call, inputs = network(name)
  given = example(inputs)
  runner = stablehlo.Runner(stablehlo.convert(call, inputs))
  assert runner.exported.platforms == ('cpu', 'cuda', 'tpu')
  expected = jax.jit(call)(given)['logits']
  np.testing.assert_allclose(runner(given)['logits'], expected, atol=1e-4)
  three = {n: np.repeat(x, 3, 0) for n, x in given.items()}
  np.testing.assert_allclose(runner(three)['logits'], np.repeat(expected, 3, 0), atol=1e-4)


def test_a_broken_file_is_a_user_error(tmp_path):
  path = tmp_path / 'model.stablehlo'
  path.write_bytes(b'nothing')
  with pytest.raises(UserError, match=r'model\.stablehlo'):
    stablehlo.Runner(path)
  with pytest.raises(UserError, match='cannot read'):
    stablehlo.Runner(tmp_path / 'absent')


def test_no_path_of_this_machine_is_inside():
  call, inputs = network('masked')
  jax.make_jaxpr(call)(inputs)  # a trace that may be reused
  file = stablehlo.convert(call, inputs)
  assert b'.py' not in file
  assert str(pathlib.Path(__file__).parents[3]).encode() not in file
