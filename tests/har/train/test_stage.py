"""Stages are built of parts: inputs, encoders, heads and objectives by their configs."""

import jax
import numpy as np
import pytest
import torch

from configs import base
from har.data import dataset as dataset_lib
from har.errors import UserError
from har.evaluate import results
from har.evaluate import run as evaluation
from har.train import experiment, stage
from har.train import mesh as mesh_lib
from har.train.interrupt import Interrupted
from tests import fakes
from tests.har.pretrained import torch_frames
from tests.har.train import test_loop


def fake(monkeypatch, **metadata):
  dataset = fakes.FakeDataset(metadata={**fakes.METADATA, **metadata})
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: dataset)


def train(c, workdir):
  opened = experiment.open_experiment(c, workdir)
  experiment.train(opened)
  return opened


def autoencoder(**objective):
  c = test_loop.config(
    epochs=8.0,
    validate_every=1,
    objective={'kind': 'reconstruct', **objective},
    head={'kind': 'decoder', 'bottleneck': 4, 'channels': (8,), 'kernel': 3},
  )
  c.dataset.validation_subjects = (3,)
  return c


def test_an_autoencoder_is_trained_chosen_continued_and_reported(tmp_path, monkeypatch):
  fake(monkeypatch, abnormal=('swipe_right',))
  c = autoencoder(normal_only=True)
  opened = train(c, tmp_path / 'whole')
  whole, facts = experiment.load(opened, 'imu')
  # Of subject 1 the four normal trials, in batches of 8: 8 epochs are 4 steps.
  assert facts['steps'] == 4
  validation = [r for r in test_loop.rows(tmp_path / 'whole') if r['split'] == 'validation']
  assert facts['validation']['error'] == min(r['error'] for r in validation)
  # Continued after any step, it is the same bit for bit.
  monkeypatch.setattr(experiment, 'StopSignal', test_loop.StopAt)
  monkeypatch.setattr(test_loop.StopAt, 'at', 2)
  with pytest.raises(Interrupted):
    train(c, tmp_path / 'parts')
  monkeypatch.setattr(test_loop.StopAt, 'at', 0)
  test_loop.assert_equal_trees(experiment.load(train(c, tmp_path / 'parts'), 'imu')[0], whole)

  table = evaluation.run(opened, command='test')
  block = table['stages']['imu']['float32']
  assert set(block) == {'auroc', 'average_precision', 'error', 'examples'}
  assert block['examples'] == 12
  assert table['alarms'] == {}
  rows = (tmp_path / 'whole' / 'predictions' / 'imu-float32.csv').read_text().splitlines()
  assert rows[0] == 'key,label,abnormal,score'
  assert sum(int(row.split(',')[2]) for row in rows[1:]) == 4
  scores = [float(row.split(',')[3]) for row in rows[1:]]
  assert block['error'] == pytest.approx(np.mean(scores), rel=1e-4)
  assert results.read_keys(tmp_path / 'whole', 'imu', 'float32')[0] == rows[1].split(',')[0]
  page = (tmp_path / 'whole' / 'report.html').read_text()
  assert 'Scores of imu' in page
  assert 'AUROC' in page
  assert 'Confusion' not in page


def test_parts_drawn_by_clip_are_marked_wherever_they_are_used(tmp_path, monkeypatch, capfd):
  fake(monkeypatch)
  c = autoencoder()
  c.dataset.update(protocol='by_clip', validation_subjects=())
  opened = train(c, tmp_path)
  table = evaluation.run(opened, command='test')
  (caution,) = table['cautions']
  assert 'are in training, too (protocol=by_clip), which flatters the figures' in caution
  assert f'warning: {caution}' in capfd.readouterr().err
  assert results.read_results(tmp_path)['cautions'] == [caution]
  assert caution in (tmp_path / 'report.html').read_text()


def test_early_stopping_follows_the_objectives_figure(tmp_path, monkeypatch):
  """The error that is to fall rises at once with a rate like this, and training ends."""
  fake(monkeypatch)
  c = autoencoder()
  c.stages.imu.update(epochs=60.0, early_stopping=3)
  c.stages.imu.optimizer.update(name='sgd', learning_rate=0.0, schedule='constant')
  opened = train(c, tmp_path)
  _, facts = experiment.load(opened, 'imu')
  # Batch statistics move for a while; then the error stays or rises, three times in a row.
  errors = [r['error'] for r in test_loop.rows(tmp_path) if r['split'] == 'validation']
  best = int(np.argmin(errors))
  assert len(errors) == best + 4 or len(errors) == 60
  assert facts['validation']['error'] == errors[best]


