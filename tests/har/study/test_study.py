"""A study runs every fold of every row once, and its table holds what the runs left."""

import csv
import importlib
import json
import types

import pytest

from har import schema
from har.errors import UserError
from har.evaluate import folds, results
from har.export import benchmark
from har.study import grid, table, video

ROW = grid.Row('light', 'configs/a.py', ('--config.x=1',), ('slim',))


def metrics(top1, examples):
  return {
    **{'top1': top1, 'top5': 1.0, 'f1': top1 - 0.1, 'precision': top1, 'recall': 0.5},
    'examples': examples,
  }


def leave(folder, mode, top1, examples):
  """What `launch.py` leaves in a workdir."""
  forms = {'float32': top1, 'int8': top1 - 0.05}
  if mode == 'compress':
    forms |= {'slim': top1 - 0.02}
  table_of = {
    **{'dataset': 'toy', 'protocol': 'folds', 'seed': 0, 'seconds': {'rgb': 1.0}},
    'stages': {'rgb': {form: metrics(value, examples) for form, value in forms.items()}},
    'parameters': {'rgb': 10},
    'bytes': {'rgb': {form: 4 for form in forms}},
  }
  results.write_results(folder, table_of)
  if mode == 'benchmark':
    rows = []
    for form, factor in (('float32', 1.0), ('int8', 0.25)):
      for runtime in ('jax', 'litert'):
        row = dict.fromkeys(benchmark.COLUMNS, 4 * factor)
        rows.append(row | {'stage': 'rgb', 'variant': form, 'runtime': runtime, 'threads': 1})
    with open(folder / 'benchmark.csv', 'w', newline='') as file:
      writer = csv.DictWriter(file, benchmark.COLUMNS)
      writer.writeheader()
      writer.writerows(rows)


@pytest.fixture
def launched(monkeypatch, tmp_path):
  """The commands that a study gave, each of which ends as real ones do."""
  ran = []

  def run(command, check):
    assert not check
    flags = dict(flag.partition('=')[::2] for flag in command[2:])
    ran.append((flags['--workdir'].rsplit('_', 1)[1], flags['--mode']))
    folder = tmp_path / ROW.name / f'fold_{ran[-1][0]}'
    assert str(folder) == flags['--workdir']
    assert flags['--config'] == 'configs/a.py'
    assert flags['--config.compress.variants'] == "('slim',)"
    folder.mkdir(parents=True, exist_ok=True)
    fold = int(ran[-1][0])
    leave(folder, ran[-1][1], {1: 0.8, 2: 0.6}[fold], {1: 30, 2: 10}[fold])
    return types.SimpleNamespace(returncode=0)

  monkeypatch.setattr(grid.subprocess, 'run', run)
  return ran


def test_every_fold_is_trained_and_the_first_measured_once(launched, tmp_path):
  folders = grid.run(ROW, tmp_path, ['--config.dataset.folds=2'])
  expected = [('1', 'train'), ('1', 'compress'), ('1', 'benchmark'), ('2', 'train')]
  assert launched == [*expected, ('2', 'compress')]
  assert [folder.name for folder in folders] == ['fold_1', 'fold_2']
  grid.run(ROW, tmp_path, ['--config.dataset.folds=2'])
  assert len(launched) == 5
  grid.run(ROW, tmp_path, ['--config.dataset.folds=2', '--config.seed=1'])
  assert len(launched) == 10


def test_a_failure_ends_the_study(monkeypatch, tmp_path):
  status = types.SimpleNamespace(returncode=2)
  monkeypatch.setattr(grid.subprocess, 'run', lambda *_, **__: status)
  with pytest.raises(UserError, match='fold_1: --mode=train ended with status 2'):
    grid.run(ROW, tmp_path, [])
  status.returncode = 0
  with pytest.raises(UserError, match='fold_1: --mode=train was stopped'):
    grid.run(ROW, tmp_path, [])


def test_the_table_has_means_deviations_and_the_files_speed(launched, tmp_path):
  row = grid.Row('light', 'configs/a.py', variants=('slim',))
  folders = grid.run(row, tmp_path, ['--config.dataset.folds=2'])
  # The first fold's benchmark came last and left no slim form; that is told of neither.
  measured = grid.collect(row, folders)
  assert [one.variant for one in measured] == ['float32', 'int8']
  text = table.write(tmp_path, measured, {'study': 'video on toy', 'command': 'x'})
  with open(tmp_path / 'study.csv', newline='') as file:
    first, second = csv.DictReader(file)
  assert first['model'] == 'light'
  assert float(first['top1']) == pytest.approx(0.7)
  assert float(first['top1_deviation']) == pytest.approx(0.2 / 2**0.5)
  assert float(first['top1_pooled']) == pytest.approx(0.75)
  assert (first['folds'], first['examples']) == ('2', '40')
  assert float(first['f1']) == pytest.approx(0.6)
  assert float(second['size_mb']) == 1.0
  assert '70.0' in text
  written = json.loads((tmp_path / 'study.json').read_text())
  assert [m['top1'] for m in written['rows'][0]['by_fold']] == [0.8, 0.6]
  page = (tmp_path / 'study.html').read_text()
  assert 'video on toy' in page
  assert page.count('<tr>') == 3
  assert 'light float32' in page  # a label in the picture


def test_every_row_of_the_video_study_is_an_experiment():
  found = {name: video.rows(name) for name in ('fight', 'ucf101')}
  names = [row.name for row in found['fight']]
  assert len(set(names)) == len(names) >= 9
  for rows in found.values():
    for row in rows:
      path, _, arg = row.config.partition(':')
      config = importlib.import_module(path.removesuffix('.py').replace('/', '.')).get_config(arg)
      config.compress.variants = row.variants
      schema.check(config)
  assert found['fight'][0].flags == ()
  commands = folds.commands(
    [f'--config={found["ucf101"][0].config}', *found['ucf101'][0].flags, '--workdir=w']
  )
  assert len(commands) == 3
  assert all('--config.dataset.protocol=official' in c for c in commands.values())
