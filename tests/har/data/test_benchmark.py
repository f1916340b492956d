"""All sides of the benchmark deliver the same clips, and its report's figures are right."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from har.data import benchmark, benchmark_torch, inputs, loader
from har.data.depth import decode_depth
from har.errors import UserError
from tests import fakes

SIZES = {'frames': 3, 'resize': 60, 'size': 50}


def test_made_up_trials_have_the_sizes_of_real_ones():
  (rgb,) = benchmark.made_up_trials('rgb', 1)
  (depth,) = benchmark.made_up_trials('depth', 1)
  assert (len(rgb['rgb']), len(depth['depth'])) == (50, 60)
  assert Image.open(io.BytesIO(rgb['rgb'][0])).size == (320, 240)
  frame = decode_depth(depth['depth'][0])
  assert frame.dtype == np.uint16
  assert (frame[:, :30] == 0).all()
  assert frame[:, 30:].min() >= 2000


def first_batches(modality, records):
  """Two clips of each side, whole batches."""
  one = inputs.build(modality, SIZES)
  ours = loader.eval_batches(records, np.arange(2), {modality: one}, 2)
  batches = {'ours, 0 workers': next(ours)}
  ours.close()
  pictures = benchmark_torch.png_trials(records, 2) if modality == 'depth' else records
  for decoder in benchmark_torch.DECODERS[modality]:
    held = records if decoder == 'Zstandard' else pictures
    following = benchmark_torch.loader(held, modality, one.options, decoder, 0, 2, 2, 2)
    batches[f'torch {decoder}, 0 workers'] = following()
  return batches


@pytest.mark.parametrize('modality', ['rgb', 'depth'])
def test_sides_deliver_equal_pixels(modality):
  records = benchmark.made_up_trials(modality, 2)
  batches = first_batches(modality, records)
  benchmark.check_equal(modality, batches)
  ours, pyav, *same = (np.asarray(batch[modality], np.int32) for batch in batches.values())
  assert ours.shape == (2, 3, 60, 60, 3)
  assert ours.std() > 20
  assert len(same) == (2 if modality == 'depth' else 1)
  for clips in same:
    np.testing.assert_array_equal(clips, ours)
  difference = np.abs(pyav - ours).mean()
  assert difference == 0 if modality == 'depth' else 0 < difference < 2


@pytest.mark.parametrize('modality', ['rgb', 'depth'])
def test_other_pixels_are_found(modality):
  batches = first_batches(modality, [fakes.record(i, 1, 1, (modality,)) for i in range(2)])
  benchmark.check_equal(modality, batches)
  clip = batches['torch Pillow, 0 workers'][modality]
  clip[1, 2, 30, 30, 1] += 1
  with pytest.raises(UserError, match='torch Pillow, 0 workers: other clips than ours'):
    benchmark.check_equal(modality, batches)
  clip[1, 2, 30, 30, 1] -= 1
  batches['torch PyAV, 0 workers'][modality] = 255 - clip
  with pytest.raises(UserError, match='torch PyAV, 0 workers: other clips than ours'):
    benchmark.check_equal(modality, batches)


def test_sides_are_timed_in_turn(monkeypatch):
  monkeypatch.setattr(benchmark, '_settle', lambda: taken.append('settle'))
  clock = iter([0, 2, 2, 6, 6, 7, 7, 15]).__next__
  monkeypatch.setattr(benchmark.time, 'perf_counter', clock)
  monkeypatch.setattr(benchmark, 'cpu_seconds', iter([0, 3.2, 4, 4.64, 5, 5.64, 6, 12.4]).__next__)
  taken = []
  sides = {name: lambda count, name=name: taken.append((name, count)) for name in 'ab'}
  measured = benchmark.time_in_turn(sides, rounds=2, batch_size=4)
  assert list(measured) == ['a', 'b']
  np.testing.assert_allclose(measured['a'], [(32, 50), (64, 10)])
  np.testing.assert_allclose(measured['b'], [(16, 10), (8, 100)])
  assert taken == ['settle', ('a', 10), ('a', 16), 'settle', ('b', 10), ('b', 16)] * 2


def test_table():
  speeds = {
    'torch PyAV, 0 workers': [30.0, 10.0, 20.0],
    'torch PyAV, 2 workers': [40.0, 20.0, 40.0],
    'ours, 0 workers': [60.0, 40.0, 50.0],
    'decoder alone': [120.0, 40.0, 100.0],
  }
  costs = {'torch PyAV, 2 workers': [6.0, 8.0, 7.0], 'ours, 0 workers': [3.0, 2.0, 5.0]}
  measured = {
    name: [benchmark.Turn(*turn) for turn in zip(values, costs.get(name, [1] * 3), strict=True)]
    for name, values in speeds.items()
  }
  lines = benchmark.table(measured)
  assert [line.split()[-4:] for line in lines[1:5]] == [
    ['20.0', '10.0', '30.0', '1.00'],
    ['40.0', '20.0', '40.0', '7.00'],
    ['50.0', '40.0', '60.0', '3.00'],
    ['100.0', '40.0', '120.0', '1.00'],
  ]
  assert lines[5:] == [
    'ours, 0 workers / torch PyAV, 2 workers: 1.50 (1.25 to 2.00); by CPU time 2.00',
    'ours, 0 workers / decoder alone: 0.50 (0.50 to 1.00); by CPU time 0.33',
  ]


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_processes_below_count():
  def burn():
    end = time.process_time() + 0.3
    while time.process_time() < end:
      pass

  before = benchmark.cpu_seconds()
  code = (
    'import time, sys\nwhile time.process_time() < 0.5: pass\nprint(flush=True); sys.stdin.read()'
  )
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
  with subprocess.Popen([sys.executable, '-S', '-c', code], **pipes) as child:
    child.stdout.readline()
    burn()
    used = benchmark.cpu_seconds() - before
    child.stdin.write(b'\n')
    child.stdin.flush()
  assert 0.75 < used < 2


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(benchmark, '_PAUSE', 0.01)
  monkeypatch.setattr(benchmark, '_UNTIMED', 1)
  monkeypatch.setattr(benchmark, '_TIMED', 2)
  return {'frames': 2, 'batch_size': 2, 'rounds': 2, 'workers': [0], 'torch_workers': [0]}


def test_every_side_is_measured(quick):
  records = [fakes.record(i, 1, 1, ('depth',)) for i in range(2)]
  measured = benchmark.measure(records, 'depth', **quick)
  assert list(measured) == [
    'torch PyAV, 0 workers',
    'torch Pillow, 0 workers',
    'torch Zstandard, 0 workers',
    'ours, 0 workers',
    'decoder alone',
  ]
  assert all(len(turns) == 2 and np.min(turns, 0)[0] > 0 for turns in measured.values())


def test_without_pytorch_ours_is_measured(quick, monkeypatch):
  monkeypatch.setattr(benchmark.importlib.util, 'find_spec', lambda name: None)
  records = [fakes.record(i, 1, 1, ('depth',)) for i in range(2)]
  measured = benchmark.measure(records, 'depth', **quick)
  assert list(measured) == ['ours, 0 workers', 'decoder alone']


def test_errors_are_one_line():
  with pytest.raises(UserError, match="--modalities: 'imu' is no video; use rgb, depth or both"):
    benchmark.measure([], 'imu', frames=2, batch_size=2, rounds=1, workers=[0], torch_workers=[])
  with pytest.raises(UserError, match='--workers: name a number'):
    benchmark.measure([], 'rgb', frames=2, batch_size=2, rounds=1, workers=[], torch_workers=[])
  with pytest.raises(UserError, match='--workers=0,x: must be whole numbers'):
    benchmark.counts('workers', ['0', 'x'])
