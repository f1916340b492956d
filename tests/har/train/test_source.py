"""A frozen front is computed once, and nothing else changes."""

import json
import os
import signal

import chex
import numpy as np
import pytest

from configs import base
from har.data import dataset as dataset_lib
from har.data import loader, video
from har.data.protocols import Index
from har.errors import UserError
from har.models import registry
from har.train import experiment, kept, source
from har.train.interrupt import Interrupted, StopSignal
from tests import fakes

TIME = ('rgb/time', 'head')
LAST = ('rgb/cnn/stage1_1', 'rgb/cnn/head', 'rgb/time', 'head')


@pytest.fixture(autouse=True)
def fake_dataset(monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)


def config(modalities=('rgb',), **changes):
  c = base.experiment('fake', ('rgb', 'imu'))
  c.runtime.update(devices=1, save_steps=3, log_steps=2, eval_batch_size=5)
  inputs = {'rgb': {'frames': 4, 'resize': 20, 'size': 16}, 'imu': {'length': 48}}
  encoders = {
    'rgb': {'kind': 'tiny', 'temporal': 'gru', 'features': 4, 'dropout': 0.5},
    'imu': {'kind': 'cnn1d', 'channels': (4,), 'kernels': (5,), 'pools': (2,)},
  }
  for name in modalities:
    c.inputs[name], c.encoders[name] = inputs[name], encoders[name]
  settings = {'epochs': 5.0, 'batch_size': 8, 'cached_views': 1, 'trained': TIME, 'keep': 'last'}
  # Without epsilon, Adam would turn gradients that are all rounding into whole steps.
  settings['optimizer'] = {'name': 'sgd', 'schedule': 'constant'}
  c.stages.one = base.stage(modalities, learning_rate=0.05, **{**settings, **changes})
  c.order = ('one',)
  return c


def run(c, workdir):
  opened = experiment.open_experiment(c, workdir)
  experiment.train(opened)
  return experiment.load(opened, 'one')[0]


def rows(workdir):
  return [json.loads(r) for r in (workdir / 'metrics' / 'one.jsonl').read_text().splitlines()]


def middle_frames(monkeypatch):
  choose = video.choose_frames
  monkeypatch.setattr(video, 'choose_frames', lambda n, count, rng=None: choose(n, count))


@pytest.mark.parametrize('trained', [TIME, LAST])
def test_parameters_and_validation_are_those_without_a_cache(trained, tmp_path, monkeypatch):
  middle_frames(monkeypatch)
  c = config(trained=trained, ema=0.5, validate_every=1)
  c.dataset.validation_subjects = (3,)
  cached = run(c, tmp_path / 'cached')
  c.stages.one.cached_views = 0
  plain = run(c, tmp_path / 'plain')
  chex.assert_trees_all_close(cached, plain, rtol=0, atol=1e-6)
  start = experiment.open_experiment(c, tmp_path / 'new').stages['one']
  moved = start.random_variables([('params', 'head', 'rgb', 'kernel')])
  assert abs(next(iter(moved.values())) - cached['params']['head']['rgb']['kernel']).max() > 1e-2
  for one, other in zip(rows(tmp_path / 'cached'), rows(tmp_path / 'plain'), strict=True):
    one, other = ({k: v for k, v in r.items() if k != 'data_wait'} for r in (one, other))
    assert one == pytest.approx(other, abs=1e-5)


def test_what_is_not_frozen_is_read_as_ever(tmp_path, monkeypatch):
  middle_frames(monkeypatch)
  changes = {'head': {'kind': 'concat_mlp', 'hidden': 4}, 'augment': {'imu': {'jitter': 0.1}}}
  c = config(('rgb', 'imu'), trained=('imu', 'head'), **changes)
  cached = run(c, tmp_path / 'cached')
  c.stages.one.cached_views = 0
  chex.assert_trees_all_close(cached, run(c, tmp_path / 'plain'), rtol=0, atol=1e-6)


def test_frames_are_decoded_once(tmp_path, monkeypatch):
  counts, decode = [], video.rgb_clip
  monkeypatch.setattr(video, 'rgb_clip', lambda *a, **k: counts.append(1) or decode(*a, **k))
  c = config(epochs=20.0, validate_every=1)
  c.dataset.validation_subjects = (3,)
  opened = experiment.open_experiment(c, tmp_path)
  described = len(counts)
  experiment.train(opened)
  # 6 examples train and 6 validate; ten epochs have as many validations.
  assert len(counts) - described == 12


class StopAt(StopSignal):
  at = 0

  def requested(self, step):
    if step == self.at:
      os.kill(os.getpid(), signal.SIGTERM)
    return super().requested(step)


