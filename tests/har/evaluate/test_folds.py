"""All folds are run by the launcher, each in a workdir of its own, and then summed up."""

import subprocess
import sys
import types

import pytest

from har.evaluate import folds, summary

FLAGS = ['--config=configs/a.py:title=x', '--workdir=runs/a', '--raw_dir=R']


def test_each_fold_has_its_command(tmp_path):
  found = folds.commands([*FLAGS, '--config.dataset.folds=3'])
  assert [str(folder) for folder in found] == [f'runs/a/fold_{k}' for k in (1, 2, 3)]
  command = found[list(found)[1]]
  assert command[0] == sys.executable
  assert command[1].endswith('launch.py')
  assert {*FLAGS} - {'--workdir=runs/a'} < {*command}
  assert command[-4:] == [
    '--config.dataset.protocol=folds',
    '--config.dataset.fold=2',
    '--config.dataset.folds=3',
    '--workdir=runs/a/fold_2',
  ]
  assert len(folds.commands(FLAGS)) == 5


def test_the_folds_may_be_official_splits():
  flags = ['--config.dataset.protocol=official', '--config.dataset.folds=3']
  commands = list(folds.commands([*FLAGS, *flags]).values())
  assert [command[-3:] for command in commands] == [
    [flags[0], f'--config.dataset.fold={k}', f'--workdir=runs/a/fold_{k}'] for k in (1, 2, 3)
  ]
  assert not any(flags[1] in command for command in commands)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config=a.py'], '--workdir=FOLDER is missing'),
    ([*FLAGS, '--config.dataset.fold=2'], 'all folds are run'),
    ([*FLAGS, '--config.dataset.folds=1'], 'folds=1: must be a whole number above 1'),
    ([*FLAGS, '--config.dataset.folds=x'], 'folds=x: must be'),
    ([*FLAGS, '--config.dataset.protocol=cross_view'], 'protocol=cross_view: must be one of folds'),
  ],
)
def test_wrong_flags(flags, message, capsys):
  assert folds.main(flags) == 2
  assert message in capsys.readouterr().err


def test_the_first_failure_ends_it(monkeypatch, capsys):
  statuses = iter((0, 3, 0))
  ran = []

  def run(command, check):
    ran.append(command[-1])
    return types.SimpleNamespace(returncode=next(statuses))

  monkeypatch.setattr(subprocess, 'run', run)
  assert folds.main(FLAGS) == 3
  assert ran == ['--workdir=runs/a/fold_1', '--workdir=runs/a/fold_2']


def test_the_summary_is_of_all_folds(monkeypatch, capsys):
  monkeypatch.setattr(subprocess, 'run', lambda *_, **__: types.SimpleNamespace(returncode=0))
  monkeypatch.setattr(summary, 'summarise', lambda folders: f'{len(folders)} folds')
  assert folds.main(FLAGS) == 0
  assert capsys.readouterr().out == '5 folds\n'
