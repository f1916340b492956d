"""What the experiments in `configs/` set, without running them."""

import importlib
import inspect

import pytest

from configs import light_video, two_stream
from har import schema
from har.data import inputs
from har.errors import UserError
from har.models import registry, s3d
from har.pretrained import efficientnet_lite, mobilenet_v2


def test_the_default_is_the_papers_pair_of_modalities():
  for name, everything in (('demo', 'imu+rgb'), ('utd_mhad', 'imu+rgb,recipe=tuned')):
    get_config = importlib.import_module(f'configs.{name}').get_config
    assert get_config().to_dict() == get_config(f'modalities={everything}').to_dict()


@pytest.mark.parametrize(
  ('arg', 'message'),
  [
    ('modalities=imu+sonar', "modalities='imu\\+sonar' must be different ones of"),
    ('modalities=imu+imu', 'must be different'),
    ('modality=imu', "'modality=imu' is not understood; it takes modalities=..., recipe=..."),
    ('recipe=ours', "recipe='ours' is none of tuned, paper"),
    ('recipe=paper,encoder=lstm', 'encoder=lstm is for the tuned IMU'),
    ('modalities=depth,encoder=tcn', 'encoder=tcn is for the tuned IMU'),
  ],
)
def test_wrong_config_arguments_are_user_errors(arg, message):
  with pytest.raises(UserError, match=message):
    importlib.import_module('configs.utd_mhad').get_config(arg)


@pytest.mark.parametrize(
  ('backbone', 'temporal'), [('mobilenet_v2', 'tcn'), ('efficientnet_lite2', 'mean')]
)
def test_light_video_takes_what_published_weights_need(backbone, temporal):
  arg = f'dataset=ucf101,backbone={backbone},temporal={temporal},weights=PATH.pth'
  config = importlib.import_module('configs.light_video').get_config(arg)
  model = registry.build(['rgb'], config.encoders.to_dict(), {'kind': 'linear'}, 3)
  encoder = model.encoders['rgb']
  statistics = efficientnet_lite if 'lite' in backbone else mobilenet_v2
  assert (config.inputs.rgb.mean, config.inputs.rgb.std) == (statistics.MEAN, statistics.STD)
  assert (encoder.temporal, config.inputs.rgb.size) == (temporal, 224)
  assert config.stages.rgb.init_from == 'PATH.pth'
  assert config.stages.rgb.trained == (('head',) if temporal == 'mean' else ('rgb/time', 'head'))
  assert config.stages.rgb.cached_views == 4
  last = importlib.import_module('configs.light_video').get_config(f'{arg},trained=last')
  assert (last.stages.rgb.trained, last.stages.rgb.cached_views) == (('fine_tuned',), 0)
  assert ('time' in encoder.fine_tuned) == (temporal != 'mean')
  shifting = importlib.import_module('configs.light_video').get_config('temporal=causal_tsm')
  assert (shifting.encoders.rgb.temporal, shifting.encoders.rgb.shift) == ('mean', 'causal')
  with pytest.raises(UserError, match="temporal='rnn' is none of mean, lstm"):
    importlib.import_module('configs.light_video').get_config('temporal=rnn')


@pytest.mark.parametrize('name', light_video.DATASETS)
def test_light_video_divides_each_dataset_by_what_it_has(name):
  config = light_video.get_config(f'dataset={name},title=toy')
  schema.check(config)
  parameters = inspect.signature(dataset_module(name).Builder.__init__).parameters
  assert set(config.dataset.options) <= set(parameters)
  assert config.dataset.options.short_side == 256 > config.inputs.rgb.size == 224
  assert config.dataset.group == 'group'
  assert config.dataset.protocol == ('official' if name in ('ucf101', 'hmdb51') else 'folds')


def test_a_frozen_light_model_is_slimmed_by_training_all_of_it():
  light = importlib.import_module('configs.light_video')
  frozen = light.get_config('dataset=fight,weights=mobilenet_v2-imagenet')
  schema.check(frozen)
  assert frozen.stages.rgb.cached_views == 4
  assert frozen.compress.slim.trained == ('*',)
  assert frozen.compress.slim.changes.to_dict() == {'cached_views': 0}
  assert 'changes' not in light.get_config('dataset=fight').compress.slim


