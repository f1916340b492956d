"""Stages are exported and checked over the test split; what disagrees leaves nothing behind."""

import csv
import json

import jax
import numpy as np
import pytest

from configs import base
from har.compress import variants
from har.data import dataset as dataset_lib
from har.errors import UserError
from har.export import benchmark, exportable, litert, onnx, optional, run, stablehlo
from har.train import experiment
from tests import fakes
from tests.har.export.stand_in import example, network, quantised


def config():
  c = base.experiment('fake', ('imu',))
  c.runtime.update(devices=1, eval_batch_size=8)
  c.inputs.imu = {'length': 24}
  c.encoders.imu = {'kind': 'cnn1d_bn', 'channels': (8, 16), 'kernels': (5, 3), 'pools': (2, 1)}
  c.stages.imu = base.stage(['imu'], learning_rate=1e-3, epochs=1.0, batch_size=8)
  c.order = ('imu',)
  return c


@pytest.fixture
def opened(tmp_path, monkeypatch):
  """An experiment whose only stage has stand-ins for its variants."""
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
  found = experiment.open_experiment(config(), tmp_path / 'run')
  call, inputs = network('imu')
  rounded = quantised(call, example(inputs))
  calls = {'float32': (call, call), 'int8': (rounded, lambda x: rounded(x, mark=True))}

  def load(of, variant):
    return exportable.Exportable(of.name, variant, *calls[variant], inputs)

  monkeypatch.setattr(variants, 'available', lambda *_: tuple(calls))
  monkeypatch.setattr(exportable, 'load', load)
  return found


def test_every_file_is_written_described_and_agrees(opened, capsys):
  written = run.run(opened)
  names = ['float32.tflite', 'float32.onnx', 'float32.stablehlo', 'int8.tflite', 'int8.onnx']
  assert [path.name for path in written] == names
  folder = opened.context.workdir / 'export' / 'imu'
  assert sorted(p.name for p in folder.iterdir()) == sorted(
    [*names, *(f'{name}.json' for name in names)]
  )
  for path in written:
    description = json.loads((folder / f'{path.name}.json').read_text())
    assert description['bytes'] == path.stat().st_size
    assert description['inputs']['imu']['shape'][1:] == [24, 6]
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 5
  assert '100.00% equal predictions' in lines[0]
  split = run.read_split(opened, 'imu')
  assert len(split.examples) == len(opened.context.splits.test)
  (one,) = run.choose(opened, None)
  expected = run.run_jax(exportable.load(one, 'float32'), split, batch_size=5)['logits']
  assert expected.shape == (len(split.examples), 5)
  for runner, name in (
    (litert.Runner, 'float32.tflite'),
    (onnx.Runner, 'float32.onnx'),
    (stablehlo.Runner, 'float32.stablehlo'),
  ):
    found = run.run_file(runner(folder / name), split)['logits']
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_that_disagrees_is_removed(opened, monkeypatch, capsys):
  def wrong(made, split):
    return {'logits': np.eye(5)[np.arange(len(split.examples)) % 5]}

  monkeypatch.setattr(run, 'run_jax', wrong)
  with pytest.raises(UserError, match=r'5 of 5 files are not written: imu/float32\.tflite, '):
    run.run(opened)
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 5
  assert all('disagrees with JAX and was removed' in line for line in lines)
  assert not list((opened.context.workdir / 'export' / 'imu').iterdir())


def test_user_errors_come_before_anything_is_written(opened, monkeypatch):
  with pytest.raises(UserError, match='--stages=rgb: the stages are imu'):
    run.run(opened, ['rgb'])
  for key, value, message in (
    ('weights', 4, 'weights=4: only 8 can be exported'),
    ('examples', 0, 'examples=0: must be a whole number from 1'),
  ):
    opened.config.compress.int8[key] = value
    with pytest.raises(UserError, match=message):
      run.run(opened)
    opened.config.compress.int8[key] = config().compress.int8[key]
  monkeypatch.setattr(run, 'NEEDED', ('no_such_package',))
  with pytest.raises(UserError, match=r'pip install -r requirements-export\.txt'):
    run.run(opened)
  assert not (opened.context.workdir / 'export').exists()


