"""Light video models: an image network on each frame, then a model of time.

python launch.py --config=configs/light_video.py --workdir=runs/light

trains on the demo's generated clips from random values, to show the way. With published weights,
which `har.pretrained` says how to get; what was measured is in `configs/README.md`:

python launch.py --config=configs/light_video.py:weights=mobilenet_v2-backbone ...
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from har.models import frames
from har.pretrained import efficientnet_lite, mobilenet_v2

BACKBONES: dict[str, tuple[dict[str, Any], tuple[Any, Any]]] = {
  'mobilenet_v2': ({'kind': 'mobilenet_v2'}, (mobilenet_v2.MEAN, mobilenet_v2.STD)),
  **{
    f'efficientnet_lite{i}': (
      {'kind': 'efficientnet_lite', 'variant': i},
      (efficientnet_lite.MEAN, efficientnet_lite.STD),
    )
    for i in range(5)
  },
}

_OFFICIAL = {'protocol': 'official', 'fold': 1, 'group': 'group'}
_BY_GROUP = {'protocol': 'folds', 'fold': 1, 'group': 'group'}
DATASETS: dict[str, dict[str, Any]] = {
  'ucf101': _OFFICIAL,
  'hmdb51': _OFFICIAL,
  'fight': {**_BY_GROUP, 'abnormal': ('fight',)},
  'gmdcsa24': {**_BY_GROUP, 'folds': 4, 'abnormal': ('fall',)},
  'clips': _BY_GROUP,
}
"""How those made of video files are divided; their short side is stored with 256 pixels."""
FLOW = 0.1
"""Seconds over which optical flow is stored."""


SHOWN = ('colour', 'motion', 'flow')

TEMPORAL: dict[str, dict[str, Any]] = {
  **{name: {'temporal': name} for name in frames.TEMPORAL},
  'tsm': {'temporal': 'mean', 'shift': 'both'},
  'causal_tsm': {'temporal': 'mean', 'shift': 'causal'},
}


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment.

  Args:
    arg: `dataset=` (stickman if not given), a folder in `data_builders` with colour video, and with
      clips `title=`, the prepared dataset's name; `show=`, what the network sees of each frame:
      its colours (colour), its brightness and how that changes (motion), or where its pixels move
      (flow, in the next tenth of a second);
      `backbone=`, one of `BACKBONES` (mobilenet_v2); `temporal=`, one of `TEMPORAL` (lstm);
      `weights=`, a published name or a file; and `trained=`, with weights what comes after the
      network, on what it gives frozen of four views of each clip (time), or its last two groups of
      blocks besides, on pictures drawn anew (last: with a temporal shift always). Without weights
      all is trained.
  """
  args = base.parse_arg(
    arg,
    dataset='stickman',
    title='',
    show='colour',
    backbone='mobilenet_v2',
    temporal='lstm',
    weights='',
    trained='time',
  )
  known = {
    'backbone': tuple(BACKBONES),
    'temporal': tuple(TEMPORAL),
    'show': SHOWN,
    'trained': ('time', 'last'),
  }
  for name, values in known.items():
    base.choose(name, args[name], values)
  encoder, statistics = BACKBONES[args['backbone']]
  name = 'flow' if args['show'] == 'flow' else 'rgb'
  config = base.experiment(args['dataset'], (name,))
  sizes = divide(config, args['dataset'], args['title'], flow=name == 'flow')
  config.inputs[name] = {**sizes, **dict(zip(('mean', 'std'), statistics, strict=True))}
  light = {'brightness': 0.15, 'contrast': 0.15} if name == 'rgb' else {}
  augment = {'flip': 0.5, 'zoom': 0.1, **light}
  config.inputs[name].show = 'picture' if name == 'flow' else args['show']
  config.encoders[name] = {**encoder, **TEMPORAL[args['temporal']], 'features': 128}
  trained = patterns(args, name)
  config.stages[name] = base.stage(
    [name],
    init_from=args['weights'] or 'random',
    trained=trained,
    cached_views=4 if 'head' in trained else 0,
    learning_rate=1e-3,
    epochs=60.0 if 'head' in trained else 20.0,  # Of what is kept an epoch takes half a second.
    augment={name: augment},
    head={'kind': 'linear', 'dropout': 0.3},
    objective={'kind': 'classify', 'label_smoothing': 0.1},
    optimizer={'weight_decay': 0.02, 'warmup': 0.1, 'clip_norm': 1.0},
    batch_size=16,
  )
  slim_whole(config, trained)
  # Channels of depthwise convolutions differ a hundredfold, and few frames are seen that reach far.
  config.compress.int8.update(calibration='percentile', equalise=True)
  config.order = (name,)
  return config


def slim_whole(config: ConfigDict, trained: tuple[str, ...]) -> None:
  """Has a frozen network that loses channels trained whole, on pictures drawn anew."""
  if 'head' in trained:
    config.compress.slim.update(trained=('*',), changes=ConfigDict({'cached_views': 0}))


def patterns(args: dict[str, str], name: str) -> tuple[str, ...]:
  """What of the network of the input `name` is trained."""
  if not args['weights']:
    return ('*',)
  if args['trained'] == 'last' or 'shift' in TEMPORAL[args['temporal']]:
    return ('fine_tuned',)
  return ('head',) if args['temporal'] == 'mean' else (f'{name}/time', 'head')


def divide(config: ConfigDict, dataset: str, title: str, *, flow: bool) -> dict[str, Any]:
  """Sets how a dataset is stored and divided; returns what the input is of a video.

  With flow it is a prepared dataset of its own, DATASET_flow unless there is a title.
  """
  if dataset == 'stickman':
    return {'frames': 8, 'resize': 72, 'size': 64, 'region': 'centre'}
  # All of each picture, as in the paper: people fight at its edges, too.
  sizes = {'frames': 16, 'resize': 240, 'size': 224, 'region': 'whole'}
  config.runtime.eval_batch_size = 8  # 32 clips of this size take 6 GB on their way.
  if dataset in DATASETS:
    config.dataset.update(DATASETS[dataset])
    title = title or dataset + '_flow' * flow
    stored = {'title': title, 'short_side': 256, 'flow': FLOW * flow}
    config.dataset.options = ConfigDict(stored)
  if dataset == 'gmdcsa24':
    config.dataset.options['classes'] = (('fall', 'Falling*'), ('daily', '*'))
  return sizes
