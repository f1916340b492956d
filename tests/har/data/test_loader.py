import errno
import gc
import itertools
import multiprocessing
import time
from multiprocessing import shared_memory

import numpy as np
import pytest
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from har.data import inputs as inputs_lib
from har.data import loader
from har.errors import UserError
from tests import fakes

DATASET = fakes.FakeDataset()
INPUTS = fakes.inputs_of(
  {
    'imu': {'length': 32, 'fit': 'pad'},
    'rgb': {'frames': 4, 'resize': 8, 'size': 8},
    'depth': {'frames': 4, 'resize': 8, 'size': 6},
    'skeleton': {'length': 12},
  }
)
SHAPES = {
  'imu': ((32, 6), np.float32),
  'imu_mask': ((32,), bool),
  'rgb': ((4, 8, 8, 3), np.uint8),
  'depth': ((4, 8, 8, 3), np.uint8),
  'skeleton': ((12, 20, 3), np.float32),
  'skeleton_mask': ((12,), bool),
  'label': ((), np.int32),
  'mask': ((), bool),
}


@pytest.fixture(scope='module')
def records():
  return DATASET.records(INPUTS)


class Numbered:
  """Records that carry nothing but their number."""

  def __init__(self, count):
    self.count = count

  def __len__(self):
    return self.count

  def __getitem__(self, i):
    return {'label': i, 'imu': np.full((2, 6), i, np.float32)}


def numbers(batches, count):
  return [b['label'].tolist() for b in itertools.islice(batches, count)]


ONE = fakes.inputs_of({'imu': {'length': 2}})


