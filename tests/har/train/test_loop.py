"""Stages are trained, validated, continued, averaged and stopped as their config says."""

import json
import os
import re
import signal
import time

import chex
import jax
import numpy as np
import pytest
import torch

from configs import base
from har.data import dataset as dataset_lib
from har.data import loader
from har.errors import UserError
from har.evaluate import run as evaluation
from har.pretrained.s3d import STATISTICS
from har.train import checkpoints, experiment, stage
from har.train import mesh as mesh_lib
from har.train.interrupt import Interrupted, StopSignal
from tests import fakes
from tests.har.pretrained.torch_s3d import random_s3d


def config(modalities=('imu',), **changes):
  c = base.experiment('fake', modalities)
  c.runtime.update(devices=1, save_steps=3, log_steps=2)
  inputs = {'imu': {'length': 48}, 'skeleton': {'length': 24}, 'rgb': {'frames': 4, 'resize': 20}}
  inputs['rgb']['size'] = 16
  encoders = {
    'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8), 'kernels': (5, 5), 'pools': (2, 1)},
    'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': (2,)},
    'rgb': {'kind': 's3d', 'width': 0.125, 'conv': 'plain'},
  }
  for name in modalities:
    c.inputs[name] = inputs[name]
    c.encoders[name] = encoders[name]
    augment = {name: {'jitter': 0.05}} if name != 'rgb' else {}
    stage = {'epochs': 4.0, 'batch_size': 8, 'augment': augment, **changes}
    c.stages[name] = base.stage([name], learning_rate=1e-2, **stage)
  c.order = tuple(modalities)
  return c


@pytest.fixture(autouse=True)
def fake_dataset(monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())


def rows(workdir, stage='imu'):
  return [json.loads(r) for r in (workdir / 'metrics' / f'{stage}.jsonl').read_text().splitlines()]


def run(c, workdir):
  opened = experiment.open_experiment(c, workdir)
  experiment.train(opened)
  return opened, experiment.load(opened, c.order[0])


