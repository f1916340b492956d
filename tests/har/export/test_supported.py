"""Models that a format cannot hold are refused by the operation's name and place."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.data import dataset as dataset_lib
from har.errors import UserError
from har.export import litert, onnx, supported
from har.models import registry
from har.models.mode import INFERENCE
from har.models.types import Features
from har.train import checkpoints, experiment
from tests import fakes
from tests.har.export import test_run

INPUTS = {'x': jax.ShapeDtypeStruct((1, 5, 3), jnp.float32)}


class Foreign(nn.Module):
  """Loops and sorts by operations that are not ours."""

  loop: bool = True

  @nn.compact
  def __call__(self, x, mask=None, mode=INFERENCE):
    y = nn.RNN(nn.SimpleCell(4), name='cell')(x) if self.loop else jnp.sort(x, 1)
    return Features(y, y.mean(1), mask)


def problems(config):
  model = registry.build(['imu'], {'imu': config}, {'kind': 'linear'}, 3)
  inputs = {'imu': jax.ShapeDtypeStruct((1, 5, 3), jnp.float32)}
  variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), inputs)
  return supported.problems(model, variables, inputs)


@pytest.fixture
def foreign(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'foreign', Foreign)


def test_foreign_operations_are_found_in_their_modules_before_training(foreign):
  lite, onnx_line = problems({'kind': 'foreign'})
  where = 'scan (Recogniser/Recogniser.encode/imu/cell)'
  assert lite.startswith('LiteRT has no operation for')
  assert where in lite
  assert onnx_line.startswith('ONNX has no operation for')
  assert where in onnx_line
  (line,) = problems({'kind': 'foreign', 'loop': False})
  assert line.startswith('LiteRT has no operation for sort (Recogniser')


@pytest.mark.parametrize('kind', ['lstm', 'cnn1d_bn'])
def test_models_of_ours_have_no_problem(kind):
  assert problems({'kind': kind}) == []


def test_stages_that_are_to_be_trained_are_announced(foreign, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
  c = test_run.config()
  c.encoders.imu = {'kind': 'foreign', 'loop': False}
  opened = experiment.open_experiment(c, tmp_path)
  supported.announce(opened)
  formats, slim = capsys.readouterr().err.splitlines()
  assert formats.startswith('imu: LiteRT has no operation for sort')
  assert formats.endswith('it can be trained but not exported')
  assert slim.startswith('imu: no channels of the encoder Foreign of imu can be taken out')
  assert slim.endswith('it can be trained but not slimmed')
  monkeypatch.setattr(checkpoints, 'finished', lambda *_: True)
  supported.announce(opened)
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('convert', [litert.convert, onnx.convert])
def test_nothing_is_converted(convert):
  def call(inputs):
    _, y = jax.lax.scan(lambda c, x: (c, c * x), jnp.ones(3), inputs['x'][0])
    return {'y': y}

  with pytest.raises(UserError, match='has no operation for scan'):
    convert(call, INPUTS)


def test_one_format_may_hold_what_another_cannot():
  def call(inputs):
    return {'y': jnp.sort(inputs['x'], 1)}

  with pytest.raises(UserError, match=r'^LiteRT has no operation for sort'):
    litert.convert(call, INPUTS)
  x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
  found = onnx.Runner(onnx.convert(call, INPUTS))({'x': x})
  np.testing.assert_array_equal(found['y'], np.sort(x, 1))
