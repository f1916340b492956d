"""Damage to saved states costs a warning and steps that are taken again, never another result."""

import pathlib
import resource
import shutil
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.data import dataset as dataset_lib
from har.errors import UserError
from har.train import checkpoints, experiment, loop
from har.train.interrupt import Interrupted, StopSignal
from har.train.state import TrainState
from tests import fakes
from tests.har.train import test_loop

META = {'best': 0.5, 'stale': 1}


def state(step):
  weights = np.random.default_rng(step).standard_normal((40, 50)).astype(np.float32)
  params = {'head': {'kernel': jnp.asarray(weights), 'bias': jnp.arange(3, dtype=jnp.bfloat16)}}
  return TrainState(jnp.int32(step), params, {}, (jnp.zeros(3),), None)


def save(workdir, *steps, best=()):
  with checkpoints.StageCheckpoints(workdir, 'imu') as saved:
    for step in sorted({*steps, *best}):
      if step in best:
        saved.save_best(step, checkpoints.inference_variables(state(step)), {'best_step': step})
      if step in steps:
        saved.save_latest(state(step), META)


def restore(workdir):
  """The step that is continued from, whose values are checked, and the bests that are left."""
  with checkpoints.StageCheckpoints(workdir, 'imu') as saved:
    found = saved.restore_latest(state(0))
    bests = sorted(int(p.name) for p in (workdir / 'checkpoints/imu/best').iterdir())
    if found is None:
      return None, bests
    restored, meta = found
    assert meta == META
    test_loop.assert_equal_trees(restored, state(int(restored.step)))
    return int(restored.step), bests


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


DAMAGE = {
  'emptied': lambda path: path.write_bytes(b''),
  'cut': lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
  'flipped': flip,
  'removed': lambda path: path.unlink(),
}


