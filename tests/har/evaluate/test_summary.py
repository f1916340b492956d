"""Runs of one experiment are put together, and nothing else is."""

import json

import numpy as np
import pytest

from har.errors import UserError
from har.evaluate import results, summary
from har.metrics.classification import Predictions

CLASSES = ('a', 'b')


def write_run(folder, *, seed=0, subject=1, epochs=3.0, stages=None, split='test', cautions=()):
  """A run whose stages got these examples right; `product` is the baseline."""
  stages = {'imu': '1100', 'fusion': '1110', 'product': '1101'} if stages is None else stages
  config = {'seed': seed, 'dataset': {'test_subject': subject}, 'stages': {'imu': {'e': epochs}}}
  folder.mkdir(parents=True)
  (folder / 'config.json').write_text(json.dumps(config))
  place = folder if split == 'test' else folder / split
  blocks = {}
  for name, right in stages.items():
    labels = np.arange(len(right)) % 2
    scores = np.eye(2)[[y if r == '1' else 1 - y for y, r in zip(labels, right, strict=True)]]
    keys = [f'a{i}_s{subject}_t1' for i in range(len(right))]
    predicted = Predictions.from_scores(keys, labels, scores, CLASSES)
    results.write_predictions(place, name, 'float32', predicted)
    blocks[name] = predicted.metrics()
  product = {'product': blocks.pop('product')} if 'product' in blocks else {}
  table = {
    **{'dataset': 'toy', 'protocol': 'leave_one_subject_out', 'seed': seed, 'split': split},
    'stages': {name: {'float32': block} for name, block in blocks.items()},
    **{'parameters': {}, 'bytes': {}, 'seconds': {}, 'baselines': product},
    'cautions': list(cautions),
    'modalities': {n: ['imu', 'rgb'] if n == 'fusion' else [n] for n in blocks},
  }
  results.write_results(place, table)
  return place


def cells(text):
  return [line.split() for line in text.splitlines()]


def test_seeds_give_means_and_deviations(tmp_path):
  folders = [
    write_run(tmp_path / '0', seed=0),
    write_run(tmp_path / '1', seed=1, stages={'imu': '1111', 'fusion': '1011', 'product': '0011'}),
  ]
  text = summary.summarise(folders)
  head, _, _, _, imu, fusion, product, *rest = cells(text)
  assert ' '.join(head).endswith('test split: 2 runs, 4 examples, seeds 0, 1')
  # 50 and 100; F1 of the halves by hand: 0.5 each, and 1.
  assert imu == ['imu', 'float32', '2', '75.0', '35.4', '50.0', '100.0', '100.0', '75.0', '2', '8']
  assert fusion[:7] == ['fusion', 'float32', '2', '75.0', '0.0', '75.0', '75.0']
  assert product[:4] == ['product', 'untrained', '2', '62.5']
  assert rest[-3] == ['fusion', 'imu', '1', '1', '+0', '-']
  assert rest[-2] == ['fusion', 'product', '2', '1', '+1', '-']
  assert text.endswith('No p: runs share examples, so their errors are not independent.')


def test_folds_are_counted_together_and_tested(tmp_path):
  stages = {'imu': '1000000', 'fusion': '1111111', 'product': '1111000'}
  folders = [
    write_run(tmp_path / str(s), subject=s, stages=stages, split='validation') for s in (1, 2)
  ]
  text = summary.summarise(folders)
  assert 'validation split: 2 runs, 14 examples, seeds 0' in text
  assert ['fusion', 'imu', '12', '0', '+12', '<', '0.001'] in cells(text)  # 2 / 2 ** 12
  assert ['fusion', 'product', '6', '0', '+6', '0.031'] in cells(text)  # 2 / 2 ** 6


def test_what_flatters_figures_is_told_once(tmp_path):
  folders = [write_run(tmp_path / str(s), subject=s, cautions=['It leaks.']) for s in (1, 2)]
  assert summary.summarise(folders).splitlines()[1:3] == ['caution: It leaks.', '']


def test_one_run_of_one_modality(tmp_path):
  text = summary.summarise([write_run(tmp_path / 'a', stages={'imu': '1110'})])
  assert cells(text)[-1][:6] == ['imu', 'float32', '1', '75.0', '-', '75.0']
  assert 'Fusion' not in text


def test_what_is_not_one_experiment_is_refused(tmp_path):
  run = write_run(tmp_path / 'a')
  other = write_run(tmp_path / 'b', epochs=4.0)
  validated = write_run(tmp_path / 'c', split='validation')
  for folders, message in (
    ([], 'name the workdirs'),
    ([run, tmp_path / '..' / tmp_path.name / 'a'], 'a is given twice'),
    ([run, other], 'not of one experiment: stages.imu.e is 3.0 there and 4.0 here'),
    ([run, validated], 'holds figures of the test split, .* of validation'),
    ([run, tmp_path / 'nothing'], 'cannot read .*nothing/results.json'),
  ):
    with pytest.raises(UserError, match=message):
      summary.summarise(folders)
  (run / 'config.json').write_text('{')
  with pytest.raises(UserError, match=r'cannot read .*config\.json'):
    summary.summarise([run])


def test_predictions_of_other_examples_are_refused(tmp_path):
  run = write_run(tmp_path / 'a')
  path = results.predictions_path(run, 'product', 'float32')
  path.write_text(path.read_text().replace('a0_', 'a9_'))
  with pytest.raises(UserError, match='fusion and product are of different examples'):
    summary.summarise([run])


def test_the_command_prints_errors_in_one_line(tmp_path, capsys):
  with pytest.raises(SystemExit) as stop:
    summary.main(['summary', str(tmp_path)])
  assert stop.value.code == 2
  assert capsys.readouterr().err.startswith(f'error: cannot read {tmp_path}/results.json')


def test_folds_may_differ_and_their_number_not(tmp_path):
  folders = [write_run(tmp_path / str(i), subject=i) for i in (1, 2, 3)]
  for i, folder in enumerate(folders):
    config = json.loads((folder / 'config.json').read_text())
    config['dataset'] |= {'fold': i + 1, 'folds': 4 if i < 2 else 5}
    (folder / 'config.json').write_text(json.dumps(config))
  assert '2 runs, 8 examples' in summary.summarise(folders[:2])
  with pytest.raises(UserError, match=r'dataset\.folds is 4 there and 5 here'):
    summary.summarise(folders)
