"""A study's runs: what is finished is found again, and one failure is not everybody's."""

import json

import pytest

from har.errors import UserError
from har.evaluate import folds
from har.study import cost, grid
from har.study.launcher import Ended
from har.study.row import Row
from tests.har.study.leavings import Pretended, leave

ROW = Row('light', 'configs/a.py', folds.numbered(2), ('--config.x=1',), ('slim',))
OTHER = Row('other', 'configs/b.py', folds.numbered(2))
FIRST = [('light', 0, 'fold_1', mode) for mode in ('train', 'compress', 'benchmark')]
SECOND = [('light', 0, 'fold_2', mode) for mode in ('train', 'compress')]


@pytest.fixture
def launcher(tmp_path):
  return Pretended(tmp_path)


def runs(tmp_path, row=ROW, seeds=1, flags=(), **settings):
  return grid.plan([row], seeds, tmp_path, list(flags), **settings)[row.name]


def test_every_split_is_trained_once_with_each_seed_and_the_first_measured(launcher, tmp_path):
  assert grid.run(runs(tmp_path), launcher) == []
  assert launcher.ran == FIRST + SECOND
  assert launcher.flags == {
    '--config': 'configs/a.py',
    '--config.x': '1',
    '--config.dataset.protocol': 'folds',
    '--config.dataset.folds': '2',
    '--config.dataset.fold': '2',
    '--config.seed': '0',
    '--config.compress.variants': "('slim',)",
    '--workdir': str(tmp_path / 'light' / 'seed_0' / 'fold_2'),
    '--mode': 'compress',
  }
  assert launcher.environment == {}
  grid.run(runs(tmp_path), launcher)
  assert len(launcher.ran) == 5
  grid.run(runs(tmp_path, seeds=2), launcher)
  more = [(name, 1, split, mode) for name, _, split, mode in FIRST[:2] + SECOND]
  assert launcher.ran[5:] == more
  grid.run(runs(tmp_path, flags=['--config.y=2']), launcher)
  assert launcher.ran[9:] == FIRST + SECOND


def test_where_files_lie_makes_no_other_run(launcher, tmp_path):
  grid.run(runs(tmp_path, flags=['--raw_dir=a', '--data_dir=b']), launcher)
  grid.run(runs(tmp_path, flags=['--config.runtime.cache_dir=c', '--raw_dir=d']), launcher)
  assert len(launcher.ran) == 5


def test_runs_of_before_there_were_several_seeds_are_found(launcher, tmp_path):
  folder = tmp_path / 'light' / 'fold_1'
  (one,) = (run for run in runs(tmp_path) if run.split == 'fold_1')
  leave(folder, 'train', 0.8, 30)
  command = [*one.commands['train'][1:-2], f'--workdir={folder}', '--mode=train']
  (folder / 'study.json').write_text(json.dumps({'train': command}))
  found = runs(tmp_path, seeds=2)
  assert [run.folder.relative_to(tmp_path / 'light').as_posix() for run in found] == [
    *('fold_1', 'seed_0/fold_2', 'seed_1/fold_1', 'seed_1/fold_2')
  ]
  assert found[0].left() == ['compress', 'benchmark']
  # Its time was not written down.
  grid.run(found, launcher)
  assert launcher.ran[:2] == FIRST[1:]
  assert found[0].finished
  assert found[0].seconds is None


@pytest.mark.parametrize(
  ('said', 'message'),
  [
    (('warning: x', 'error: no such file', 'more'), 'no such file'),
    (('Traceback', 'KeyError: 3'), 'KeyError: 3'),
    ((), 'ended with status 2'),
  ],
)
def test_a_failure_ends_its_row_and_says_why(launcher, tmp_path, said, message):
  launcher.ends[SECOND[0]] = Ended(2, said)
  (failure,) = grid.run(runs(tmp_path), launcher)
  assert launcher.ran == FIRST + SECOND[:1]
  folder = tmp_path / 'light' / 'seed_0' / 'fold_2'
  assert str(failure) == f'row light: {folder}: --mode=train: {message}'
  assert not grid.complete(runs(tmp_path))
  launcher.ends.clear()
  assert grid.run(runs(tmp_path), launcher) == []
  assert launcher.ran[4:] == SECOND


def test_a_row_goes_on_without_its_benchmark(launcher, tmp_path):
  launcher.ends[FIRST[2]] = Ended(-9, ())
  failures = grid.run(runs(tmp_path), launcher)
  assert launcher.ran == FIRST + SECOND
  assert [f.error for f in failures] == ['ended by SIGKILL']
  assert grid.complete(runs(tmp_path))
  grid.run(runs(tmp_path), launcher)
  assert launcher.ran[5:] == FIRST[2:]


def test_a_command_that_was_stopped_stops_the_study(launcher, tmp_path):
  launcher.ends[FIRST[1]] = Ended(0, ('stopped: stage rgb is saved at step 4 of 8', ''))
  with pytest.raises(grid.Stopped):
    grid.run(runs(tmp_path), launcher)
  assert launcher.ran == FIRST[:2]
  # What it did so far counts, and it is not taken for finished.
  assert runs(tmp_path)[0].left() == ['compress', 'benchmark']
  known = json.loads((tmp_path / 'light' / 'seed_0' / 'fold_1' / 'study.json').read_text())
  assert known['compress']['seconds'] >= 0
  assert not known['compress']['finished']


def test_a_damaged_journal_is_named(launcher, tmp_path):
  grid.run(runs(tmp_path), launcher)
  path = tmp_path / 'light' / 'seed_0' / 'fold_2' / 'study.json'
  path.write_text('{"train"')
  with pytest.raises(UserError, match=r'fold_2/study\.json: cannot be read; delete it'):
    grid.run(runs(tmp_path), launcher)


def test_costs_are_those_of_finished_runs_of_the_same_row(tmp_path, launcher):
  plan = grid.plan([ROW, OTHER], 2, tmp_path, [])
  launcher.ends['light', 1, 'fold_1', 'train'] = Ended(2, ())
  grid.run(plan['light'], launcher)
  for split, seconds in (('fold_1', (70.0, 30.0)), ('fold_2', (90.0, 50.0))):
    path = tmp_path / 'light' / 'seed_0' / split / 'study.json'
    known = json.loads(path.read_text())
    for mode, value in zip(('train', 'compress'), seconds, strict=True):
      known[mode]['seconds'] = value
    path.write_text(json.dumps(known))
  assert cost.describe('toy', plan) == [
    'toy: 2 rows x 2 splits x 2 seeds: 8 runs, 2 of them finished',
    '  light  2 of 4 finished, 120 s each',
    '  other  0 of 4 finished',
    'left: 2 runs of about 4 min in all, benchmarks aside',
    'left besides: 4 runs of rows of which none is finished: time not known',
  ]


def test_a_quick_study_compiles_quickly(launcher, tmp_path):
  grid.run(runs(tmp_path, quick=True), launcher)
  assert 'optimization_level=0' in launcher.environment['XLA_FLAGS']
