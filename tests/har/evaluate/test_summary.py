"""Runs of one experiment are put together, and nothing else is."""

import json

import numpy as np

from har.evaluate import results, summary
from har.metrics.classification import Predictions

CLASSES = ('a', 'b')


def write_run(folder, *, seed=0, subject=1, epochs=3.0, stages=None, split='test'):
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