def assert_equal_trees(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_the_loss_falls_and_every_step_is_accounted_for(tmp_path):
  _, (_, meta) = run(config(epochs=20.0), tmp_path)
  # 12 training examples (3 classes, 2 subjects, 2 trials) in batches of 8.
  assert meta['steps'] == 30
  train = [r for r in rows(tmp_path) if r['split'] == 'train']
  assert train[-1]['step'] == 30
  assert train[-1]['epoch'] == pytest.approx(20, abs=1e-3)
  assert train[-1]['loss'] < 0.5 * train[0]['loss']
  assert len(list((tmp_path / 'tensorboard' / 'imu').iterdir())) == 1


class StopAt(StopSignal):
  """Stands for a SIGTERM that arrives during one step."""

  at = 0

  def requested(self, step):
    if step == self.at:
      os.kill(os.getpid(), signal.SIGTERM)
    return super().requested(step)


@pytest.mark.parametrize('at', [1, 4, 5])
def test_a_stopped_run_continues_bit_equal(at, tmp_path, monkeypatch):
  c = config(ema=0.9, optimizer={'schedule': 'plateau', 'patience': 1}, validate_every=1)
  c.dataset.validation_subjects = (3,)
  c.stages.imu.epochs = 12.0
  _, (expected, facts) = run(c, tmp_path / 'whole')
  monkeypatch.setattr(experiment, 'StopSignal', StopAt)
  monkeypatch.setattr(StopAt, 'at', at)
  with pytest.raises(Interrupted, match=f'stage imu is saved at step {at} of 9'):
    run(c, tmp_path / 'parts')
  monkeypatch.setattr(StopAt, 'at', 0)
  _, (found, found_facts) = run(c, tmp_path / 'parts')
  assert_equal_trees(found, expected)
  for fact in ('steps', 'validation', 'best_step'):
    assert found_facts[fact] == facts[fact]
  strip = [{k: v for k, v in r.items() if k != 'seconds'} for r in rows(tmp_path / 'parts')]
  assert [r for r in strip if r['split'] == 'validation'] == [
    r for r in rows(tmp_path / 'whole') if r['split'] == 'validation'
  ]


def test_the_best_step_on_validation_is_kept(tmp_path):
  c = config(epochs=10.0, validate_every=1, optimizer={'schedule': 'constant'})
  c.dataset.validation_subjects = (3,)
  _, (_, meta) = run(c, tmp_path)
  validation = [r for r in rows(tmp_path) if r['split'] == 'validation']
  best = max(r['top1'] for r in validation)
  assert meta['validation']['top1'] == best
  assert meta['best_step'] == next(r['step'] for r in validation if r['top1'] == best)


def test_early_stopping_ends_a_stage_that_no_longer_improves(tmp_path):
  c = config(epochs=60.0, validate_every=1, early_stopping=3)
  c.dataset.validation_subjects = (3,)
  _, (_, meta) = run(c, tmp_path)
  top1 = [r['top1'] for r in rows(tmp_path) if r['split'] == 'validation']
  assert meta['steps'] < 45
  assert max(top1[:-3]) >= max(top1[-3:])
  assert top1.index(max(top1)) == len(top1) - 4


def test_validation_that_is_drawn_in_a_fold_slows_and_ends_training(tmp_path):
  optimizer = {'schedule': 'plateau', 'patience': 1, 'factor': 0.5}
  c = config(epochs=200.0, validate_every=1, early_stopping=3, optimizer=optimizer)
  c.dataset.update(protocol='folds', fold=1, folds=2, validation_fraction=0.5)
  opened, (_, meta) = run(c, tmp_path)
  splits, subject = opened.context.splits, opened.context.dataset.index.subject
  parts = (splits.train, splits.validation, splits.test)
  assert [set(subject[part].tolist()) for part in parts] == [{2}, {4}, {1, 3}]
  found = rows(tmp_path)
  top1 = [r['top1'] for r in found if r['split'] == 'validation']
  assert meta['steps'] < 150
  assert len(top1) == top1.index(max(top1)) + 1 + 3
  rates, rate, best = [], 1e-2, -1.0
  for value in top1:
    rates.append(rate)
    rate, best = rate * (1 if value > best else 0.5), max(best, value)
  steps = [r['step'] for r in found if r['split'] == 'validation']
  logged = {r['step']: r['learning_rate'] for r in found if r['split'] == 'train'}
  np.testing.assert_allclose([logged[step] for step in steps], rates)
  assert meta['validation']['top1'] == max(top1)


def test_a_finished_stage_is_not_trained_again(tmp_path, capsys):
  run(config(), tmp_path)
  before = (tmp_path / 'metrics' / 'imu.jsonl').read_bytes()
  run(config(), tmp_path)
  assert 'imu: finished before' in capsys.readouterr().err
  assert (tmp_path / 'metrics' / 'imu.jsonl').read_bytes() == before


def test_a_loss_that_is_not_finite_names_stage_and_step(tmp_path):
  c = config(optimizer={'name': 'sgd', 'learning_rate': 1e30, 'schedule': 'constant'})
  with pytest.raises(UserError, match=r'stage imu: the loss is nan at step [23]; lower'):
    run(c, tmp_path)
  assert not checkpoints.finished(tmp_path, 'imu')
  # No checkpoint was written, so that the workdir is free for a better config.
  assert not (tmp_path / 'config.json').exists()
  _, (_, facts) = run(config(epochs=1.0), tmp_path)
  assert facts['steps'] == rows(tmp_path)[-1]['step'] == 2
  assert (tmp_path / 'config.json').exists()


@pytest.mark.parametrize('method', ['save_latest', 'save_best', 'finish'])
def test_a_workdir_is_claimed_before_any_checkpoint(method, tmp_path, monkeypatch):
  class Killed(BaseException):
    pass

  def kill(*_):
    raise Killed

  c = config()
  c.dataset.validation_subjects = (3,)
  monkeypatch.setattr(checkpoints.StageCheckpoints, method, kill)
  with pytest.raises(Killed):
    run(c, tmp_path)
  assert {p.name for p in tmp_path.glob('*.*')} == {
    'config.json', 'data.json', 'defaults.json', 'examples.json.gz'
  }  # fmt: skip
  with pytest.raises(UserError, match='belongs to another config'):
    experiment.open_experiment(config(), tmp_path)


def test_batch_sizes_that_devices_cannot_share_are_refused(tmp_path):
  c = config()
  c.runtime.devices = 3
  with pytest.raises(UserError, match=r'config.stages.imu.batch_size=8 is not a multiple of the 3'):
    run(c, tmp_path)


def test_evaluation_does_not_depend_on_batch_size_or_devices(tmp_path):
  results, files = [], []
  for batch_size, devices in ((7, 1), (16, 1), (7, 8), (16, 8)):
    c = config()
    c.stages.imu.batch_size = 8
    c.runtime.update(eval_batch_size=batch_size, devices=1)
    opened, _ = run(c, tmp_path)
    c.runtime.devices = devices
    opened = experiment.open_experiment(c, tmp_path)
    results.append(evaluation.run(opened, command='test'))
    files.append((tmp_path / 'predictions' / 'imu-float32.csv').read_text())
  assert results[0]['stages']['imu']['float32']['examples'] == 12
  assert all(r == results[0] for r in results)
  assert all(f == files[0] for f in files)


def test_a_run_moves_between_numbers_of_devices(tmp_path, monkeypatch):
  """Begun on eight devices that share parameters, continued on two, evaluated on both."""
  c = config(ema=0.9)
  c.runtime.update(devices=2)
  _, (expected, _) = run(c, tmp_path / 'whole')
  c.runtime.update(devices=8, fsdp=4, fsdp_min_size=64)
  monkeypatch.setattr(experiment, 'StopSignal', StopAt)
  monkeypatch.setattr(StopAt, 'at', 4)
  with pytest.raises(Interrupted, match='stage imu is saved at step 4 of 6'):
    run(c, tmp_path / 'parts')
  c.runtime.update(devices=2, fsdp=1)
  opened, (found, _) = run(c, tmp_path / 'parts')
  chex.assert_trees_all_close(found, expected, rtol=0, atol=1e-5)
  tables = [evaluation.run(opened, command='test')]
  c.runtime.update(devices=8, fsdp=4)
  opened = experiment.open_experiment(c, tmp_path / 'parts')
  variables, _ = experiment.load(opened, 'imu', sharded=True)
  kernel = variables['params']['imu']['conv_1']['kernel']
  assert kernel.shape == (5, 8, 8)
  assert kernel.addressable_shards[0].data.shape == (5, 2, 8)
  assert_equal_trees(variables, found)
  tables.append(evaluation.run(opened, command='test'))
  assert tables[1] == tables[0]


def test_microbatches_are_configured(tmp_path):
  c = config(accumulate=2, epochs=20.0)
  _, (_, meta) = run(c, tmp_path / 'two')
  assert meta['steps'] == 30
  train = [r for r in rows(tmp_path / 'two') if r['split'] == 'train']
  assert train[-1]['loss'] < 0.5 * train[0]['loss']
  c.stages.imu.accumulate = 3
  with pytest.raises(UserError, match=r'config\.stages\.imu\.accumulate=3 does not divide the 8'):
    run(c, tmp_path / 'three')


def test_waiting_for_data_is_measured_over_interruptions(tmp_path, monkeypatch, capsys):
  batches = loader.train_batches

  def slow(*args, **settings):
    for batch in batches(*args, **settings):
      time.sleep(0.2)  # longer than a step takes
      yield batch

  monkeypatch.setattr(loader, 'train_batches', slow)
  monkeypatch.setattr(experiment, 'StopSignal', StopAt)
  monkeypatch.setattr(StopAt, 'at', 4)
  with pytest.raises(Interrupted):
    run(config(), tmp_path)
  monkeypatch.setattr(StopAt, 'at', 0)
  _, (_, meta) = run(config(), tmp_path)
  assert 6 * 0.2 <= meta['data_wait'] * meta['seconds'] < meta['seconds']
  shares = [r['data_wait'] for r in rows(tmp_path)]
  assert all(0 < share < 1 for share in shares)
  seconds, percent = f'{meta["seconds"]:.0f}', f'{100 * meta["data_wait"]:.1f}'
  line = f'imu: 6 steps in {seconds} s, {percent}% of it waiting for data'
  assert line in capsys.readouterr().err


def test_video_starts_from_published_weights(tmp_path):
  net = random_s3d('torchvision')
  torch.save(net.state_dict(), tmp_path / 's3d.pth')
  c = config(('rgb',), init_from=str(tmp_path / 's3d.pth'))
  narrow = experiment.open_experiment(c, tmp_path / 'narrow')
  with pytest.raises(UserError, match=r'needs an S3D of width=1.0'):
    experiment.train(narrow)
  c.encoders.rgb.width = 1.0
  c.inputs.rgb.update(dict(zip(('mean', 'std'), STATISTICS['torchvision'], strict=True)))
  opened = experiment.open_experiment(c, tmp_path / 'wide')
  one = opened.stages['rgb']
  where = mesh_lib.replicated(opened.context.mesh)
  found = stage.initial_variables(one, opened.stages, tmp_path, where)
  kernel = found['params']['rgb']['Conv_1a']['spatial']['conv']['kernel']
  theirs = net.state_dict()['features.0.0.0.weight'].numpy()
  np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 4, 1, 0))
  mean = found['batch_stats']['rgb']['Mixed_5c']['branch0']['bn']['mean']
  np.testing.assert_array_equal(mean, net.state_dict()['features.15.branch0.1.running_mean'])


