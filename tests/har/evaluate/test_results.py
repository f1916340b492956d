"""results.json and predictions/*.csv keep to the contract that other programs read."""

import json
import os

import numpy as np
import pytest

from har.errors import UserError
from har.evaluate import results
from har.metrics.classification import Predictions


def block(top1=0.5):
  return {'top1': top1, 'top5': 1.0, 'f1': 0.4, 'precision': 0.3, 'recall': 0.2, 'examples': 4}


def content(**changes):
  whole = {
    'seconds': {'imu': 1.5},
    'dataset': 'toy',
    'protocol': 'cross_subject',
    'seed': 0,
    'stages': {'imu': {'float32': block()}},
    'parameters': {'imu': 1234},
    'bytes': {'imu': {'float32': 4936}},
  }
  return whole | changes


def test_results_are_written_with_the_fixed_keys(tmp_path):
  path = results.write_results(tmp_path, content(baselines={'product': block(0.25)}))
  assert path == tmp_path / 'results.json'
  written = json.loads(path.read_text())
  assert list(written) == [
    *('dataset', 'protocol', 'seed', 'stages', 'parameters', 'bytes', 'seconds'),
    *('split', 'modalities', 'baselines', 'missing', 'removed', 'alarms', 'cautions', 'anomaly'),
    'decision',
    'hidden',
  ]
  assert written['stages']['imu']['float32'] == block()
  assert written['baselines'] == {'product': block(0.25)}
  assert written['missing'] == written['removed'] == {}
  assert written['split'] == 'test'
  assert results.read_results(tmp_path) == written


def test_numpy_values_are_written_as_plain_numbers(tmp_path):
  parameters = {'imu': np.int64(7)}
  path = results.write_results(tmp_path, content(parameters=parameters, seed=np.int32(3)))
  written = json.loads(path.read_text())
  assert (written['parameters'], written['seed']) == ({'imu': 7}, 3)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'extra': 1}, 'extra'),
    ({'stages': {'imu': {'float32': {'top1': 1.0}}}}, 'imu-float32 has .* instead of metrics'),
    ({'baselines': {'product': {}}}, 'product has .* instead of metrics'),
    ({'removed': {'imu': {'rgb': {'top1': 1.0}}}}, 'imu without rgb has .* instead of metrics'),
    ({'removed': {'fusion': {'rgb': block()}}}, r"removed names \['fusion'\]"),
    ({'parameters': {'rgb': 1}}, r"parameters names \['rgb'\]"),
    ({'stages': {'imu': {'float32': block(float('nan'))}}}, 'not JSON compliant'),
  ],
)
def test_results_out_of_contract_are_refused_and_nothing_is_written(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    results.write_results(tmp_path, content(**changes))
  assert os.listdir(tmp_path) == []


def test_a_missing_key_is_refused(tmp_path):
  short = content()
  del short['bytes']
  with pytest.raises(ValueError, match='keys'):
    results.write_results(tmp_path, short)


@pytest.mark.parametrize('text', ['', '{', '[]', '3', '{"dataset": "toy"}'])
def test_reading_what_is_no_results_file_names_it(tmp_path, text):
  (tmp_path / 'results.json').write_text(text)
  with pytest.raises(UserError, match=r'results\.json is not a results file'):
    results.read_results(tmp_path)


def test_reading_without_a_file_says_what_to_do(tmp_path):
  with pytest.raises(UserError, match=r'cannot read .*results\.json.*train the stages first'):
    results.read_results(tmp_path)


def toy_predictions():
  scores = np.log([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]).astype(np.float32)
  return Predictions.from_scores(['a1_s2_t1', 'a3_s2_t1'], [0, 1], scores, ['walk', 'a,b', 'c"d'])


def test_predictions_file_to_the_byte(tmp_path):
  path = results.write_predictions(tmp_path, 'imu', 'float32', toy_predictions())
  assert path == tmp_path / 'predictions' / 'imu-float32.csv'
  assert path.read_bytes() == (
    b'key,label,prediction,walk,"a,b","c""d"\n'
    b'a1_s2_t1,0,0,0.700000,0.200000,0.100000\n'
    b'a3_s2_t1,1,2,0.250000,0.250000,0.500000\n'
  )


def test_equal_scores_give_equal_bytes(tmp_path):
  rng = np.random.default_rng(0)
  scores, labels = rng.normal(size=(50, 7)).astype(np.float32), rng.integers(0, 7, 50)
  keys, names = [f'k{i}' for i in range(50)], [f'c{i}' for i in range(7)]
  made = [Predictions.from_scores(keys, labels, scores.copy(), names) for _ in range(2)]
  paths = [
    results.write_predictions(tmp_path / str(i), 'imu', 'int8', p) for i, p in enumerate(made)
  ]
  assert paths[0].read_bytes() == paths[1].read_bytes()


def test_predictions_come_back(tmp_path):
  written = toy_predictions()
  results.write_predictions(tmp_path, 'imu', 'float32', written)
  read = results.read_predictions(tmp_path, 'imu', 'float32')
  assert (read.keys, read.class_names) == (written.keys, written.class_names)
  np.testing.assert_array_equal(read.labels, written.labels)
  np.testing.assert_array_equal(read.classes, written.classes)
  np.testing.assert_allclose(read.probabilities, written.probabilities, atol=5e-7)
  np.testing.assert_array_equal(read.correct, [True, False])
  np.testing.assert_array_equal(read.confusion(), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
  'text', ['', 'key,label,prediction,a\n', 'key,label,prediction,a\nk,0,0\n']
)
def test_reading_a_broken_predictions_file_names_it(tmp_path, text):
  path = results.predictions_path(tmp_path, 'imu', 'float32')
  path.parent.mkdir()
  path.write_text(text)
  with pytest.raises(UserError, match=r'imu-float32\.csv is not a predictions file'):
    results.read_predictions(tmp_path, 'imu', 'float32')


def test_reading_absent_predictions_says_what_to_do(tmp_path):
  with pytest.raises(UserError, match='evaluate the stage first'):
    results.read_predictions(tmp_path, 'imu', 'float32')


@pytest.mark.parametrize(
  ('keys', 'names', 'message'),
  [
    (['a'], ['x', 'y'], 'as many different keys'),
    (['a', 'a'], ['x', 'y'], 'as many different keys'),
    (['a', 'b'], ['x', 'x'], 'occurs twice'),
  ],
)
def test_keys_and_class_names_are_distinct(keys, names, message):
  with pytest.raises(ValueError, match=message):
    Predictions.from_scores(keys, [0, 1], np.zeros((2, 2)), names)


def test_text_table():
  stages = {'imu': {'float32': block(), 'int8': block(0.25)}, 'fusion': {'float32': block(1.0)}}
  removed = {'fusion': {'imu': block(0.75)}}
  table = results.text_table(
    content(stages=stages, baselines={'product': block(0.75)}, removed=removed)
  )
  lines = table.splitlines()
  assert len({len(line) for line in lines}) == 1
  assert [' '.join(line.split()) for line in [lines[0], *lines[2:]]] == [
    'Stage Variant Top-1 Top-5 F1 Precision Recall Examples Parameters Size',
    'imu float32 50.0 100.0 40.0 30.0 20.0 4 1,234 4.94 kB',
    'imu int8 25.0 100.0 40.0 30.0 20.0 4 - -',
    'fusion float32 100.0 100.0 40.0 30.0 20.0 4 - -',
    'fusion without imu 75.0 100.0 40.0 30.0 20.0 4 - -',
    'product untrained 75.0 100.0 40.0 30.0 20.0 4 - -',
  ]
