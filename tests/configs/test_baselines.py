"""The rivals' configs: what they train, and on what."""

import importlib

import pytest

from configs import mmact, utd_mhad
from configs.baselines import cmc, hamlet, mumu, vskd
from data_builders.mmact import names
from data_builders.utd_mhad import utd_mhad_dataset_builder
from har import schema
from har.errors import UserError


@pytest.mark.parametrize('name', ['hamlet', 'mumu', 'cmc', 'vskd'])
@pytest.mark.parametrize('video', ['skeleton', 'depth', 'rgb'])
def test_what_differs_from_our_own_experiment_is_the_method(name, video):
  arg = f'modalities=imu+{video}'
  config = importlib.import_module(f'configs.baselines.{name}').get_config(arg)
  schema.check(config)
  own = utd_mhad.get_config(arg)
  for section in ('dataset', 'inputs', 'encoders', 'compress', 'runtime'):
    assert config[section].to_dict() == own[section].to_dict()
  assert (config.seed, config.modalities) == (own.seed, own.modalities)


def test_each_action_is_of_one_group():
  grouped = [name for group in mumu.GROUPS for name in group]
  assert sorted(grouped) == sorted(utd_mhad_dataset_builder.LAYOUT.actions)
  assert mumu.get_config().stages.fusion.head.groups == len(mumu.GROUPS)


def test_each_action_of_mmact_is_of_one_group():
  grouped = [name for group in mumu.MMACT_GROUPS for name in group]
  assert sorted(grouped) == sorted(names.ACTIONS)
  config = mumu.get_config('modalities=imu+rgb,dataset=mmact')
  assert config.stages.fusion.head.groups == len(mumu.MMACT_GROUPS)


@pytest.mark.parametrize('name', ['hamlet', 'mumu', 'cmc', 'vskd'])
def test_on_mmact_inputs_and_encoders_are_those_of_its_own_experiment(name):
  module = importlib.import_module(f'configs.baselines.{name}')
  own = mmact.get_config()
  config = module.get_config('modalities=imu+rgb,dataset=mmact')
  for section in ('dataset', 'inputs', 'encoders'):
    assert config[section].to_dict() == own[section].to_dict()
  with pytest.raises(UserError, match='must be different ones of imu, rgb'):
    module.get_config('modalities=imu+skeleton,dataset=mmact')
  with pytest.raises(UserError, match="dataset='toy' is none of utd_mhad, mmact"):
    module.get_config('dataset=toy')


def test_cmc_mines_with_encoders_that_never_saw_the_other_modality():
  mined, plain = cmc.get_config(), cmc.get_config('mining=none')
  assert mined.order == ('views', 'contrast', 'fusion')
  assert plain.order == ('contrast', 'fusion')
  assert mined.stages.contrast.objective.teacher == 'stage:views'
  for config in (mined, plain):
    assert config.stages.contrast.init_from == 'random'
    assert config.stages.fusion.init_from == 'stage:contrast'


@pytest.mark.parametrize(
  ('classifier', 'trained', 'head'),
  [
    ('linear', ('head',), 'linear'),
    ('mlp', ('head',), 'concat_mlp'),
    ('fine_tuned', ('*',), 'concat_mlp'),
  ],
)
def test_classifiers_of_cmc(classifier, trained, head):
  config = cmc.get_config(f'classifier={classifier}')
  schema.check(config)
  stage = config.stages.fusion
  assert (tuple(stage.trained), stage.head.kind) == (trained, head)
  assert bool(stage.cached_views) == (trained == ('head',))


def test_the_student_is_the_imu_and_the_teacher_comes_first():
  config = vskd.get_config('modalities=imu+depth')
  assert config.order == ('depth', 'imu')
  assert config.stages.imu.modalities == ('imu',)
  assert config.stages.imu.objective.teacher == 'stage:depth'
  # The teacher's input is augmented as it was when it learnt.
  assert config.stages.imu.augment.depth == config.stages.depth.augment.depth
  assert set(hamlet.get_config('modalities=imu').stages) == {'fusion'}


@pytest.mark.parametrize(
  ('name', 'arg', 'message'),
  [
    ('cmc', 'modalities=imu', "modalities='imu' must be two or more"),
    ('cmc', 'mining=some', "mining='some' is none of cmkm, none"),
    ('cmc', 'classifier=svm', "classifier='svm' is none of linear, mlp, fine_tuned"),
    ('vskd', 'modalities=imu', "modalities='imu' must be imu, the student, and one other"),
    ('vskd', 'modalities=rgb+skeleton', 'must be imu, the student, and one other'),
    ('hamlet', 'modalities=imu+sonar', 'must be different ones of imu, rgb, depth, skeleton'),
    ('mumu', 'groups=3', "'groups=3' is not understood; it takes modalities="),
  ],
)
def test_wrong_arguments_are_user_errors(name, arg, message):
  with pytest.raises(UserError, match=message):
    importlib.import_module(f'configs.baselines.{name}').get_config(arg)
