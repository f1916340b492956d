"""A finished experiment is evaluated whole, and without each of its modalities."""

import json

import jax
import numpy as np
import pytest

from configs import base
from har.data import dataset as dataset_lib
from har.data import hidden, loader
from har.evaluate import baselines, results
from har.evaluate import run as evaluation
from har.metrics import classification
from har.models import registry
from har.train import experiment
from tests import fakes
from tests.har.train import test_loop


def evaluated(workdir, dataset, count=0, **inputs):
  """IMU, skeleton and a fusion that adds their logits, and what the evaluation returned."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dataset_lib, 'load', lambda *_, **__: dataset)
    c = test_loop.config(('imu', 'skeleton'), epochs=2.0)
    c.inputs.imu.update(inputs)
    c.dataset.update(hidden_from=('imu',) if count else (), hidden=count)
    c.stages.fusion = base.fusion(('imu', 'skeleton'), learning_rate=1e-2, epochs=1.0, batch_size=8)
    c.order = ('imu', 'skeleton', 'fusion')
    c.runtime.eval_batch_size = 5
    opened = experiment.open_experiment(c, workdir)
    experiment.train(opened)
    passes, real = [], loader.eval_batches
    patch.setattr(loader, 'eval_batches', lambda *a, **k: passes.append(a) or real(*a, **k))
    table = evaluation.run(opened, command='test')
  assert len(passes) == 3  # one for each stage
  return opened, table


def test_a_fusion_of_sums_without_a_modality_is_the_other_one(tmp_path):
  opened, table = evaluated(tmp_path, fakes.FakeDataset())
  fusion, context = opened.stages['fusion'], opened.context
  variables, _ = experiment.load(opened, 'fusion')
  (batch,) = loader.eval_batches(
    context.dataset.records(fusion.modalities), context.splits.test, fusion.inputs, 12
  )
  assert list(table['removed']) == ['fusion']
  assert list(table['removed']['fusion']) == ['imu', 'skeleton']
  for removed, other in (('imu', 'skeleton'), ('skeleton', 'imu')):
    config = opened.config.encoders
    alone = registry.build((other,), {other: config[other]}, {'kind': 'linear'}, 3)
    own = {
      'params': {
        other: variables['params'][other],
        'head': {other: variables['params']['head'][other]},
      },
      'batch_stats': {other: variables['batch_stats'][other]},
    }
    logits = jax.jit(alone.apply)(own, fusion.preprocess(batch)).logits
    expected = classification.compute(logits, batch['label'], 3)
    assert table['removed']['fusion'][removed] == expected
  assert results.read_results(tmp_path)['removed'] == table['removed']
  assert 'without imu' in (tmp_path / 'report.html').read_text()


def test_examples_without_a_modality_count_and_the_product_leaves_it_out(tmp_path):
  opened, table = evaluated(tmp_path, fakes.SilentDataset(), rates=(50.0, 50.0))
  # 8 of 12 training examples were heard: 2 epochs in batches of 8; the fusion sees all, once.
  assert experiment.load(opened, 'imu')[1]['steps'] == 2
  assert experiment.load(opened, 'fusion')[1]['steps'] == 2
  assert {v['float32']['examples'] for v in table['stages'].values()} == {12}
  heard = np.arange(12, 24) % 3 > 0
  scores = {}
  for name in ('imu', 'skeleton', 'product'):
    predicted = results.read_predictions(tmp_path, name, 'float32')
    scores[name] = np.log(np.maximum(predicted.probabilities, 1e-6))
  np.testing.assert_allclose(scores['imu'][~heard], np.log(1 / 3), atol=1e-5)
  expected = baselines.product({n: scores[n] for n in ('imu', 'skeleton')}, {'imu': heard})
  for a, b in (
    (expected, scores['product']),
    (scores['skeleton'][~heard], scores['product'][~heard]),
  ):
    np.testing.assert_allclose(*map(np.exp, map(baselines.log_softmax, (a, b))), atol=1e-4)
  page = (tmp_path / 'report.html').read_text()
  assert '4 of 12 test examples lack imu' in page
  assert 'lack skeleton' not in page


class Spoilt(fakes.FakeDataset):
  """Its IMU is noise where the class `wave` trains."""

  def records(self, modalities):
    records = super().records(modalities)
    for i in np.flatnonzero((self.index.label == 0) & np.isin(self.index.subject, (1, 3))):
      if 'imu' in modalities:
        shape = records[i]['imu'].shape
        records[i]['imu'] = np.random.default_rng(i).normal(size=shape).astype(np.float32)
    return records


def test_what_is_hidden_has_no_influence_and_is_not_answered(tmp_path, monkeypatch):
  wave = np.array([True, False, False])
  monkeypatch.setattr(hidden, 'draw', lambda *_: wave)
  folders = [tmp_path / name for name in ('whole', 'spoilt')]
  datasets = fakes.FakeDataset(), Spoilt()
  opened, tables = zip(
    *(evaluated(f, d, 1, optional=True) for f, d in zip(folders, datasets, strict=True)),
    strict=True,
  )
  for name in ('imu', 'skeleton', 'fusion'):
    found = [experiment.load(one, name)[0] for one in opened]
    jax.tree.map(np.testing.assert_array_equal, *found)
  assert {**tables[0], 'seconds': {}} == {**tables[1], 'seconds': {}}
  # 8 of 12 train the IMU, in 2 epochs of batches of 8; the fusion sees all.
  assert experiment.load(opened[0], 'imu')[1]['steps'] == 2
  predicted = {
    name: results.read_predictions(folders[0], name, 'float32') for name in ('imu', 'product')
  }
  assert not predicted['imu'].probabilities[:, 0].any()
  assert not (predicted['imu'].classes == 0).any()
  assert predicted['product'].probabilities[:, 0].any()
  found = results.read_results(folders[0])['hidden']
  assert (found['from'], found['classes']) == (['imu'], ['wave'])
  assert found['top1']['imu']['hidden'] == 0
  imu = predicted['imu']
  assert found['top1']['imu']['others'] == imu.correct[imu.labels > 0].mean()
  assert set(found['top1']) == {'imu', 'skeleton', 'fusion', 'product'}
  page = (folders[0] / 'report.html').read_text()
  assert 'Before the test, imu shows none of wave.' in page
  assert 'Stage imu was never shown 1 of the classes, and may not answer them.' in page
  assert 'Stage skeleton was never shown' not in page
  known = json.loads((folders[0] / 'data.json').read_text())
  assert known['hidden from imu'] == ['wave']


def test_a_fusion_alone_is_reported_without_a_product(tmp_path, monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
  c = test_loop.config(('imu', 'skeleton'), epochs=1.0)
  c.stages.fusion = base.stage(('imu', 'skeleton'), learning_rate=1e-2, batch_size=8)
  c.order = ('fusion',)
  opened = experiment.open_experiment(c, tmp_path)
  experiment.train(opened)
  table = evaluation.run(opened, command='test')
  assert list(table['stages']) == ['fusion']
  assert table['stages']['fusion']['float32']['examples'] == 12
  assert table['baselines'] == {}
  assert list(table['removed']['fusion']) == ['imu', 'skeleton']
  assert results.read_results(tmp_path) == table
  assert 'without imu' in (tmp_path / 'report.html').read_text()


def test_validation_is_evaluated_beside_the_test_split(tmp_path, monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
  c = test_loop.config(('imu', 'skeleton'), epochs=6.0)
  c.dataset.validation_subjects = (3,)
  c.stages.imu.keep = 'last'
  tables = {}
  for split in ('validation', 'test'):
    opened = experiment.open_experiment(c, tmp_path, split=split)
    experiment.train(opened)
    tables[split] = evaluation.run(opened, command='test')
  places = {'validation': tmp_path / 'validation', 'test': tmp_path}
  subjects = {'validation': {3}, 'test': {2, 4}}
  for split, place in places.items():
    assert results.read_results(place) == tables[split]
    assert tables[split]['split'] == split
    for name in ('imu', 'skeleton', 'product'):
      keys = results.read_predictions(place, name, 'float32').keys
      assert {int(key.split('_')[1][1:]) for key in keys} == subjects[split]
      assert len(keys) == 6 * len(subjects[split])
  # What training found on the same examples: at the last step, and at the best one.
  found = {}
  for name in ('imu', 'skeleton'):
    logged = [r for r in test_loop.rows(tmp_path, name) if r['split'] == 'validation']
    found[name] = [r['top1'] for r in logged]
  stages = tables['validation']['stages']
  assert stages['imu']['float32']['top1'] == pytest.approx(found['imu'][-1])
  assert stages['skeleton']['float32']['top1'] == pytest.approx(max(found['skeleton']))
  pages = {split: (place / 'report.html').read_text() for split, place in places.items()}
  assert 'had a say in the training of skeleton, which' in pages['validation']
  assert 'had a say' not in pages['test']
  assert '6 validation examples of 3 classes' in pages['validation']
  assert '12 test examples of 3 classes' in pages['test']