@pytest.mark.parametrize('naming', ['torchvision', 'kylemin'])
def test_published_weights_want_their_own_normalisation(naming, tmp_path):
  path = tmp_path / 's3d.pth'
  torch.save(random_s3d(naming).state_dict(), path)
  c = config(('rgb',), init_from=str(path))
  c.encoders.rgb.width = 1.0

  def start(workdir):
    opened = experiment.open_experiment(c, tmp_path / workdir)
    where = mesh_lib.replicated(opened.context.mesh)
    return stage.initial_variables(opened.stages['rgb'], opened.stages, tmp_path, where)

  other = {'torchvision': 'kylemin', 'kylemin': 'torchvision'}[naming]
  c.inputs.rgb.mean, c.inputs.rgb.std = STATISTICS[other]
  mean, std = STATISTICS[naming]
  wanted = f'init_from={path}: {naming} trained these weights on another normalisation; '
  wanted += f'set config.inputs.rgb.mean={mean}, config.inputs.rgb.std={std}'
  with pytest.raises(UserError, match=re.escape(wanted)):
    start('wrong')
  # Neighbouring frames are no colours: no publisher's normalisation fits them.
  c.inputs.rgb.show = 'motion'
  assert set(start('motion')['params']) == {'head', 'rgb'}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'init_from': 'stage:nope'}, "stages.imu.init_from names 'nope', which is no stage"),
    (
      {'init_from': 's3d-kinetics400'},
      'needs a stage with exactly one encoder that weights are published for',
    ),
    ({'trained': ('imu/conv9',)}, "'imu/conv9' of trained parameters matches none"),
    ({'head': {'kind': 'linaer'}}, "head.kind='linaer': must be one of 'linear'"),
    ({'augment': {'imu': {'jiter': 1.0}}}, 'jiter'),
  ],
)
def test_wrong_stages_are_user_errors(changes, message, tmp_path):
  with pytest.raises(UserError, match=message):
    run(config(**changes), tmp_path)


