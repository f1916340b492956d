"""All sides of the benchmark deliver the same clips, and its report's figures are right."""

import io

import numpy as np
import pytest
from PIL import Image

from har.data import benchmark, benchmark_torch, loader, options
from har.errors import UserError
from tests import fakes

SIZES = {'frames': 3, 'resize': 60, 'size': 50}


def test_made_up_trials_have_the_sizes_of_real_ones():
  (rgb,) = benchmark.made_up_trials('rgb', 1)
  (depth,) = benchmark.made_up_trials('depth', 1)
  assert (len(rgb['rgb']), len(depth['depth'])) == (50, 60)
  assert Image.open(io.BytesIO(rgb['rgb'][0])).size == (320, 240)
  frame = np.asarray(Image.open(io.BytesIO(depth['depth'][0])))
  assert frame.dtype == np.uint16
  assert (frame[:, :30] == 0).all()
  assert frame[:, 30:].min() >= 2000


def first_batches(modality, records):
  """Two clips of each side, whole batches."""
  config = options.input_options(SIZES, modality)
  ours = loader.eval_batches(records, np.arange(2), {modality: config}, 2)
  batches = {'ours, 0 workers': next(ours)}
  ours.close()
  for decoder in benchmark_torch.DECODERS:
    following = benchmark_torch.loader(records, modality, config, decoder, 0, 2, 2)
    batches[f'torch {decoder}, 0 workers'] = following()
  return batches


@pytest.mark.parametrize('modality', ['rgb', 'depth'])
def test_sides_deliver_equal_pixels(modality):
  records = benchmark.made_up_trials(modality, 2)
  batches = first_batches(modality, records)
  benchmark.check_equal(modality, batches)
  ours, pyav, pillow = (np.asarray(batch[modality], np.int32) for batch in batches.values())
  assert ours.shape == (2, 3, 60, 60, 3)
  assert ours.std() > 20
  np.testing.assert_array_equal(pillow, ours)
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
  monkeypatch.setattr(benchmark, '_PAUSE', 0)
  clock = iter([0, 2, 2, 6, 6, 7, 7, 15]).__next__
  monkeypatch.setattr(benchmark.time, 'perf_counter', clock)
  taken = []
  sides = {name: lambda count, name=name: taken.append((name, count)) for name in 'ab'}
  measured = benchmark.rates(sides, rounds=2, batch_size=4)
  assert measured == {'a': [32.0, 64.0], 'b': [16.0, 8.0]}
  assert taken == [('a', 10), ('a', 16), ('b', 10), ('b', 16)] * 2


def test_table():
  measured = {
    'torch PyAV, 0 workers': [30.0, 10.0, 20.0],
    'torch PyAV, 2 workers': [40.0, 20.0, 40.0],
    'ours, 0 workers': [60.0, 40.0, 50.0],
    'decoder alone': [120.0, 40.0, 100.0],
  }
  assert [line.split() for line in benchmark.table(measured)[1:5]] == [
    [*name.split(), *figures.split()]
    for name, figures in {
      'torch PyAV, 0 workers': '20.0 10.0 30.0',
      'torch PyAV, 2 workers': '40.0 20.0 40.0',
      'ours, 0 workers': '50.0 40.0 60.0',
      'decoder alone': '100.0 40.0 120.0',
    }.items()
  ]
  assert benchmark.table(measured)[5:] == [
    'ours, 0 workers / torch PyAV, 2 workers: 1.50 (1.25 to 2.00)',
    'ours, 0 workers / decoder alone: 0.50 (0.50 to 1.00)',
  ]


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(benchmark, '_PAUSE', 0)
  monkeypatch.setattr(benchmark, '_UNTIMED', 1)
  monkeypatch.setattr(benchmark, '_TIMED', 2)
  return {'frames': 2, 'batch_size': 2, 'rounds': 2, 'workers': [0], 'torch_workers': [0]}


def test_every_side_is_measured(quick):
  records = [fakes.record(i, 1, 1, ('depth',)) for i in range(2)]
  measured = benchmark.measure(records, 'depth', **quick)
  assert list(measured) == [
    'torch PyAV, 0 workers',
    'torch Pillow, 0 workers',
    'ours, 0 workers',
    'decoder alone',
  ]
  assert all(len(values) == 2 and min(values) > 0 for values in measured.values())


def test_without_pytorch_ours_is_measured(quick, monkeypatch):
  monkeypatch.setattr(benchmark.importlib.util, 'find_spec', lambda name: None)
  records = [fakes.record(i, 1, 1, ('depth',)) for i in range(2)]
  measured = benchmark.measure(records, 'depth', **quick)
  assert list(measured) == ['ours, 0 workers', 'decoder alone']


def test_errors_are_one_line():
  with pytest.raises(UserError, match="--modalities: 'imu' is no video; use rgb, depth or both"):
    benchmark.measure([], 'imu', frames=2, batch_size=2, rounds=1, workers=[0], torch_workers=[])
  with pytest.raises(UserError, match='--workers=0,x: must be whole numbers'):
    benchmark.counts('workers', ['0', 'x'])
