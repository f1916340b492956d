"""Wrong configs end in one line that names key, value and range; right ones pass."""

import dataclasses
import random
import re
from typing import Annotated, Any, Literal

import flax.linen as nn
import pytest
from ml_collections import ConfigDict

from configs import base
from har import options, schema
from har.compress.options import Pruning, Scheme, Slimming
from har.data.options import DATASET
from har.data.protocols import SplitOptions
from har.errors import UserError
from har.models import registry as models
from har.objectives import registry as objectives
from tests import wrong_configs
from tests.configs import test_configs


def demo() -> ConfigDict:
  return wrong_configs.experiment('demo', 'modalities=imu+skeleton')


@pytest.mark.parametrize(('name', 'arg'), test_configs.EXPERIMENTS)
def test_the_configs_of_the_repository_pass(name, arg):
  schema.check(wrong_configs.experiment(name, arg))


def test_200_wrong_values_are_told_by_key_value_and_range():
  drawn = wrong_configs.draw(200)
  assert len({key for _, key, _ in drawn}) > 100
  for number, key, value in drawn:
    with pytest.raises(UserError) as caught:
      schema.check(wrong_configs.build(number, key, value))
    line = str(caught.value)
    assert line.startswith(f'{key}={options.shown(value)}: must be '), line
    assert '\n' not in line
    assert len(line) < 500


def test_random_right_values_pass():
  rng = random.Random(0)
  for name, arg in wrong_configs.EXPERIMENTS:
    for one in schema.sections(wrong_configs.experiment(name, arg)):
      values = {n: wrong_configs.right(o.kind, rng) for n, o in one.schema.items()}
      options.check(one.schema, values, one.where, complete=True)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'stages.imu.epoch': 3}, r"stages\.imu\.epoch=3: no such option; did you mean 'epochs'\?"),
    ({'stage': {}}, r"config\.stage=\{\}: no such option; did you mean 'stages'\?"),
    ({'runtime.threads': 3}, r'runtime\.threads=3: no such option; there are devices, fsdp'),
    ({'compress.int4': {}}, "compress.int4={}: no such option; did you mean 'int8'"),
    ({'compress.study.w4': {'weight': 4}}, "study.w4.weight=4: no such option; did you mean 'w"),
    ({'compress.pruned.changes': {'lr': 1.0}}, r'pruned\.changes\.lr=1\.0: no such option'),
    ({'encoders.imu.kernel': 3}, "encoders.imu.kernel=3: no such option; did you mean 'kernels'"),
    ({'stages.imu.head.hidden': 3}, r'head\.hidden=3: no such option; there are kind, dropout'),
    ({'stages.imu.head.num_classes': 3}, r'head\.num_classes=3: no such option'),
    ({'stages.imu.augment.imu.rotate': 3}, 'augment.imu.rotate=3: no such option'),
    ({'stages.imu.augment.sonar': {}}, 'imu.augment.sonar: no such input; there are imu, skel'),
    ({'inputs.imuu': {'kind': 'signal'}}, 'inputs.imuu: no stage has it among its modalities'),
    ({'encoders.depth': {'kind': 's3d'}}, 'encoders.depth: no stage has it among its modalities'),
    ({'stages.imuu': {'epochs': 3.0}}, 'stages.imuu: no such stage; there are imu, skeleton, fus'),
    ({'order': ('imu', 'imu')}, r"order=\('imu', 'imu'\): must be a tuple of 1 or more different"),
    ({'order': ('imu', 'rgb')}, r"order=\('imu', 'rgb'\): 'rgb' is none of the stages fusion, imu"),
    ({'order': ('fusion', 'imu')}, r"fusion\.init_from=.*: 'imu' must be an earlier stage"),
    ({'stages.imu.modalities': ('sonar',)}, r"'sonar' is none of config\.inputs, which has imu"),
    ({'stages.imu.init_from': 's3d'}, "init_from='s3d': unknown published weights; there are"),
    ({'stages.imu.init_from': '~/x/y.pth'}, "imu.init_from='~/x/y.pth': the file does not exist"),
    ({'stages.imu.accumulate': 3}, r'accumulate=3: must divide batch_size=16'),
    ({'inputs.imu.rate': 50.0}, r"inputs\.imu\.rate=50.0: needs rates and fit='pad'"),
    ({'inputs.imu.mean': (1.0, 2.0)}, r'imu\.mean=\(1\.0, 2\.0\): 2 numbers for 6 channels'),
    ({'compress.pruned.begin': 0.9}, r'pruned\.begin=0\.9: must be at most end=0\.5'),
    ({'dataset.fold': 1}, r'dataset\.fold=1: only the protocols folds, official, fractions and'),
    ({'dataset.test_subject': 2}, r'test_subject=2: only the protocol leave_one_subject_out'),
    ({'dataset.protocol': 'folds', 'dataset.fold': 6}, r'dataset\.fold=6: must be 1 to 5'),
  ],
)
def test_what_does_not_go_together(changes, message):
  config = demo()
  for key, value in changes.items():
    *path, name = key.split('.')
    at = config
    for part in path:
      at = at[part]
    at[name] = ConfigDict(value) if isinstance(value, dict) else value
  with pytest.raises(UserError, match=message):
    schema.check(config)
  if 'fold' not in message and 'test_subject' not in message:
    with pytest.raises(UserError, match=message):
      schema.check(config, new=False)


