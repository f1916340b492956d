"""Pruned and slim stages train, save and continue like any stage."""

import os
import signal

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base
from har.compress import finetune, prune, units
from har.data import dataset as dataset_lib
from har.errors import UserError
from har.train import checkpoints, experiment, loop
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from har.train.interrupt import Interrupted, StopSignal
from tests import fakes

ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (16, 16), 'kernels': (5, 5), 'pools': (2, 1)},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (16,), 'kernels': (5,), 'strides': (2,)},
}
PRUNING = {'sparsity': 0.75, 'end': 0.5, 'times': 3, 'learning_rate': 0.5, 'epochs': 2.0}


@pytest.fixture(autouse=True)
def fake_dataset(monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())


@pytest.fixture
def opened(tmp_path):
  """An experiment of two modalities and their fusion."""
  c = base.experiment('fake', ('imu', 'skeleton'))
  c.runtime.update(devices=1, save_steps=3, log_steps=2)
  c.inputs = ConfigDict({'imu': {'length': 24}, 'skeleton': {'length': 24}})
  c.encoders = ConfigDict(ENCODERS)
  shared = {'learning_rate': 1e-2, 'batch_size': 8, 'epochs': 2.0}
  c.stages.imu = base.stage(['imu'], **shared, ema=0.9)
  head, objective = {'kind': 'residual', 'hidden': 8}, {'kind': 'classify', 'auxiliary': 1.0}
  c.stages.fusion = base.stage(c.modalities, **shared, head=head, objective=objective)
  c.order = ('imu', 'fusion')
  return experiment.open_experiment(c, tmp_path)


def variables_of(opened, name):
  """Stands for the result of the finished stage."""
  where = mesh_lib.replicated(opened.context.mesh)
  workdir = opened.context.workdir
  return stage_lib.initial_variables(opened.stages[name], opened.stages, workdir, where)


def result(opened, stage, like):
  where = mesh_lib.replicated(opened.context.mesh)
  return checkpoints.load_final(opened.context.workdir, stage.name, like, where)[0]


def train(opened, stage, variables, stop_type=StopSignal):
  with stop_type() as stop:
    loop.train_stage(stage, opened.context, variables, stop)
  return result(opened, stage, variables)


class StopAtFour(StopSignal):
  def requested(self, step):
    if step == 4:
      os.kill(os.getpid(), signal.SIGTERM)
    return super().requested(step)


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def clear(opened, stage):
  folder = opened.context.workdir / 'checkpoints' / stage.name
  folder.rename(folder.with_name('whole'))


def test_a_pruned_stage_is_as_sparse_as_said_and_continues_bit_equal(opened):
  variables = variables_of(opened, 'imu')
  stage, variables = finetune.pruned_stage(opened.stages['imu'], variables, PRUNING)
  assert stage.name == 'imu-pruned'
  assert stage.config.epochs == 4.0
  assert stage.config.optimizer.learning_rate == pytest.approx(5e-3)
  whole = train(opened, stage, variables)
  found = prune.zeros(whole['params'])
  size = sum(n for _, n in found.values())
  assert sum(zero for zero, _ in found.values()) == round(0.75 * size)
  clear(opened, stage)
  # Between the second and third time it prunes, of 6 steps.
  with pytest.raises(Interrupted, match='stage imu-pruned is saved at step 4 of 6'):
    train(opened, stage, variables, StopAtFour)
  again, _ = finetune.pruned_stage(opened.stages['imu'], variables, PRUNING)
  assert_equal(train(opened, again, variables), whole)


def test_a_slim_stage_has_fewer_channels_and_continues_bit_equal(opened):
  variables = variables_of(opened, 'fusion')
  settings = {'flops': 0.6, 'multiple': 4, 'exclude': ('skeleton',), 'changes': {'ema': 0.5}}
  stage, start = finetune.slim_stage(opened.stages['fusion'], variables, settings)
  assert stage.name == 'fusion-slim'
  assert stage.config.ema == 0.5
  before = opened.stages['fusion']
  work = [units.find(s.model, s.variables, s.example) for s in (stage, before)]
  small, full = (found.multiply_adds(found.kernels('imu')) for found in work)
  assert small <= 0.6 * full
  widths = dict(stage.model.widths)
  assert {path.split('/')[0] for path in widths} == {'imu'}
  kernel = start['params']['imu']['conv_1']['kernel']
  assert kernel.shape[1:] == (widths.get('imu/conv_0', 16), widths.get('imu/conv_1', 16))
  assert start['params']['head']['hidden']['kernel'].shape == (2 * kernel.shape[2] + 16, 8)
  whole = train(opened, stage, start)
  moved = whole['params']['imu']['conv_1']['kernel'] != start['params']['imu']['conv_1']['kernel']
  assert moved.any()
  clear(opened, stage)
  short = {**settings, 'changes': {'ema': 0.5}}
  again, start = finetune.slim_stage(opened.stages['fusion'], variables, short)
  assert_equal(train(opened, again, start), whole)


def test_a_slim_stage_can_be_pruned_as_well(opened):
  variables = variables_of(opened, 'imu')
  slim, start = finetune.slim_stage(opened.stages['imu'], variables, {'flops': 0.6, 'multiple': 4})
  small = train(opened, slim, start)
  both, small = finetune.pruned_stage(slim, small, {'sparsity': 0.5, 'scope': 'layer'})
  assert both.name == 'imu-slim-pruned'
  found = prune.zeros(train(opened, both, small)['params'])
  assert {path: zero for path, (zero, _) in found.items()} == {
    path: round(0.5 * size) for path, (_, size) in found.items()
  }


@pytest.mark.parametrize(
  ('make', 'settings', 'message'),
  [
    ('pruned', {'sparse': 0.8}, "pruned.sparse=0.8: no such option; did you mean 'sparsity'"),
    ('slim', {'flop': 0.8}, "slim.flop=0.8: no such option; did you mean 'flops'"),
    ('pruned', {'changes': {'lr': 1.0}}, 'changes.lr: no such option of config.stages.imu'),
    ('pruned', {'trained': ('rgb',)}, 'there is no kernel to prune'),
    ('slim', {'multiple': 16}, r'slimming.flops=0.5 cannot be reached: 1.00 of the work'),
  ],
)
def test_wrong_settings_are_user_errors(make, settings, message, opened):
  variables = variables_of(opened, 'imu')
  function = {'pruned': finetune.pruned_stage, 'slim': finetune.slim_stage}[make]
  with pytest.raises(UserError, match=message):
    function(opened.stages['imu'], variables, settings)
