"""The table of robustness: its clean row is the evaluation's, and nothing but the seed decides it."""

import csv
import json

import pytest

from configs import base
from har.data import dataset as dataset_lib
from har.evaluate import results, robustness, robustness_table
from har.evaluate import run as evaluation
from har.train import experiment
from tests import fakes
from tests.har.train import test_loop


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """IMU, skeleton and a fusion; subject 3 validates."""
  workdir = tmp_path_factory.mktemp('robustness')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
    c = test_loop.config(('imu', 'skeleton'), epochs=6.0)
    c.dataset.validation_subjects = (3,)
    c.stages.fusion = base.fusion(('imu', 'skeleton'), learning_rate=1e-2, epochs=2.0, batch_size=8)
    c.order = ('imu', 'skeleton', 'fusion')
    opened = experiment.open_experiment(c, workdir)
    experiment.train(opened)
    table = evaluation.run(opened, command='test')
    yield opened, table, robustness.run(opened, command='test')


def test_the_clean_row_is_the_evaluation(trained):
  opened, table, found = trained
  tested = {name: one['float32']['top1'] for name, one in table['stages'].items()}
  untrained = {name: one['top1'] for name, one in table['baselines'].items()}
  assert found['clean'] == tested | untrained
  workdir = opened.context.workdir
  assert json.loads((workdir / 'robustness.json').read_text()) == found
  with open(workdir / 'robustness.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert rows[0]['group'] == 'clean'
  assert {n: float(rows[0][n]) for n in found['columns']} == pytest.approx(found['clean'], abs=1e-6)
  assert len(rows) == len(found['rows']) + 1
  assert {row['seed'] for row in rows} == {'0'}