@pytest.mark.parametrize(
  ('changes', 'key', 'message'),
  [
    ({'early_stopping': 3}, 'early_stopping=3', 'needs config.dataset.validation_fraction'),
    (
      {'optimizer': {'schedule': 'plateau'}},
      "optimizer.schedule='plateau'",
      "must be 'cosine' or 'constant', or needs config.dataset.validation_fraction",
    ),
    ({'optimizer': {'patience': 3}}, 'optimizer.patience=3', "needs schedule='plateau'"),
    ({'optimizer': {'factor': 0.1}}, 'optimizer.factor=0.1', "needs schedule='plateau'"),
    (
      {'optimizer': {'schedule': 'constant', 'final': 0.1}},
      'optimizer.final=0.1',
      "needs schedule='cosine'",
    ),
    ({'modality_dropout': 0.2}, 'modality_dropout=0.2', 'must be 0 for one modality'),
  ],
)
def test_options_without_effect_are_refused_in_new_runs(changes, key, message):
  config = demo()
  config.stages.imu.update(changes)
  with pytest.raises(UserError, match=f'{re.escape(f"config.stages.imu.{key}: ")}.*{message}'):
    schema.check(config)
  schema.check(config, new=False)
  if 'validation' in message:
    config.dataset.validation_subjects = (1,)
    schema.check(config)
    # Whether the dataset's own list has a part for it, only the data tell.
    config.dataset.update(validation_subjects=(), protocol='official')
    schema.check(config)


def test_fractions_are_for_the_protocols_that_draw_and_validate():
  config = demo()
  config.dataset.fractions = (0.8, 0.0, 0.2)
  with pytest.raises(UserError, match=r'fractions=\(0\.8, 0\.0, 0\.2\): needs a protocol of frac'):
    schema.check(config)
  config.dataset.protocol = 'by_clip'
  schema.check(config)
  config.stages.imu.early_stopping = 2
  with pytest.raises(UserError, match='early_stopping=2'):
    schema.check(config)
  config.dataset.fractions = (0.7, 0.15, 0.15)
  schema.check(config)


def test_folds_are_for_the_protocol_that_makes_them():
  config = demo()
  config.dataset.folds = 4
  with pytest.raises(UserError, match=r"folds=4: must be 5, or needs protocol='folds'"):
    schema.check(config)
  config.dataset.update(protocol='folds', fold=4)
  schema.check(config)


