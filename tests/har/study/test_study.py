"""A study's table holds what its runs left, and says what it lacks."""

import ast
import csv
import importlib
import itertools
import json
import math

import pytest

from configs import base
from har import schema
from har.errors import UserError
from har.evaluate import folds
from har.study import grid, measured, registry, run, table, table2, video
from har.study.launcher import Ended
from har.study.row import Asked, Row
from tests.har.study.leavings import Pretended

ROWS = [
  Row('light', 'configs/a.py', folds.numbered(2), variants=('slim',)),
  Row('plain', 'configs/b.py', folds.numbered(2), benchmark=False, published=0.9512),
]


class Toy:
  """A study of two rows."""

  @staticmethod
  def rows(asked):
    assert asked.dataset == 'toy'
    return ROWS

  picture = staticmethod(video.picture)


@pytest.fixture
def launcher(tmp_path, monkeypatch):
  monkeypatch.setitem(registry.STUDIES, 'toy', Toy)
  return Pretended(tmp_path)


def options(tmp_path, quick=False, **changes):
  return run.Options('toy', Asked('toy', quick=quick), tmp_path, **changes)


def written(tmp_path):
  with open(tmp_path / 'study.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  page = (tmp_path / 'study.html').read_text()
  return rows, json.loads((tmp_path / 'study.json').read_text()), page


def test_the_table_has_means_deviations_and_the_files_speed(launcher, tmp_path, capsys):
  text, failures = run.run(options(tmp_path, seeds=2, command='x'), launcher)
  assert failures == []
  assert 'toy on toy: 2 rows x 2 splits x 2 seeds: 8 runs, 0 of them' in capsys.readouterr().err
  rows, content, page = written(tmp_path)
  # Schemes that --mode=compress compares are none of the study's.
  assert [(row['model'], row['variant']) for row in rows] == [
    *(('light', form) for form in ('float32', 'int8', 'slim', 'slim_int8')),
    *(('plain', form) for form in ('float32', 'int8')),
  ]
  first = rows[0]
  # 0.8 and 0.7 in the first fold of 30 examples, 0.6 and 0.4 in the second of 10.
  assert float(first['top1']) == pytest.approx((0.75 + 0.5) / 2)
  assert float(first['top1_deviation']) == pytest.approx(0.25 / 2**0.5)
  assert float(first['top1_deviation_of_seeds']) == pytest.approx((0.7 - 0.55) / 2**0.5)
  assert (first['top1_low'], first['top1_high']) == ('0.0', '1.0')  # Of two seeds that differ.
  assert float(first['top1_pooled']) == pytest.approx((30 * 0.75 + 10 * 0.5) / 40)
  assert (first['folds'], first['seeds'], first['examples']) == ('2', '2', '80')
  assert float(first['f1']) == pytest.approx(0.525)
  assert float(rows[1]['size_mb']) == 1.0
  assert rows[2]['size_mb'] == rows[4]['size_mb'] == ''
  assert {row['quick'] for row in rows} == {'False'}
  # What others state is of the float form.
  assert [row['published'] for row in rows] == [''] * 4 + ['0.9512', '']
  assert '62.5' in text
  assert '95.12' in text
  runs = content['rows'][0]['runs']
  assert [(r['split'], r['seed'], r['top1']) for r in runs] == [
    *(('fold_1', 0, 0.8), ('fold_1', 1, 0.7), ('fold_2', 0, 0.6), ('fold_2', 1, 0.4))
  ]
  assert content['facts']['rows'] == '2 of 2'
  assert 'toy on toy' in page
  assert page.count('<tr>') == 7
  assert 'light float32' in page  # A label in the picture.
  assert 'QUICK' not in page + text


def test_the_interval_is_student_s_over_the_means_of_the_seeds():
  of_fold = {'a': (0.70, 0.72, 0.71), 'b': (0.80, 0.80, 0.83)}
  metrics = {k: {i: {'top1': x} for i, x in enumerate(of_fold[k])} for k in of_fold}
  one = measured.Measured('row', 'imu', 'float32', metrics, None)
  # Means 0.75, 0.76, 0.77, deviation 0.01; t of two degrees of freedom is 4.3027.
  half = 4.3027 * 0.01 / 3**0.5
  assert one.interval('top1') == pytest.approx((0.76 - half, 0.76 + half), abs=1e-5)


def test_what_there_is_one_of_has_no_deviation(launcher, tmp_path):
  text, _ = run.run(options(tmp_path, rows=('plain',)), launcher)
  rows, content, page = written(tmp_path)
  assert [row['top1_deviation_of_seeds'] for row in rows] == ['', '']
  assert [row['top1_low'] for row in rows] == ['', '']
  assert content['rows'][0]['size_mb'] is None
  assert 'Std of seeds' not in text
  assert 'GFLOPs' not in text + page
  assert '<figure' not in page
  runs = grid.plan(ROWS[1:], 1, tmp_path, [])['plain'][:1]
  assert math.isnan(measured.collect(runs)[0].deviation('top1'))


def test_a_row_that_fails_is_told_of_and_the_others_are_written(launcher, tmp_path):
  launcher.ends['light', 0, 'fold_2', 'train'] = Ended(2, ('error: too hot',))
  text, failures = run.run(options(tmp_path), launcher)
  rows, content, page = written(tmp_path)
  assert {row['model'] for row in rows} == {'plain'}
  assert [failure.error for failure in failures] == ['too hot']
  assert content['facts']['rows'] == '1 of 2'
  assert 'too hot' in content['facts']['failed']
  assert 'too hot' in page
  assert 'plain' in text


def test_a_row_without_a_benchmark_is_shown_without_speed(launcher, tmp_path):
  launcher.ends['light', 0, 'fold_1', 'benchmark'] = Ended(2, ('error: 1 of 10 files differ',))
  _, failures = run.run(options(tmp_path), launcher)
  rows, _, _ = written(tmp_path)
  assert [row['model'] for row in rows] == ['light'] * 4 + ['plain'] * 2
  assert {row['ms_per_frame'] for row in rows} == {''}
  assert [failure.mode for failure in failures] == ['benchmark']


def test_no_row_at_all_is_a_table_of_none(launcher, tmp_path):
  for row in ('light', 'plain'):
    launcher.ends[row, 0, 'fold_1', 'train'] = Ended(2, ('error: no',))
  text, failures = run.run(options(tmp_path), launcher)
  assert text.startswith('no row is complete')
  assert len(failures) == 2
  assert written(tmp_path)[0] == []


def test_a_quick_study_says_so_everywhere_and_keeps_off_results(launcher, tmp_path, capsys):
  text, _ = run.run(options(tmp_path, quick=True), launcher)
  rows, content, page = written(tmp_path)
  assert {row['quick'] for row in rows} == {'True'}
  assert content['quick']
  assert all(row['quick'] for row in content['rows'])
  assert f'<title>{table.QUICK}: toy on toy</title>' in page
  assert f'<p class="alarm">{table.QUICK}' in page
  assert text.startswith(table.QUICK)
  assert capsys.readouterr().err.startswith(table.QUICK)
  count = len(launcher.ran)
  run.run(options(tmp_path), launcher)
  assert len(launcher.ran) == 2 * count  # None of its runs is taken for another.
  assert not written(tmp_path)[1]['quick']
  with pytest.raises(UserError, match=r'--quick: .*study.json holds results; give another'):
    run.run(options(tmp_path, quick=True), launcher)


def test_unknown_rows_are_refused(launcher, tmp_path):
  with pytest.raises(UserError, match='--rows: lihgt is none of light, plain'):
    run.run(options(tmp_path, rows=('lihgt',)), launcher)
  assert launcher.ran == []


def config_of(row):
  """What the row's commands run, with the row's own flags."""
  path, _, arg = row.config.partition(':')
  config = importlib.import_module(path.removesuffix('.py').replace('/', '.')).get_config(arg)
  config.compress.variants = row.variants
  for flag in row.flags:
    key, _, value = flag.removeprefix('--config.').partition('=')
    place, _, name = key.rpartition('.')
    section = config
    for part in place.split('.'):
      section = section[part]
    # Of an input's options a config has those that it sets; `schema.check` knows them all.
    assert name in section or place.startswith('inputs.')
    section[name] = ast.literal_eval(value)
  return config


def test_every_row_of_the_video_study_is_an_experiment():
  asked = [Asked(name, quick=quick) for name in ('fight', 'ucf101') for quick in (False, True)]
  found = {(one.dataset, one.quick): video.rows(one) for one in asked}
  names = [row.name for row in found['fight', False]]
  assert len(set(names)) == len(names) >= 9
  for row in itertools.chain(*found.values()):
    schema.check(config_of(row))
  assert list(found['fight', False][0].splits) == [f'fold_{k}' for k in range(1, 6)]
  official = found['ucf101', False][0].splits
  assert len(official) == 3
  assert all('--config.dataset.protocol=official' in flags for flags in official.values())
  assert all(len(row.splits) == 2 for row in found['ucf101', True])
  with pytest.raises(UserError, match=r'--modalities=imu: the study video has its own'):
    video.rows(Asked('fight', 'imu'))


def test_every_row_of_table_2_is_an_experiment_that_ends_in_what_it_is_named_after():
  for modalities in ('imu+skeleton', 'imu+rgb', 'imu+depth+skeleton'):
    for quick in (False, True):
      rows = table2.rows(Asked('utd_mhad', modalities, quick))
      for row in rows:
        config = config_of(row)
        schema.check(config)
        single = row.name.removeprefix('paper_') in base.MODALITIES or row.name.startswith('vskd')
        assert (len(config.stages[config.order[-1]].modalities) == 1) == single
        epochs = {one.epochs for one in config.stages.values()}
        assert (epochs == {1.0}) == quick
      names = [row.name for row in rows]
      if modalities == 'imu+skeleton' and not quick:
        own = ['imu', 'skeleton', 'fusion']
        rivals = ['hamlet', 'mumu', 'cmc', 'cmc_cmkm', 'vskd']
        assert names == [*(f'paper_{name}' for name in own), *own, *rivals]
        assert [row.published for row in rows[-5:]] == [0.9512, 0.976, 0.9604, 0.9767, 0.9697]
      assert ('vskd_depth' in names) == (modalities == 'imu+depth+skeleton')
  published = {row.name: row.published for row in table2.rows(Asked('utd_mhad', 'imu+rgb'))}
  assert published['paper_fusion'] == 0.9605
  assert published['fusion'] is published['imu'] is None


def test_table_2_of_mmact_has_the_paper_s_rows_and_the_rivals():
  for quick in (False, True):
    rows = table2.rows(Asked('mmact', 'imu+rgb', quick))
    for row in rows:
      config = config_of(row)
      schema.check(config)
      assert config.dataset.name == 'mmact'
      assert not config.dataset.require_complete
      assert ({one.epochs for one in config.stages.values()} == {1.0}) == quick
    own = ['paper_imu', 'paper_rgb', 'paper_fusion']
    rivals = ['hamlet', 'mumu', 'cmc', 'cmc_cmkm', 'vskd']
    assert [row.name for row in rows] == [*own[2 if quick else 0 :], *rivals]
  assert [row.published for row in table2.rows(Asked('mmact', 'imu+rgb'))[:3]] == [
    *(0.6428, 0.7189, 0.8405)
  ]


def test_rows_of_table_2_are_tested_against_what_they_should_beat():
  rows = {row.name: row for row in table2.rows(Asked('utd_mhad', 'imu+skeleton'))}
  for name in ('fusion', 'paper_fusion'):
    product, single = rows[name].pairs
    assert (product.kind, product.others) == ('product', ((name, 'product'),))
    assert (single.kind, single.others) == ('single', ((name, 'imu'), (name, 'skeleton')))
  assert [pair.others for pair in rows['hamlet'].pairs] == [(('fusion', ''),)]
  assert [pair.others for pair in rows['vskd'].pairs] == [(('fusion', 'imu'),)]
  assert rows['imu'].pairs == ()


@pytest.mark.parametrize(
  ('asked', 'message'),
  [
    (Asked('fight', 'imu+rgb'), '--dataset=fight: the study table2 is of utd_mhad and mmact'),
    (Asked('utd_mhad'), '--modalities=None: the study table2 needs two or more, such as imu'),
    (Asked('utd_mhad', 'imu'), '--modalities=imu: the study table2 needs two or more'),
    (Asked('utd_mhad', 'depth+skeleton'), 'needs imu and another'),
  ],
)
def test_what_table_2_cannot_show_is_told(asked, message):
  with pytest.raises(UserError, match=message):
    table2.rows(asked)