def test_int8_may_differ_in_one_of_a_hundred():
  right = np.eye(2)[np.zeros(100, int)]
  wrong = right.copy()
  wrong[0] = [0, 1]
  expected = {'logits': right}
  assert '99.00% equal' in run.compare('file', True, {'logits': wrong}, expected)
  for int8, logits in ((False, wrong), (True, wrong * np.nan), (False, right + 0.01)):
    with pytest.raises(UserError, match='disagrees'):
      run.compare('file', int8, {'logits': logits}, expected)


def test_every_output_is_compared():
  expected = {'logits': np.eye(2), 'carry': np.full((2, 3), 2.0)}
  for int8, off in ((False, 5e-4), (True, 0.09)):
    found = expected | {'carry': expected['carry'] + off}
    assert f'largest difference of carry {off:.2g}' in run.compare('file', int8, found, expected)
    found = expected | {'carry': expected['carry'] + 3 * off}
    with pytest.raises(UserError, match='disagrees'):
      run.compare('file', int8, found, expected)
  with pytest.raises(UserError, match='disagrees'):
    run.compare('file', True, {'logits': np.eye(2)}, expected)


def test_one_int8_anomaly_of_a_hundred_may_be_far_off():
  expected = {'anomaly': np.full(100, 2.0)}
  found = expected['anomaly'] + 0.09
  found[0] = 4.0
  line = run.compare('file', True, {'anomaly': found}, expected)
  assert line.endswith('largest difference of anomaly 2, 99.00% within 5% of its size')
  for wrong in (2.2, np.nan):
    found[1] = wrong
    with pytest.raises(UserError, match='disagrees'):
      run.compare('file', True, {'anomaly': found}, expected)


def test_a_missing_package_names_the_requirements():
  with pytest.raises(UserError, match=r'no_such_package .* requirements-export\.txt'):
    optional.load('no_such_package.inner')


def test_the_benchmark_measures_every_file(opened, monkeypatch, capsys):
  sizes = {'params': {'kernel': np.zeros((3, 4)), 'bias': np.zeros(4)}}
  monkeypatch.setattr(variants, 'make', lambda *_: type('Made', (), {'variables': sizes}))
  monkeypatch.setattr(benchmark, 'THREADS', (1,))
  monkeypatch.setattr(variants, 'available', lambda *_: ('int8',))
  rows = benchmark.run(opened)
  assert [(r['variant'], r['runtime'], r['threads']) for r in rows] == [
    (variant, runtime, 1) for variant in ('int8',) for runtime in ('jax', 'litert', 'onnxruntime')
  ]
  with open(opened.context.workdir / 'benchmark.csv', newline='') as file:
    stored = list(csv.DictReader(file))
  assert tuple(stored[0]) == benchmark.COLUMNS
  for row, text in zip(rows, stored, strict=True):
    assert float(text['top1']) == row['top1']
    assert 0 < row['latency_ms_median'] <= row['latency_ms_p95']
    assert row['parameters'] == 16
    assert row['memory_mb'] > 0
    assert row['frames_per_s'] == pytest.approx(24e3 / row['latency_ms_median'], rel=0.1)
  assert 'Top-1' in capsys.readouterr().out


def test_flops_count_a_multiply_accumulate_as_two():
  kernel = np.ones((6, 7), np.float32)

  def call(x):
    return {'logits': x['imu'] @ kernel}

  inputs = {'imu': jax.ShapeDtypeStruct((1, 6), np.float32)}
  made = exportable.Exportable('imu', 'float32', call, call, inputs)
  assert benchmark.flops(made) == 2 * 6 * 7
  assert [benchmark._float_form(v) for v in ('int8', 'int8_qat', 'slim_int8', 'pruned')] == [
    'float32',
    'float32',
    'slim',
    'pruned',
  ]
