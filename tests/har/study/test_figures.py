"""Studies over a number: what each row runs, and what the picture shows."""

import ast
import re

import pytest

from har import schema
from har.errors import UserError
from har.study import fig2, fig3
from har.study.measured import Measured
from har.study.row import Asked, Pair
from tests.har.study.test_study import config_of


def measured(row, stage, at, *top1):
  metrics = {'split': {seed: {'top1': value} for seed, value in enumerate(top1)}}
  return Measured(row, stage, 'float32', metrics, None, None, at)


@pytest.mark.parametrize('asked', [('utd_mhad', 'imu+depth'), ('utd_mhad', 'imu+depth+skeleton')])
def test_fig_2_trains_every_stage_of_a_row_on_one_share(asked):
  rows = fig2.rows(Asked(*asked))
  assert [row.at for row in rows] == [0.1, 0.25, 0.5, 0.75, 1.0]
  names = tuple(asked[1].split('+'))
  for row in rows:
    config = config_of(row)
    schema.check(config)
    assert config.dataset.train_fraction == row.at
    assert (*config.order,) == (*names, 'fusion')
    assert row.stages == (*names, 'product', 'fusion')
    assert row.pairs == (
      Pair('product', 'fusion', ((row.name, 'product'),)),
      Pair('single', 'fusion', tuple((row.name, name) for name in names)),
    )
  assert [row.name for row in rows] == [f'train_{n}' for n in (10, 25, 50, 75, 100)]
  for row in fig2.rows(Asked(*asked, quick=True)):
    assert {one.epochs for one in config_of(row).stages.values()} == {1.0}


@pytest.mark.parametrize(
  ('asked', 'message'),
  [
    (('fight', 'imu+rgb'), '--dataset=fight: the study fig2 is of utd_mhad and mmact'),
    (('utd_mhad', None), '--modalities=None: the study fig2 needs two or more, such as imu[+]skel'),
    (('mmact', 'imu'), '--modalities=imu: the study fig2 needs two or more, such as imu[+]rgb'),
    (('utd_mhad', 'imu+imu'), 'needs two or more'),
  ],
)
def test_what_fig_2_cannot_show_is_told(asked, message):
  with pytest.raises(UserError, match=message):
    fig2.rows(Asked(*asked))


def test_the_picture_of_fig_2_has_a_line_for_each_stage_and_a_bar_for_each_interval():
  assert fig2.picture([]) is None
  stages = ('imu', 'skeleton', 'product', 'fusion')
  found = [measured(f'train_{at}', s, at, 0.5, 0.6, 0.7) for at in (0.1, 1.0) for s in stages]
  svg = fig2.picture(found).svg
  texts = re.findall('>([^<>]+)</text>', svg)
  assert [text for text in texts if text in stages] == list(stages)
  assert {'10%', '100%'} <= set(texts)
  one_seed = [measured('train_10', s, 0.1, 0.5) for s in stages]
  assert fig2.picture(one_seed) is not None


@pytest.mark.parametrize('asked', [('utd_mhad', 'imu+depth+skeleton'), ('mmact', 'imu+rgb')])
def test_fig_3_hides_the_same_classes_from_each_modality_in_turn(asked):
  rows = fig3.rows(Asked(*asked))
  names = asked[1].split('+')
  hidden = [f'hidden_{count}_from_{name}' for count in (1, 3, 5) for name in names]
  assert [row.name for row in rows] == ['hidden_0', *hidden]
  for row in rows:
    config = config_of(row)
    schema.check(config)
    assert config.dataset.hidden == row.at
    flags = dict(flag.split('=', 1) for flag in row.flags)
    whom = ast.literal_eval(flags.get('--config.dataset.hidden_from', '()'))
    assert whom == (() if row.at == 0 else (row.name.rpartition('_')[2],))
    for name in whom:
      assert config.inputs[name].optional
    assert row.stages == (*names, 'product', 'fusion')
  assert len(fig3.rows(Asked(*asked, quick=True))) == 1 + len(names)


def test_fig_3_scales_no_input_by_statistics_of_hidden_classes():
  for row in fig3.rows(Asked('utd_mhad', 'imu+skeleton')):
    imu = config_of(row).inputs.imu
    assert set(imu.mean) == {0.0}
    assert set(imu.std) == {1.0, 100.0}


def test_the_picture_of_fig_3_begins_where_nothing_is_hidden():
  assert fig3.picture([]) is None
  stages = ('imu', 'rgb', 'product', 'fusion')
  found = [measured('hidden_0', stage, 0, 0.9) for stage in stages]
  assert fig3.picture(found) is None
  for count in (1, 3):
    for name in ('imu', 'rgb'):
      row = f'hidden_{count}_from_{name}'
      found += [measured(row, stage, count, 0.8) for stage in stages]
  svg = fig3.picture(found).svg
  texts = re.findall('>([^<>]+)</text>', svg)
  series = [
    *('imu*', 'rgb*', 'product imu*+rgb', 'product rgb*+imu', 'fusion imu*+rgb'),
    'fusion rgb*+imu',
  ]
  assert [text for text in texts if '*' in text] == series
  assert {'0', '1', '3'} <= set(texts)