def values(checkpoint: pathlib.Path) -> pathlib.Path:
  return max((p for p in checkpoint.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize('kind', DAMAGE)
def test_damage_to_any_file_is_harmless_or_noticed(kind, tmp_path, capfd):
  save(tmp_path / 'whole', 3, 6)
  root = tmp_path / 'whole' / 'checkpoints/imu/latest/6'
  outcomes = {}
  for i, file in enumerate(sorted(p for p in root.rglob('*') if p.is_file())):
    workdir = tmp_path / str(i)
    shutil.copytree(tmp_path / 'whole', workdir)
    name = file.relative_to(root)
    DAMAGE[kind](workdir / 'checkpoints/imu/latest/6' / name)
    outcomes[str(name)], _ = restore(workdir)
    err = capfd.readouterr().err
    moved = workdir / 'checkpoints/imu/damaged/latest-6.0'
    if outcomes[str(name)] == 6:
      assert (err, moved.exists()) == ('', False)
    else:
      assert err.startswith(f'warning: {workdir}/checkpoints/imu/latest/6 cannot be used (')
      assert err.endswith(f'it is now {moved}\n')
      assert err.count('\n') == 1
      assert moved.is_dir()
  assert set(outcomes.values()) == {3, 6}
  assert outcomes['meta/metadata'] == 3
  assert outcomes[str(values(root).relative_to(root))] == 3


def test_states_keep_the_best_variables_that_they_go_with(tmp_path, capfd):
  save(tmp_path, 2, 4, 6, best=(1, 3, 5))
  latest = tmp_path / 'checkpoints/imu/latest'
  assert sorted(p.name for p in latest.iterdir()) == ['4', '6']
  flip(values(latest / '6'))
  assert restore(tmp_path) == (4, [1, 3])
  # 5 comes again; what no state goes with any more is deleted then.
  save(tmp_path, 6, 8, best=(5, 7))
  assert restore(tmp_path) == (8, [3, 5, 7])
  flip(values(tmp_path / 'checkpoints/imu/best/7'))
  capfd.readouterr()
  assert restore(tmp_path) == (6, [3, 5])
  first, second = capfd.readouterr().err.splitlines()
  assert 'best/7 cannot be used (its values are not those that were written)' in first
  assert 'latest/8 cannot be used (its best variables are those of step 7)' in second


def test_lost_best_variables_are_noticed(tmp_path, capfd):
  save(tmp_path, 2, 4, best=(1,))
  shutil.rmtree(tmp_path / 'checkpoints/imu/best/1')
  assert restore(tmp_path) == (None, [])
  *_, last = capfd.readouterr().err.splitlines()
  assert last == ('warning: stage imu: no saved state is left; the stage starts from its beginning')
  assert sorted(p.name for p in (tmp_path / 'checkpoints/imu/damaged').iterdir()) == [
    'latest-2.0',
    'latest-4.0',
  ]


def test_damaged_best_variables_are_no_result(tmp_path):
  save(tmp_path, 2, best=(1,))
  flip(values(tmp_path / 'checkpoints/imu/best/1'))
  with (
    checkpoints.StageCheckpoints(tmp_path, 'imu') as saved,
    pytest.raises(UserError, match=r'best/1 cannot be restored \(its values .*the same command'),
  ):
    saved.restore_best(checkpoints.inference_variables(state(0)))


def test_a_write_that_fails_in_the_background_is_one_error(tmp_path, capfd):
  save(tmp_path, 1)
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
  try:
    with pytest.raises(UserError, match=r'imu: a checkpoint cannot be written \(File too large\)'):
      save(tmp_path, 2)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  assert capfd.readouterr().err == ''
  assert restore(tmp_path) == (1, [])


class StopAt(StopSignal):
  """A request to stop after one step."""

  at = 0

  def requested(self, step):
    return step == self.at


def train(workdir):
  """12 steps, validated after two in three, better after 2, 3, 5 and 6 and saved every 2."""
  c = test_loop.config(validate_every=2, epochs=16.0)
  c.dataset.validation_subjects = (3,)
  c.runtime.save_steps = 2
  opened = experiment.open_experiment(c, workdir)
  experiment.train(opened)
  variables, meta = experiment.load(opened, 'imu')
  return variables, {k: v for k, v in meta.items() if k not in ('seconds', 'data_wait')}


RIGHT = {2: 1, 3: 2, 5: 3, 6: 4}
"""How many validation examples are right after a step; elsewhere none."""


def replace(patch):
  """Puts generated data and the above in the place of what is read and predicted."""
  validate, predict = loop._Run._validate, loop.predict.predict

  def validate_as_told(self, log, i, *args):
    def told(*args):
      logits = predict(*args)['logits']
      labels = self.context.dataset.index.label[self.context.splits.validation]
      right = np.arange(len(labels)) < RIGHT.get(i, 0)
      return {'logits': np.eye(logits.shape[1])[np.where(right, labels, labels - 1)]}

    with mock.patch.object(loop.predict, 'predict', told):
      return validate(self, log, i, *args)

  patch.setattr(loop._Run, '_validate', validate_as_told)
  patch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())


@pytest.fixture
def fake_dataset(monkeypatch):
  replace(monkeypatch)
  monkeypatch.setattr(experiment, 'StopSignal', StopAt)


@pytest.mark.parametrize(
  ('damaged', 'moved'),
  [
    (['latest/6'], ['latest-6.0']),
    (['best/6'], ['best-6.0', 'latest-6.0']),
    (['latest/6', 'latest/4'], ['latest-4.0', 'latest-6.0']),
  ],
)
def test_a_run_goes_on_from_before_the_damage_bit_equal(
  damaged, moved, whole, tmp_path, monkeypatch, fake_dataset, capfd
):
  monkeypatch.setattr(StopAt, 'at', 6)
  with pytest.raises(Interrupted):
    train(tmp_path)
  root = tmp_path / 'checkpoints/imu'
  for name in damaged:
    for path in (root / name).rglob('d/*'):
      flip(path)
  monkeypatch.setattr(StopAt, 'at', 0)
  capfd.readouterr()
  variables, facts = train(tmp_path)
  assert sorted(p.name for p in (root / 'damaged').iterdir()) == moved
  err = capfd.readouterr().err
  assert err.count('cannot be used') == len(moved)
  assert ('starts from its beginning' in err) == (len(damaged) == 2)
  test_loop.assert_equal_trees(variables, whole[0])
  assert facts == whole[1]
  assert facts['best_step'] == 6


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    replace(patch)
    return jax.device_get(train(tmp_path_factory.mktemp('whole')))