def test_a_stopped_run_with_views_continues_bit_equal(tmp_path, monkeypatch):
  augment = {'rgb': {'flip': 0.5, 'brightness': 0.3}}
  c = config(cached_views=3, augment=augment, objective={'kind': 'classify', 'mixup': 0.3})
  expected = run(c, tmp_path / 'whole')
  monkeypatch.setattr(experiment, 'StopSignal', StopAt)
  monkeypatch.setattr(StopAt, 'at', 4)
  with pytest.raises(Interrupted, match='stage one is saved at step 4 of 8'):
    run(c, tmp_path / 'parts')
  monkeypatch.setattr(StopAt, 'at', 0)
  found = run(c, tmp_path / 'parts')
  chex.assert_trees_all_equal(found, expected)


@pytest.mark.parametrize('folder', ['', 'kept'])
def test_a_stop_request_ends_the_computing_between_batches(folder, tmp_path, monkeypatch):
  c = config(cached_views=2, augment={'rgb': {'flip': 0.5}})
  c.runtime.cache_dir = folder and str(tmp_path / folder)
  computed, preprocess = [], source.predict.mesh_lib.put_batch

  def put(batch, mesh):
    if 'draw' in batch:
      computed.append(1)
      if len(computed) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return preprocess(batch, mesh)

  monkeypatch.setattr(source.predict.mesh_lib, 'put_batch', put)
  with pytest.raises(Interrupted, match='stage one is saved at step 0 of 8'):
    run(c, tmp_path / 'run')
  assert len(computed) == 2  # Of three for each view.
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
  assert [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix != '.jsonl'] == []
  stopped = run(c, tmp_path / 'run')
  chex.assert_trees_all_equal(stopped, run(c, tmp_path / 'whole'))


def test_views_differ_and_epochs_take_them_in_turn(tmp_path):
  augment = {'rgb': {'flip': 0.5, 'crop': True, 'zoom': 0.0, 'brightness': 0.3}}
  opened = experiment.open_experiment(config(cached_views=2, augment=augment), tmp_path)
  one, context = opened.stages['one'], opened.context
  cached = source.of_stage(one, context)
  variables = fakes.draw_variables(one.model, {'rgb': np.zeros((1, 4, 16, 16, 3), np.float32)})
  training, _ = cached.open(variables, list)
  count = len(cached.positions)
  views = np.stack([training.records[i]['ready']['rgb_front0'] for i in range(2 * count)])
  views = views.reshape(2, count, 4, 16)
  assert (abs(views[0] - views[1]).max((1, 2)) > 1e-3).all()
  again, _ = source.of_stage(one, context).open(variables, list)
  np.testing.assert_array_equal(again.records[count]['ready']['rgb_front0'], views[1, 0])
  batches = training.train_batches(count, seed=0, first=0)
  for epoch in range(4):
    found = next(batches)['rgb_front0']
    assert {x.tobytes() for x in found} == {x.tobytes() for x in views[epoch % 2]}


def test_what_lacks_the_kept_input_is_zeros_and_moves_no_other(tmp_path, monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.SometimesFilmed())
  c = config(('rgb', 'imu'), trained=(*TIME, 'imu'))
  c.inputs.rgb.optional = True
  opened = experiment.open_experiment(c, tmp_path)
  one = opened.stages['one']
  drawn = fakes.draw_variables(
    one.model, {n: np.zeros(x.shape, x.dtype) for n, x in one.example.items()}
  )
  cached = source.of_stage(one, opened.context)
  found = cached.once(drawn, np.arange(7))['rgb_front0']
  lacking = np.isin(np.arange(7), (0, 4))
  assert not found[lacking].any()
  alone = [cached.once(drawn, np.array([i]))['rgb_front0'][0] for i in np.flatnonzero(~lacking)]
  np.testing.assert_allclose(found[~lacking], alone, rtol=1e-5)
  assert len(np.unique(found[~lacking].round(3), axis=0)) > 2