def assert_equal(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert a[name].dtype == b[name].dtype


def test_batches_have_the_shapes_promised(records):
  batch = next(loader.train_batches(records, np.arange(24), INPUTS, 5, seed=0))
  assert {n: (v.shape[1:], v.dtype) for n, v in batch.items()} == {
    n: (shape, np.dtype(dtype)) for n, (shape, dtype) in SHAPES.items()
  }
  assert all(len(v) == 5 for v in batch.values())
  assert batch['mask'].all()


def test_only_the_modalities_named_are_there(records):
  batch = next(
    loader.train_batches(
      records, np.arange(24), fakes.inputs_of({'depth': {'frames': 2}}), 2, seed=0
    )
  )
  assert set(batch) == {'depth', 'label', 'mask'}


@pytest.mark.parametrize('start', [1, 4, 11])
def test_any_step_can_be_the_first(records, start):
  run = loader.train_batches(records, np.arange(24), INPUTS, 5, seed=3)
  wanted = next(itertools.islice(run, start, None))
  resumed = loader.train_batches(records, np.arange(24), INPUTS, 5, seed=3, start_step=start)
  assert_equal(next(resumed), wanted)


def test_every_epoch_visits_each_example_once_in_another_order():
  stream = numbers(loader.train_batches(Numbered(11), np.arange(11), ONE, 4, 0), 11)
  stream = list(itertools.chain(*stream))
  epochs = [stream[i : i + 11] for i in range(0, 44, 11)]
  assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_balanced_epochs_have_every_class_and_any_step_can_be_the_first():
  # Positions 0 to 8 are of class 0, positions 20 to 22 of class 1.
  positions, labels = np.array([*range(9), 20, 21, 22]), np.repeat([0, 1], [9, 3])
  sampling = loader.Sampling(labels=labels)
  arguments = Numbered(30), positions, ONE, 4, 5
  run = numbers(loader.train_batches(*arguments, sampling=sampling), 9)
  stream = np.concatenate(run).reshape(3, 12)
  for epoch in stream:
    rare, frequent = epoch[epoch >= 20], epoch[epoch < 20]
    assert sorted(rare.tolist()) == [20, 20, 21, 21, 22, 22]
    assert len(set(frequent.tolist())) == len(frequent) == 6
  assert len({tuple(epoch) for epoch in stream.tolist()}) == 3
  assert len(set(stream.ravel().tolist())) == 12
  resumed = loader.train_batches(*arguments, start_step=4, sampling=sampling)
  np.testing.assert_array_equal(np.concatenate(numbers(resumed, 5)), stream.ravel()[16:])


def test_seeds_do_not_share_their_epochs():
  epochs = []
  for seed in range(3):
    epochs += numbers(loader.train_batches(Numbered(20), np.arange(20), ONE, 20, seed), 4)
  assert len({tuple(epoch) for epoch in epochs}) == 12


def test_a_batch_larger_than_the_data_holds_several_epochs():
  (batch,) = numbers(loader.train_batches(Numbered(3), np.arange(3), ONE, 9, 0), 1)
  assert sorted(batch) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_only_the_positions_given_are_visited():
  stream = numbers(loader.train_batches(Numbered(30), [3, 7, 29], ONE, 3, 0), 4)
  assert all(sorted(batch) == [3, 7, 29] for batch in stream)


def test_frames_are_drawn_anew_each_time(records):
  inputs = fakes.inputs_of({'rgb': {'frames': 4, 'resize': 8, 'size': 8}})
  batches = loader.train_batches(records, [0], inputs, 8, seed=0)
  clips = next(batches)['rgb']
  assert len({clip.tobytes() for clip in clips}) > 4


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_share_the_same_global_batches(records, processes):
  def run(index, count):
    batches = loader.train_batches(
      records, np.arange(24), INPUTS, 8, 1, start_step=2, share=loader.Share(index, count)
    )
    return list(itertools.islice(batches, 3))

  whole, parts = run(0, 1), [run(p, processes) for p in range(processes)]
  for step in range(3):
    joined = {n: np.concatenate([part[step][n] for part in parts]) for n in whole[step]}
    assert_equal(joined, whole[step])


@pytest.mark.parametrize('count', [1, 16, 23, 48])
@pytest.mark.parametrize(('batch_size', 'processes'), [(7, 1), (16, 1), (16, 2), (6, 3), (48, 3)])
def test_evaluation_visits_each_example_once_in_order(count, batch_size, processes):
  positions = np.arange(100, 100 + count)
  parts = [
    list(loader.eval_batches(Numbered(200), positions, ONE, batch_size, loader.Share(p, processes)))
    for p in range(processes)
  ]
  steps = loader.eval_steps(count, batch_size)
  assert [len(part) for part in parts] == [steps] * processes
  assert {len(b['label']) for part in parts for b in part} == {batch_size // processes}
  order = [part[step] for step in range(steps) for part in parts]
  mask = np.concatenate([b['mask'] for b in order])
  labels = np.concatenate([b['label'] for b in order])
  np.testing.assert_array_equal(labels[mask], positions)
  assert mask.sum() == count
  assert mask[:count].all()
  assert not np.concatenate([b['imu'] for b in order])[~mask].any()


def test_padding_looks_like_an_example(records):
  batch = next(loader.eval_batches(records, [5], INPUTS, 2))
  assert batch['mask'].tolist() == [True, False]
  for name, (shape, dtype) in SHAPES.items():
    assert batch[name].shape == (2, *shape)
    assert batch[name].dtype == dtype
    assert not batch[name][1].any()


def test_evaluation_takes_the_same_frames_every_time(records):
  first, second = (next(loader.eval_batches(records, [1, 2], INPUTS, 2)) for _ in range(2))
  assert_equal(first, second)
  # the middle of the first of 4 segments of 11 frames, which get brighter by 5 each
  assert abs(int(first['rgb'][0, 0].mean()) - 5) <= 2


def test_nothing_to_evaluate_is_no_batch():
  assert list(loader.eval_batches(Numbered(3), [], ONE, 4)) == []


@pytest.fixture
def parsed_flags():
  # Grain's worker processes read absl's flags, which absl.app.run parses in a program.
  if flags.FLAGS.is_parsed():
    yield
    return
  flags.FLAGS.mark_as_parsed()
  yield
  flags.FLAGS.unparse_flags()


@pytest.mark.usefixtures('parsed_flags')
def test_worker_processes_give_the_same_batches(records):
  arguments = (records, np.arange(24), INPUTS, 5, 3)
  alone = loader.train_batches(*arguments, start_step=2)
  workers = loader.train_batches(*arguments, start_step=2, workers=2)
  for _ in range(3):
    assert_equal(next(alone), next(workers))
  workers.close()


def is_there(name):
  try:
    shared_memory.SharedMemory(name).close()
  except FileNotFoundError:
    return False
  return True


@pytest.mark.usefixtures('parsed_flags')
def test_no_shared_memory_is_left(records, monkeypatch):
  gc.disable()  # Cycles are not to be collected by chance.
  opened, open_ = [], SharedMemoryArray.from_metadata

  def from_metadata(metadata):
    opened.append(metadata.name)
    return open_(metadata)

  monkeypatch.setattr(SharedMemoryArray, 'from_metadata', from_metadata)
  batches = loader.train_batches(records, np.arange(24), INPUTS, 5, 3, workers=2)
  next(batches)
  batches.close()
  list(loader.eval_batches(records, np.arange(24), INPUTS, 5, workers=2))
  assert len(opened) > 20
  last = time.monotonic() + 10  # A thread frees what this function held to the end.
  while (left := [name for name in opened if is_there(name)]) and time.monotonic() < last:
    time.sleep(0.1)
  gc.enable()
  assert not left


@pytest.mark.usefixtures('parsed_flags')
def test_full_shared_memory_is_told(records, monkeypatch):
  def fail(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(loader, 'next', fail, raising=False)
  batches = loader.train_batches(records, np.arange(24), INPUTS, 5, 3)
  with pytest.raises(UserError, match=r'no room in shared memory: give /dev/shm more'):
    next(batches)


@pytest.mark.usefixtures('parsed_flags')
def test_a_killed_worker_process_is_an_error(records):
  batches = loader.train_batches(records, np.arange(24), INPUTS, 5, 3, workers=2)
  next(batches)
  victim = next(p for p in multiprocessing.active_children() if 'prefetch' in p.name)
  # Not while it writes, which is what `har.data.watch` is for.
  time.sleep(1)
  victim.kill()
  with pytest.raises(UserError, match='a process that loads data was killed'):
    list(itertools.islice(batches, 100))


def test_wrong_requests(records):
  with pytest.raises(UserError, match='batch_size=5: must be a positive multiple of the 2'):
    loader.train_batches(records, [0], INPUTS, 5, 0, share=loader.Share(0, 2))
  with pytest.raises(UserError, match='batch_size=0'):
    loader.eval_batches(records, [0], INPUTS, 0)
  with pytest.raises(UserError, match='no trial to train on'):
    loader.train_batches(records, [], INPUTS, 5, 0)
  with pytest.raises(UserError, match='inputs: a stage needs at least one'):
    loader.train_batches(records, [0], {}, 5, 0)


def test_two_inputs_read_one_field():
  config = {'kind': 'signal', 'field': 'imu', 'length': 2}
  inputs = fakes.inputs_of({'imu': {'length': 4}, 'coarse': config})
  (batch,) = loader.eval_batches(Numbered(3), range(3), inputs, 4)
  assert batch['imu'].shape == (4, 4, 6)
  assert batch['coarse'].shape == (4, 2, 6)
  assert batch['coarse'][:, 0, 0].tolist() == [0, 1, 2, 0]
  assert batch['coarse_mask'].tolist() == [[True] * 2] * 3 + [[False] * 2]


def test_motion_shows_brightness_and_its_change():
  inputs = {'rgb': {'frames': 4, 'resize': 12, 'size': 12, 'show': 'motion', 'apart': 1}}
  inputs['rgb'] |= {'mean': 0.0, 'std': 1.0}
  inputs = fakes.inputs_of(inputs)
  records = [fakes.record(0, 1, 1, ('rgb',))]  # grey 5 t at frame t of 11
  batch = next(loader.eval_batches(records, [0], inputs, 1))
  chosen = np.array([1, 4, 6, 9])
  expected = 5 * (chosen[:, None] + np.array([-1, 0, 1]))
  np.testing.assert_allclose(batch['rgb'][0].mean((1, 2)), expected, atol=1)
  shown = np.asarray(inputs_lib.preprocess(batch, inputs=inputs)['rgb'])[0].mean((1, 2))
  np.testing.assert_allclose(shown[:, 0], 5 * chosen / 255, atol=0.005)
  np.testing.assert_allclose(shown[:, 1:], 0.5 + 5 / 255, atol=0.008)


class Streams:
  """Three events of two sensors: both heard, one absent, both absent."""

  def __len__(self):
    return 3

  def __getitem__(self, i):
    rows = 0 if i == 2 else 21
    mask = np.ones((rows, 2), bool)
    mask[11:, 1] = False
    if i == 1:
      mask[:, 0] = False
    x = np.where(np.repeat(mask, 3, -1), 2, 0)
    return {'label': i, 'imu': x.astype(np.float32), 'imu_mask': mask}


def test_streams_have_masks_of_their_own():
  inputs = fakes.inputs_of({'imu': {'length': 30, 'fit': 'pad', 'rates': (100, 50)}})
  (batch,) = loader.eval_batches(Streams(), range(3), inputs, 4)
  assert batch['imu'].shape == (4, 30, 6)
  assert batch['imu_streams'].sum(1).tolist() == [[21, 11], [0, 11], [0, 0], [0, 0]]
  assert batch['imu_mask'].sum(1).tolist() == [21, 11, 0, 0]
  assert batch['mask'].tolist() == [True, True, True, False]
  assert batch['imu_present'].tolist() == [True, True, False, False]
  np.testing.assert_array_equal(batch['imu'] == 2, np.repeat(batch['imu_streams'], 3, -1))


def test_channels_are_those_of_the_records():
  batches = loader.eval_batches(
    Numbered(2), range(2), fakes.inputs_of({'imu': {'channels': 12}}), 2
  )
  with pytest.raises(UserError, match=r'inputs.imu.channels=12: the records have 6'):
    next(batches)


class Sightless:
  """Two trials with both sensors and frames, one with frames alone, one with nothing."""

  def __len__(self):
    return 4

  def __getitem__(self, i):
    seen = fakes.record(0, 1, 1, ('rgb',))['rgb'] if i < 3 else []
    return Streams()[0 if i < 2 else 2] | {'label': i, 'rgb': seen}


STREAMS = fakes.inputs_of({'imu': {'length': 30, 'fit': 'pad', 'rates': (100, 50)}})
SIZES = {'frames': 2, 'resize': 8, 'size': 8}
CLIP = fakes.inputs_of({'rgb': SIZES})
OPTIONAL = fakes.inputs_of({'rgb': SIZES | {'optional': True}})


def test_a_record_without_frames_is_a_black_clip_that_is_not_present():
  (batch,) = loader.eval_batches(Sightless(), [0, 3], STREAMS | OPTIONAL, 3)
  assert batch['rgb'].shape == (3, 2, 8, 8, 3)
  assert batch['rgb'].dtype == np.uint8
  assert batch['rgb'].any((1, 2, 3, 4)).tolist() == [True, False, False]
  for name in ('imu', 'rgb'):
    assert batch[f'{name}_present'].tolist() == [True, False, False]
    assert batch[f'{name}_present'].dtype == bool
  with pytest.raises(UserError, match=r'no rgb frames: set inputs\.rgb\.optional if some lack it'):
    next(loader.eval_batches(Sightless(), [3], CLIP, 1))


@pytest.mark.parametrize(
  ('inputs', 'expected'),
  [
    (STREAMS, [1, 0]),
    (OPTIONAL, [2, 1, 0]),
    (STREAMS | OPTIONAL, [2, 1, 0]),
    # Records need not be read where a modality is always there.
    (STREAMS | CLIP, [3, 2, 1, 0]),
  ],
)
def test_positions_of_records_that_have_something(inputs, expected):
  found = loader.recorded(Sightless(), [3, 2, 1, 0], inputs)
  assert found.tolist() == expected