def test_missing_options_are_named():
  config = demo()
  del config.stages.imu.optimizer.schedule
  with pytest.raises(UserError, match=r"optimizer\.schedule is missing: it must be one of 'cosi"):
    schema.check(config)
  del config.encoders.imu.kind
  with pytest.raises(UserError, match=r"encoders\.imu\.kind is missing: it must be one of 'c3d'"):
    schema.check(config)


class Own(nn.Module):
  """An encoder as users write them.

  Attributes:
    features: how many.
    power: of the
      signal.
  """

  features: int = 32
  power: float = 2.0
  scale: 'float' = 1.0
  name_of: Literal['a', 'b'] = 'a'
  sizes: tuple[int, ...] = (1,)
  pair: tuple[str, float] = ('x', 1.0)
  open_: int | None = None
  share: Annotated[float, 'a remark of theirs'] = 0.5
  table: Any = None


def test_own_modules_need_no_schema(monkeypatch):
  monkeypatch.setitem(models.ENCODERS, 'own', Own)
  config = demo()

  def check(**values):
    config.encoders.imu = ConfigDict({'kind': 'own', **values})
    schema.check(config)

  check()
  check(features=-3, power=-1, scale=2, name_of='b', sizes=[2, 3], pair=('y', 2), open_=4, table=())
  check(open_=None, share=9.0)
  for name, value, text in (
    ('features', 2.0, 'a whole number'),
    ('features', True, 'a whole number'),
    ('power', float('inf'), 'a finite number'),
    ('scale', 'x', 'a finite number'),
    ('name_of', 'c', "one of 'a', 'b'"),
    ('sizes', (1, 2.0), 'a tuple of values, each a whole number'),
    ('pair', ('y',), 'a tuple of 2: a text that is not empty; a finite number'),
    ('open_', 'x', 'a whole number, or None'),
    ('share', None, 'a finite number'),
  ):
    with pytest.raises(
      UserError, match=re.escape(f'encoders.imu.{name}={value!r}: must be {text}')
    ):
      check(**{name: value})
  with pytest.raises(UserError, match='dtype=3: no such option; there are kind, features, power'):
    check(dtype=3)
  meanings = {name: one.meaning for name, one in options.of_class(Own).items()}
  assert meanings['features'] == 'how many'
  assert meanings['power'] == 'of the signal'
  assert meanings['table'] == ''


def test_defaults_stand_in_one_place_and_are_right():
  assert base.COMPRESS['int8'] == dataclasses.asdict(Scheme())
  config = base.experiment('stickman', ('imu',))
  assert SplitOptions.of(config.dataset) == SplitOptions()
  for table in (
    DATASET,
    *(options.of_class(kind, models.GIVEN) for kind in models.ENCODERS.values()),
    *(options.of_class(kind, models.GIVEN) for kind in models.HEADS.values()),
    *(options.of_class(kind, objectives.GIVEN) for kind in objectives.OBJECTIVES.values()),
    *map(options.of_class, (Scheme, Pruning, Slimming, SplitOptions)),
  ):
    for name, one in table.items():
      if one.default not in (options.MISSING, options.ABSENT):
        assert one.kind.accepts(one.default), name
      assert not isinstance(one.kind, schema.ranges.Anything), name


def test_defaults_have_the_form_of_the_config():
  c = demo()
  found = schema.defaults(c)
  assert found['dataset']['folds'] == DATASET['folds'].default == 5
  assert found['stages']['imu']['optimizer']['schedule'] == 'cosine'
  assert found['stages']['fusion']['objective']['label_smoothing'] == 0.0
  assert found['inputs']['imu']['kind'] == 'signal'
  assert 'name' not in found['dataset']
  found['stages']['imu']['objective']['kind'] = 'other'
  assert schema.defaults(c)['stages']['imu']['objective']['kind'] == 'classify'


def test_the_printed_tables_have_every_option():
  text = schema.tables()
  for _, where, name, option in wrong_configs.all_options():
    if name != 'kind':
      assert f'| `{name}` |' in text, where
      assert option.kind.text.replace('|', '\\|') in text