def test_an_input_that_is_not_configured_is_a_user_error(tmp_path):
  c = config()
  del c.inputs.imu
  with pytest.raises(UserError, match=r'config\.inputs\.imu is missing'):
    run(c, tmp_path)


def test_bfloat16_trains_with_float32_parameters(tmp_path):
  c = config(epochs=20.0)
  c.dtype = 'bfloat16'
  _, (variables, _) = run(c, tmp_path)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('float32')}
  losses = [r['loss'] for r in rows(tmp_path)]
  assert losses[-1] < 0.6 * losses[0]


def test_a_damaged_checkpoint_is_named(tmp_path):
  run(config(), tmp_path)
  final = tmp_path / 'checkpoints' / 'imu' / 'final'
  for path in final.rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  with pytest.raises(UserError, match=r'checkpoints/imu/final/6 cannot be restored'):
    run(config(), tmp_path)


def test_flipped_bytes_of_a_checkpoint_are_named(tmp_path):
  run(config(), tmp_path)
  final = tmp_path / 'checkpoints' / 'imu' / 'final'
  largest = max((p for p in final.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
  content = bytearray(largest.read_bytes())
  middle = len(content) // 2
  content[middle : middle + 200] = bytes(b ^ 255 for b in content[middle : middle + 200])
  largest.write_bytes(content)
  with pytest.raises(UserError, match=r'imu/final/6 cannot be restored \([^\n]+\)'):
    run(config(), tmp_path)