def test_two_streams_start_from_one_file_and_store_flow_beside_frames():
  arg = 'dataset=fight,weights=mobilenet_v2-imagenet,fusion=concat,stack=5'
  config = two_stream.get_config(arg)
  schema.check(config)
  assert config.dataset.options.to_dict() == {'title': 'fight_flow', 'short_side': 256, 'flow': 0.1}
  assert inputs.build('flow', config.inputs.flow).padding()['flow'].shape == (8, 240, 240, 10)
  assert [config.stages[n].init_from for n in ('rgb', 'flow')] == 2 * ['mobilenet_v2-imagenet']
  assert config.stages.rgb.trained == ('fine_tuned',) == config.stages.fusion.trained
  assert config.stages.flow.trained == ('*',)
  assert config.stages.fusion.head.kind == 'mlp'
  late = two_stream.get_config('fusion=late').stages.fusion
  assert (late.head.kind, late.trained) == ('decision', ('head',))
  arg = 'dataset=fight,weights=mobilenet_v2-imagenet,stack=1,trained=time'
  kept = two_stream.get_config(arg)
  schema.check(kept)
  assert (kept.inputs.flow.show, kept.inputs.flow.region) == ('picture', 'whole')
  for name in ('rgb', 'flow', 'fusion'):
    assert (kept.stages[name].trained, kept.stages[name].cached_views) == (('head',), 4)
  for wrong, message in (('fusion=early', 'none of late, concat'), ('stack=0', 'above 0')):
    with pytest.raises(UserError, match=message):
      two_stream.get_config(wrong)


def test_two_streams_are_among_the_video_baselines():
  arg = 'dataset=fight,weights=mobilenet_v2-imagenet'
  found = importlib.import_module('configs.video_baselines').get_config(f'model=two_stream,{arg}')
  assert found.to_dict() == two_stream.get_config(arg).to_dict()


def dataset_module(name):
  return importlib.import_module(f'data_builders.{name}.{name}_dataset_builder')


TABLE_1 = {
  ('utd_mhad', 'recipe=paper'): {
    'imu': (1e-4, 1e-6, 128),
    'rgb': (1e-3, 1e-5, 16),
    'fusion': (5e-4, 5e-6, 16),
  },
  ('mmact', None): {
    'imu': (5e-3, 5e-5, 256),
    'rgb': (1e-3, 1e-5, 20),
    'fusion': (1e-4, 1e-6, 18),
  },
}


@pytest.mark.parametrize(('name', 'arg'), TABLE_1)
def test_the_papers_recipes_have_its_table_1(name, arg):
  config = importlib.import_module(f'configs.{name}').get_config(arg)
  assert TABLE_1[name, arg] == {
    stage: (s.optimizer.learning_rate, s.optimizer.weight_decay, s.batch_size)
    for stage, s in config.stages.items()
  }
  assert tuple(config.encoders.imu.get('kernels', (24, 16, 8))) == (24, 16, 8)
  assert s3d.S3D.fine_tuned == ('Mixed_4c', 'Mixed_5c')
  assert config.stages.fusion.trained == ('fine_tuned',)


def test_a_large_model_of_colours_has_the_light_one_of_flow_beside():
  get_config = importlib.import_module('configs.video_baselines').get_config
  both = get_config('model=i3d_flow,dataset=fight,weights=i3d-kinetics400')
  schema.check(both)
  alone = get_config('model=i3d,dataset=fight,weights=i3d-kinetics400')
  light = light_video.get_config(
    'dataset=fight,show=flow,temporal=tcn,weights=mobilenet_v2-backbone'
  )
  assert both.order == ('rgb', 'flow')
  assert both.dataset.options.title == 'fight_flow'
  for section in ('inputs', 'encoders', 'stages'):
    assert both[section].rgb.to_dict() == alone[section].rgb.to_dict()
    assert both[section].flow.to_dict() == light[section].flow.to_dict()
  schema.check(get_config('model=i3d_flow'))


def test_video_baselines_freeze_what_published_weights_fill():
  get_config = importlib.import_module('configs.video_baselines').get_config
  for model, weights, trained, views, width in (
    ('i3d', 'i3d-kinetics400', ('fine_tuned',), 5, None),
    ('cnn_bilstm', 'mobilenet_v2-backbone', ('rgb/time', 'head'), 5, None),
    ('s3d', 's3d-kinetics400', ('*',), 0, 1.0),
    ('c3d', '', ('*',), 0, 0.25),
  ):
    config = get_config(f'model={model},dataset=fight,weights={weights}')
    stage = config.stages.rgb
    assert (stage.init_from, stage.trained) == (weights or 'random', trained)
    assert (stage.cached_views, config.encoders.rgb.get('width')) == (views, width)
    assert config.dataset.group == 'group'
  with pytest.raises(UserError, match="model='x3d' is none of c3d, i3d, cnn_bilstm, s3d"):
    get_config('model=x3d')
