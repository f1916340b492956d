"""Stages that detect: thresholds of held-out normal people, baselines, and what is reported."""

import dataclasses
import json
import types

import numpy as np
import pytest

from configs import base
from har.data import dataset as dataset_lib
from har.evaluate import anomaly, anomaly_baselines, detectors, results, summary
from har.evaluate import run as evaluation
from har.models.types import Outputs
from har.train import experiment
from tests import fakes
from tests.har.train import test_loop


@dataclasses.dataclass(frozen=True)
class People(fakes.FakeDataset):
  """Swiping right is abnormal; subject 6 never does. Test recordings can be changed."""

  metadata: dict = dataclasses.field(
    default_factory=lambda: {**fakes.METADATA, 'abnormal': ('swipe_right',)}
  )
  subjects: tuple[int, ...] = (1, 3, 5, 2, 4, 6)
  change: float = 0.0

  @property
  def _trials(self):
    return [t for t in super()._trials if t[:2] != (2, 6)]

  def records(self, modalities):
    records = super().records(modalities)
    for one, subject in zip(records, self.index.subject, strict=True):
      if subject in (2, 4, 6):
        one['imu'] = one['imu'] * (1 + self.change)
    return records


def config(kind, **alarm):
  objective = {'classify': {'kind': 'classify'}, 'reconstruct': {'kind': 'reconstruct'}}[kind]
  head = {'kind': 'linear'} if kind == 'classify' else {'kind': 'decoder', 'bottleneck': 4}
  if kind == 'reconstruct':
    objective['normal_only'] = True
  c = test_loop.config(epochs=2.0, objective=objective, head=head, keep='last')
  c.inputs.imu.update(length=25)
  c.dataset.windows.update(seconds=0.5, step=0.25, evaluate='recording')
  c.dataset.protocol = 'cross_subject'
  c.dataset.validation_subjects = (5,)
  c.alarm.update(alarm)
  return c


def evaluated(monkeypatch, workdir, c, change=0.0):
  metadata = {**fakes.METADATA, 'abnormal': ('swipe_right',), 'train_subjects': (1, 3, 5)}
  data = People(metadata=metadata, change=change)
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: data)
  opened = experiment.open_experiment(c, workdir)
  experiment.train(opened)
  return opened, evaluation.run(opened, command='test')


def test_a_detector_from_windows_to_the_report(tmp_path, monkeypatch):
  c = config('reconstruct', quantile=0.5)
  _, table = evaluated(monkeypatch, tmp_path, c)
  block = table['anomaly']['stages']['imu']['float32']
  found = json.loads((tmp_path / 'results.json').read_text())['anomaly']
  assert found['stages']['imu']['float32'] == block
  # The recordings are those of results, by the same score.
  assert block['auroc'] == pytest.approx(table['stages']['imu']['float32']['auroc'])
  assert (block['examples'], len(block['people'])) == (16, 3)
  assert [row['name'] for row in block['classes']] == sorted(fakes.CLASSES)
  # Subject 6 never swipes right: 4 recordings.
  assert [r['normal'] for r in block['never_abnormal']] == [2, 2]
  assert sum(r['abnormal'] for r in block['never_abnormal']) == 0
  threshold = block['threshold']
  assert (threshold['people'], threshold['recordings']) == ([5], 4)
  assert anomaly.read_threshold(tmp_path, 'imu', 'float32') == threshold
  assert anomaly.read_threshold(tmp_path, 'imu', 'int8') is None
  # Each recording of 1.3 to 1.7 s: the sum of those of subjects 2 and 4 by two classes, and 6.
  assert 12 * 1.2 / 3600 < block['normal_hours'] < 12 * 1.75 / 3600
  methods = table['anomaly']['baselines']['imu']['methods']
  assert list(methods) == [anomaly_baselines.PEAK, *detectors.NORMAL]
  below = [n for n, m in methods.items() if m['auroc'] >= block['auroc']]
  assert block['not_beaten'] == below
  page = (tmp_path / 'report.html').read_text()
  assert 'Anomaly detection' in page
  assert 'held-out people (5)' in page
  # One class alone is abnormal. Of three people two have both kinds of recordings.
  assert [row['auroc'] for row in block['classes']] == [None, block['auroc'], None]
  assert [row['auroc'] is None for row in block['people']] == [False, False, True]
  assert '<th>AUROC</th><th>False alarms</th><th>False/h</th><th>Sensitivity</th>' in page
  assert ('does not beat' in page) == bool(below)
  text = summary.summarise([tmp_path])
  assert f'{100 * block["auroc"]:.1f}' in text
  assert 'people never abnormal' in text
  assert results.read_results(tmp_path)['anomaly'] == found


def test_no_test_example_has_a_say_in_the_threshold(tmp_path, monkeypatch):
  values = []
  for change in (0.0, 3.0):
    _, table = evaluated(monkeypatch, tmp_path / str(change), config('reconstruct'), change)
    block = table['anomaly']['stages']['imu']['float32']
    values.append((block['threshold']['value'], block['classes'][0]['score']))
  assert values[0][0] == values[1][0]  # To the bit.
  assert values[1][1] > values[0][1]


def test_a_classifier_tells_by_the_log_odds_of_its_abnormal_classes(tmp_path, monkeypatch):
  opened, table = evaluated(monkeypatch, tmp_path, config('classify'))
  block = table['anomaly']['stages']['imu']['float32']
  names = [*detectors.NORMAL, *detectors.LABELLED, detectors.LATE]
  assert list(table['anomaly']['baselines']['imu']['methods'])[1:] == names
  assert {'auroc', 'at_threshold', 'sensitivity_at'} <= set(block)
  objective = opened.stages['imu'].objective
  logits = np.array([[0.0, np.log(2), np.log(6)]], np.float32)
  scores = objective.scores(Outputs(logits), {})
  np.testing.assert_allclose(objective.anomaly(scores), [np.log(2)], rtol=1e-6)


def test_without_held_out_people_there_is_no_threshold(tmp_path, monkeypatch):
  c = config('reconstruct')
  c.dataset.validation_subjects = ()
  _, table = evaluated(monkeypatch, tmp_path, c)
  block = table['anomaly']['stages']['imu']['float32']
  assert block['threshold'] is block['at_threshold'] is None
  assert not (tmp_path / anomaly.THRESHOLDS).exists()
  assert 'There is no threshold' in (tmp_path / 'report.html').read_text()


def test_where_nothing_can_be_ranked_nothing_is_beaten(monkeypatch):
  beside = {'methods': {'PCA': {}}}
  monkeypatch.setattr(anomaly_baselines, 'figures', lambda *_: beside)
  opened = types.SimpleNamespace(config=base.experiment('fake', ()))
  one = anomaly.Detected('imu', 'float32', None, np.zeros(2, bool), {})
  found = anomaly.table(opened, [one])
  assert found['baselines'] == {'imu': beside}
  assert one.block['not_beaten'] == []
  assert anomaly.notes(found, [one]) == []