def test_a_student_learns_from_a_teacher_that_sees_more(tmp_path, monkeypatch):
  fake(monkeypatch)
  c = test_loop.config(('imu', 'skeleton'))
  c.stages.teacher = base.stage(['imu', 'skeleton'], learning_rate=1e-2, epochs=4.0, batch_size=8)
  c.stages.imu.objective = {'kind': 'distil', 'teacher': 'stage:teacher', 'temperature': 2.0}
  c.order = ('teacher', 'imu')
  opened = train(c, tmp_path / 'a')
  student = opened.stages['imu']
  assert set(student.inputs) == {'imu'}
  assert set(student.train_inputs) == {'imu', 'skeleton'}
  found, _ = experiment.load(opened, 'imu')
  table = evaluation.run(opened, command='test')
  assert table['modalities'] == {'teacher': ['imu', 'skeleton'], 'imu': ['imu']}
  # Another teacher makes another student.
  c.stages.teacher.epochs = 1.0
  other, _ = experiment.load(train(c, tmp_path / 'b'), 'imu')
  kernels = [v['params']['head']['imu']['kernel'] for v in (found, other)]
  assert not np.allclose(*kernels, atol=1e-4)


@pytest.mark.parametrize('teacher', ['stage:nope', 'stage:imu'])
def test_a_teacher_is_an_earlier_stage(teacher, tmp_path, monkeypatch):
  fake(monkeypatch)
  c = test_loop.config(objective={'kind': 'distil', 'teacher': teacher})
  name = teacher.removeprefix('stage:')
  with pytest.raises(UserError, match=f'stages.imu.objective.teacher names {name!r}, which is no'):
    experiment.open_experiment(c, tmp_path)


def test_two_inputs_of_one_field_are_fused(tmp_path, monkeypatch):
  """What makes a fusion is its inputs; no modality's name is special."""
  fake(monkeypatch)
  c = test_loop.config(('imu',))
  c.inputs.coarse = {'kind': 'signal', 'field': 'imu', 'length': 24}
  c.encoders.coarse = {'kind': 'cnn1d', 'channels': (8,), 'kernels': (3,)}
  c.stages.coarse = base.stage(['coarse'], learning_rate=1e-2, epochs=2.0, batch_size=8)
  c.stages.both = base.fusion(['coarse', 'imu'], learning_rate=1e-2, epochs=1.0, batch_size=8)
  c.order = ('imu', 'coarse', 'both')
  opened = train(c, tmp_path)
  assert opened.stages['both'].trained == ('head', 'coarse', 'imu')
  variables, _ = experiment.load(opened, 'both')
  assert set(variables['params']) == {'coarse', 'imu', 'head'}
  table = evaluation.run(opened, command='test')
  assert list(table['baselines']) == ['product']
  assert list(table['removed']['both']) == ['coarse', 'imu']
  assert 'The trained fusion recognises' in (tmp_path / 'report.html').read_text()


def test_flow_starts_from_weights_for_colours(tmp_path, monkeypatch):
  fake(monkeypatch)
  net = torch_frames.randomised(torch_frames.MobileNetV2(False, 0.25))
  torch.save(net.state_dict(), tmp_path / 'colours.pth')
  c = base.experiment('fake', ('flow',))
  c.runtime.devices = 1
  c.inputs.flow = {
    'field': 'rgb',
    'kind': 'flow',
    'frames': 1,
    'stack': 5,
    'resize': 32,
    'size': 32,
  }
  c.encoders.flow = {'kind': 'mobilenet_v2', 'width': 0.25}
  source = str(tmp_path / 'colours.pth')
  c.stages.flow = base.stage(['flow'], init_from=source, learning_rate=1e-3, epochs=1.0)
  c.order = ('flow',)
  opened = experiment.open_experiment(c, tmp_path / 'run')
  where = mesh_lib.replicated(opened.context.mesh)
  found = stage.initial_variables(opened.stages['flow'], opened.stages, tmp_path, where)
  stems = [x for x in jax.tree.leaves(found['params']) if x.ndim == 4 and x.shape[2] == 10]
  theirs = net.state_dict()['features.0.0.weight'].numpy().transpose(2, 3, 1, 0)
  mean = theirs.mean(2, keepdims=True)
  np.testing.assert_allclose(stems, [np.repeat(mean, 10, 2)], rtol=1e-6)
