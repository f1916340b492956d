"""The table of robustness: its clean row is the evaluation's, and the seed alone decides it."""

import csv
import json

import jax
import pytest
from scipy import stats

from configs import base
from har.data import dataset as dataset_lib
from har.data.corrupt import suite
from har.evaluate import decision, results, robustness, robustness_table
from har.evaluate import run as evaluation
from har.train import experiment
from tests import fakes
from tests.har.evaluate import test_anomaly
from tests.har.train import test_loop

KEPT = ('noise', 'dropped samples')
CASES = suite.cases


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """IMU, skeleton and a fusion; subject 3 validates. Of the suite some severities are run."""
  workdir = tmp_path_factory.mktemp('robustness')

  def some(fields):
    found, notes = CASES(fields)
    kept = [c for c in found if c.what in KEPT or c.group in (suite.MISSING, suite.WRONG)]
    return kept + [c for c in found if c.group == suite.SHIFT and abs(c.severity) < 0.2], notes

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
    patch.setattr(suite, 'cases', some)
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
  assert set(untrained) == {'product', 'decision'}
  assert found['clean'] == tested | untrained
  assert found['columns'] == ['imu', 'skeleton', 'fusion', 'product', 'decision']
  workdir = opened.context.workdir
  assert json.loads((workdir / 'robustness.json').read_text()) == found
  with open(workdir / 'robustness.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert rows[0]['group'] == 'clean'
  assert {n: float(rows[0][n]) for n in found['columns']} == pytest.approx(found['clean'], abs=1e-6)
  assert len(rows) == len(found['rows']) + 1
  assert {row['seed'] for row in rows} == {'0'}
  page = (workdir / 'robustness.html').read_text()
  assert page.count('<svg') == 1
  assert 'imu: dropped samples 0.3 of all' in page


def test_without_a_modality_the_others_are_what_is_left(trained):
  _, table, found = trained
  rows = {r['corruption']: r['values'] for r in found['rows'] if r['group'] == suite.MISSING}
  for gone, left in (('imu', 'skeleton'), ('skeleton', 'imu')):
    assert rows[gone][gone] is None
    assert rows[gone]['fusion'] == table['removed']['fusion'][gone]['top1']
    for name in (left, 'product', 'decision'):
      assert rows[gone][name] == found['clean'][left]
  drop = found['drops'][suite.MISSING]['product']
  lost = [found['clean']['product'] - found['clean'][name] for name in ('imu', 'skeleton')]
  assert drop == pytest.approx(sum(lost) / 2)
  assert found['drops'][suite.MISSING]['imu'] == 0  # Of the row in which it is there.


def test_the_trained_fusion_is_tested_against_the_product(trained):
  opened, _, found = trained
  labels = opened.context.dataset.index.label[opened.context.evaluated]
  count = len(labels)
  for row in ({'values': found['clean'], **found}, *found['rows']):
    values, test = row['values'], row['against_product']['fusion']
    difference = (values['fusion'] - values['product']) * count
    assert test['fixed'] - test['broke'] == pytest.approx(difference)
    assert test['fixed'] <= round(values['fusion'] * count)
    expected = stats.binomtest(test['fixed'], max(test['fixed'] + test['broke'], 1)).pvalue
    assert test['p'] == pytest.approx(expected if test['fixed'] + test['broke'] else 1)
  assert any(row['against_product']['fusion']['fixed'] for row in found['rows'])
  with open(opened.context.workdir / 'robustness.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  for row, told in zip(rows[1:], found['rows'], strict=True):
    told = told['against_product']['fusion']
    assert [int(row['fusion_fixed']), int(row['fusion_broke'])] == [told['fixed'], told['broke']]
    assert float(row['fusion_p']) == pytest.approx(told['p'])
  text = robustness_table.text_table(found).splitlines()
  test = found['against_product']['fusion']
  assert text[0].endswith('fusion against product')
  assert (
    f'+{test["fixed"]} -{test["broke"]}, p '
    in (opened.context.workdir / 'robustness.html').read_text()
  )


def test_nothing_but_the_seed_decides(trained, monkeypatch):
  opened, _, found = trained
  compiled = []
  monkeypatch.setattr(jax, 'jit', lambda f, real=jax.jit: compiled.append(f) or real(f))
  # Five devices' worth of other company in each batch, and another order of what is run.
  opened.context.runtime.eval_batch_size = 5
  order = suite.cases
  monkeypatch.setattr(suite, 'cases', lambda fields: (order(fields)[0][::-1], []))
  again = robustness.run(opened, command='test')
  assert len(compiled) == 4  # Each stage once, and the fusion without each modality.
  by_name = [{**r, 'values': None}['corruption'] + r['severity_text'] for r in found['rows']]
  assert len(by_name) >= 12
  assert again['rows'][::-1] == found['rows']
  assert again['clean'] == found['clean']


def test_the_decision_is_kept_with_the_models(trained):
  opened, table, _ = trained
  kept = decision.read(opened.context.workdir)
  assert table['decision'] == {**kept, 'calibration': table['decision']['calibration']}
  assert (kept['examples'], kept['people']) == (6, [3])
  assert set(kept['weights']) == {'imu', 'skeleton', 'imu+skeleton'}
  assert kept['weights']['imu'] == {'imu': 1.0}
  assert set(table['decision']['calibration']) == {'imu', 'skeleton', 'decision'}
  assert results.read_results(opened.context.workdir)['decision'] == table['decision']
  assert 'Decisions fused' in (opened.context.workdir / 'report.html').read_text()


def test_a_detector_of_windows_has_its_auroc(tmp_path, monkeypatch):
  opened, table = test_anomaly.evaluated(monkeypatch, tmp_path, test_anomaly.config('reconstruct'))
  kept = ('noise', 'dead', 'imu')
  monkeypatch.setattr(suite, 'cases', lambda f: ([c for c in CASES(f)[0] if c.what in kept], []))
  found = robustness.run(opened, command='test')
  assert (found['columns'], found['metrics']) == (['imu'], {'imu': 'auroc'})
  assert found['clean']['imu'] == table['stages']['imu']['float32']['auroc']
  values = {row['corruption'] + row['group']: row['values']['imu'] for row in found['rows']}
  assert values['imumissing'] is None
  assert values['deadimu'] == 0.5  # All recordings look alike.
  assert 0 <= values['imuwrong recording'] <= 1
  assert found['notes'][0].startswith('Decisions are not fused')


def test_a_shift_is_harmless_up_to_the_first_that_costs_more():
  case = {s: suite.Case(suite.SHIFT, 'imu', 'imu', s, 's') for s in (-0.5, -0.1, 0.1, 0.25, 0.5)}
  values = {-0.1: 0.89, 0.1: 0.9, 0.25: 0.8, -0.5: 0.9, 0.5: 0.9}
  rows = [(case[s], {'fusion': value, 'imu': None}, {}) for s, value in values.items()]
  found = robustness_table.table({'fusion': 0.9, 'imu': None}, {}, rows, {'seed': 0})
  assert found['harmless_shift'] == {'fusion': 0.1, 'imu': None}
  assert found['drops'] == {suite.SHIFT: {'fusion': pytest.approx(0.022), 'imu': None}}
