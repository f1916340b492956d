"""Recordings are evaluated by all of their windows together."""

import csv

import numpy as np
import pytest

from har.data import dataset as dataset_lib
from har.data import loader
from har.errors import UserError
from har.evaluate import recordings, results
from har.evaluate import run as evaluation
from har.metrics.classification import log_softmax
from har.train import experiment
from tests import fakes
from tests.har.train import test_loop


def test_scores_of_windows_are_put_together():
  logits = np.array([[0.0, 0], [np.log(3), 0], [5, 0], [0, 900]])
  scores = {
    'scores': {'logits': logits, 'error': np.array([1.0, 3, 2, 5])},
    'present': {'imu': np.array([False, True, False, False])},
  }
  pooled = recordings.pool(scores, np.array([0, 0, 0, 1]))
  last = 1 / (1 + np.exp(-5))
  mean = [(0.5 + 0.75 + last) / 3, (0.5 + 0.25 + 1 - last) / 3]
  np.testing.assert_allclose(np.exp(pooled['scores']['logits'][0]), mean, atol=1e-12)
  # A probability that underflows keeps a finite logarithm.
  np.testing.assert_allclose(pooled['scores']['logits'][1], [-900, 0])
  assert pooled['scores']['error'].tolist() == [3, 5]
  assert pooled['present']['imu'].tolist() == [True, False]
  assert recordings.pool(scores, None) is scores


def windows(evaluate):
  c = test_loop.config(('imu', 'skeleton'), epochs=1.0)
  c.inputs.imu.length, c.inputs.skeleton.length = 25, 15
  c.dataset.windows.update(seconds=0.5, step=0.25, evaluate=evaluate)
  return c


@pytest.fixture(autouse=True)
def dataset(monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())


def test_a_recording_has_the_mean_of_its_windows_probabilities(tmp_path):
  one = experiment.open_experiment(windows('recording'), tmp_path)
  experiment.train(one)
  table = evaluation.run(one, command='test')
  context, stage = one.context, one.stages['imu']
  model_variables, _ = experiment.load(one, 'imu')
  index, test = context.dataset.index, context.splits.test
  # By hand: every window of a recording on its own.
  records = context.dataset.records(('imu',))
  (batch,) = loader.eval_batches(records, test, stage.inputs, len(test))
  logits = stage.model.apply(model_variables, stage.preprocess(batch)).logits
  probabilities = np.exp(log_softmax(logits))
  keys = list(dict.fromkeys(index.recording[test]))
  expected = [probabilities[index.recording[test] == key].mean(0) for key in keys]
  found = results.read_predictions(tmp_path, 'imu', 'float32')
  assert (
    list(found.keys) == keys == [k for k in fakes.FakeDataset().index.key if 's2' in k or 's4' in k]
  )
  np.testing.assert_allclose(found.probabilities, expected, atol=2e-6)
  assert found.labels.tolist() == [int(key[1]) - 1 for key in keys]
  assert table['stages']['imu']['float32']['examples'] == 12
  right = np.argmax(expected, 1) == found.labels
  assert table['stages']['imu']['float32']['top1'] == pytest.approx(right.mean())
  assert table['baselines']['product']['examples'] == 12
  assert one.stages['imu'].objective.facts.counts.sum() == len(context.splits.train) > 24
  page = (tmp_path / 'report.html').read_text()
  assert '12 test examples of 3 classes' in page
  assert f'each by all of its windows: {len(test)} in the test split' in page
  # The same run, every window counted.
  again = experiment.open_experiment(windows('window'), tmp_path)
  table = evaluation.run(again, command='test')
  count = len(test)
  assert count > 24
  assert table['stages']['imu']['float32']['examples'] == count
  with open(results.predictions_path(tmp_path, 'imu', 'float32'), newline='') as file:
    keys = [row['key'] for row in csv.DictReader(file)]
  assert keys[:2] == ['a1_s2_t1@0.00', 'a1_s2_t1@0.25']
  assert len(keys) == count


def test_a_recording_that_would_be_squeezed_is_refused_before_anything_is_written(tmp_path):
  c = test_loop.config()
  c.inputs.imu.length = 16
  with pytest.raises(UserError, match=r'squeezes the 82 samples of a1_s4_t2 into length=16'):
    experiment.open_experiment(c, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_stretched_one_is_warned_of(tmp_path, capsys):
  c = test_loop.config()
  c.inputs.imu.length = 300
  experiment.open_experiment(c, tmp_path)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("warning: inputs.imu: fit='resample' stretches the 66 samples of a1_s1_t1")