@pytest.mark.parametrize('views', [0, 2])
def test_balanced_sampling_is_configured(views, tmp_path, monkeypatch):
  data = fakes.FakeDataset()
  # Of 12 training examples, the second class has 2 and the third none.
  labels = np.where(np.isin(np.arange(24), (2, 3)), 1, 0)
  index = Index({**data.index.columns, 'label': labels.astype(np.int32)})
  monkeypatch.setattr(fakes.FakeDataset, 'index', index)
  c = config(cached_views=views, sampling='balanced')
  opened = experiment.open_experiment(c, tmp_path)
  chosen = source.of_stage(opened.stages['one'], opened.context)
  model = opened.stages['one'].model
  variables = fakes.draw_variables(model, {'rgb': np.zeros((1, 4, 16, 16, 3), np.float32)})
  training, _ = chosen.open(variables, list)
  read = loader._Epochs(training.positions, 0, training.sampling)
  epochs = [[read[12 * epoch + i] for i in range(12)] for epoch in range(2)]
  for epoch, drawn in enumerate(epochs):
    places = np.array(drawn) - 12 * (epoch if views else 0)
    positions = chosen.positions[places] if views else places
    assert np.bincount(labels[positions]).tolist() == [6, 6]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'trained': ('*',)}, 'cached_views=1: must be 0, as the first layer of every encoder trains'),
    ({'augment': {'rgb': {'flip': 0.5}}}, r'leave out config\.stages\.one\.augment\.rgb, or'),
  ],
)
def test_what_cannot_be_cached_is_a_user_error(changes, message, tmp_path):
  with pytest.raises(UserError, match=message):
    run(config(**changes), tmp_path)


def test_memory_is_bounded(tmp_path):
  c = config(trained=LAST, cached_views=3)
  # 4 frames of 4x4 pixels with 8 channels, of 12 examples in 3 views.
  c.runtime.cache_gib = 0.99 * 4 * 4 * 4 * 8 * 4 * 36 / 2**30
  with pytest.raises(UserError, match=r'of each of 36 views take .* raise it, keep fewer views'):
    run(c, tmp_path)
  c.runtime.cache_gib *= 1.02
  run(c, tmp_path)


def test_devices_share_the_work(tmp_path):
  c = config(trained=LAST)
  expected = run(c, tmp_path / 'one')
  c.runtime.devices = 4
  chex.assert_trees_all_close(run(c, tmp_path / 'four'), expected, rtol=0, atol=1e-5)


def kept_files(folder):
  return sorted(path.name for path in folder.glob('*.npz'))


def test_what_is_kept_on_disk_serves_other_runs_and_only_the_same(tmp_path, monkeypatch):
  computed = []
  save = kept.save
  monkeypatch.setattr(kept, 'save', lambda *a: computed.append(1) or save(*a))
  c = config(cached_views=2, augment={'rgb': {'flip': 0.5}})
  c.runtime.cache_dir = str(tmp_path / 'kept')
  first = run(c, tmp_path / 'first')
  assert len(kept_files(tmp_path / 'kept')) == len(computed) == 2
  again = run(c, tmp_path / 'again')
  assert len(computed) == 2
  chex.assert_trees_all_equal(first, again)
  c.dataset.validation_subjects = (3,)  # Another split of the same records.
  run(c, tmp_path / 'split')
  assert len(computed) == 3  # Validation sees no views.
  c.encoders.rgb.temporal = 'lstm'  # The frozen part stays what it is.
  run(c, tmp_path / 'temporal')
  assert len(computed) == 3
  c.stages.one.augment.rgb.flip = 0.25
  run(c, tmp_path / 'augment')
  c.inputs.rgb.size = 15
  run(c, tmp_path / 'input')
  assert len(computed) == 3 + 2 + 3
  assert len(kept_files(tmp_path / 'kept')) == len(computed)


def test_a_damaged_file_is_named(tmp_path):
  c = config()
  c.runtime.cache_dir = str(tmp_path / 'kept')
  run(c, tmp_path / 'first')
  (name,) = kept_files(tmp_path / 'kept')
  (tmp_path / 'kept' / name).write_bytes(b'PK damaged')
  with pytest.raises(UserError, match=rf'{name} cannot be read .* delete it'):
    run(c, tmp_path / 'second')


def test_the_digest_is_of_content_and_of_order():
  records = fakes.FakeDataset().records(('rgb',))

  def digest(records=records, variables=None, **settings):
    variables = {'params': {'a': np.ones(3)}} if variables is None else variables
    return kept.digest(records, ('rgb',), variables, settings)

  assert digest(size=3) == digest(size=3)
  changed = [dict(records[i]) for i in range(len(records))]
  assert digest(changed, size=3) == digest(size=3)
  changed[5]['rgb'] = changed[5]['rgb'][::-1]
  others = [
    digest(changed, size=3),
    digest(changed[::-1], size=3),
    digest(size=4),
    digest(variables={'params': {'a': np.full(3, 1.5)}}, size=3),
    digest(variables={'params': {'b': np.ones(3)}}, size=3),
  ]
  assert len({*others, digest(size=3)}) == 6
