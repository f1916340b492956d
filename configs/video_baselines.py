"""Video networks that light models are measured against.

python launch.py --config=configs/video_baselines.py:model=c3d --workdir=runs/c3d

trains on the demo's generated clips from random values. I3D with its authors' weights, of which the
blocks after the last pool are trained on what the frozen ones gave once for five augmented views:

python launch.py --config=configs/video_baselines.py:model=i3d,dataset=fight,weights=i3d-kinetics400

`model=i3d_flow` is that I3D and the light model of flow, each trained by itself; the product of
their probabilities is in the report. What was measured is in `configs/README.md`.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, light_video, two_stream
from har.pretrained import i3d, mobilenet_v2, s3d

MODELS: dict[str, tuple[dict[str, Any], dict[str, int], tuple[Any, Any]]] = {
  'c3d': (
    {'kind': 'c3d', 'width': 0.25},
    {'frames': 16, 'resize': 128, 'size': 112},
    s3d.STATISTICS['torchvision'],
  ),
  'i3d': ({'kind': 'i3d'}, {'frames': 32, 'resize': 172, 'size': 160}, (i3d.MEAN, i3d.STD)),
  'cnn_bilstm': (
    {'kind': 'mobilenet_v2', 'temporal': 'bilstm', 'features': 128, 'layers': 2},
    {'frames': 16, 'resize': 240, 'size': 224},
    (mobilenet_v2.MEAN, mobilenet_v2.STD),
  ),
  's3d': (
    {'kind': 's3d', 'width': 0.25},
    {'frames': 16, 'resize': 128, 'size': 112},
    s3d.STATISTICS['torchvision'],
  ),
}
"""Encoder, frames and pixels, and statistics of the input.

cnn_bilstm is a frozen image network and a deep Bi-LSTM (Ullah et al., IEEE Access 2018).
"""
FROZEN = {'cnn_bilstm': ('rgb/time', 'head'), 'i3d': ('fine_tuned',)}
"""What is trained of a network that starts from published weights; of others everything."""
VIEWS = 5


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment.

  Args:
    arg: `model=`, one of `MODELS` (c3d if not given), i3d_flow, or two_stream, which is
      `two_stream.py`;
      `dataset=` (stickman), a folder in `data_builders` with colour video, and with clips `title=`,
      the prepared dataset's name; and `weights=`, a published name or a file: of i3d the last
      blocks are then trained, of cnn_bilstm what comes after the image network, of s3d, at its full
      width, everything.
  """
  args = base.parse_arg(arg, model='c3d', dataset='stickman', title='', weights='')
  model = base.choose('model', args.pop('model'), (*MODELS, 'i3d_flow', 'two_stream'))
  if model == 'two_stream':
    return two_stream.get_config(','.join(f'{key}={value}' for key, value in args.items()))
  if model == 'i3d_flow':
    return _with_flow(
      get_config(','.join(['model=i3d', *(f'{k}={v}' for k, v in args.items())])), args
    )
  encoder, sizes, (mean, std) = MODELS[model]
  config = base.experiment(args['dataset'], ('rgb',))
  divided = light_video.divide(config, args['dataset'], args['title'], flow=False)
  config.inputs.rgb = {**sizes, 'region': divided['region'], 'mean': mean, 'std': std}
  config.encoders.rgb = dict(encoder)
  if args['weights'] and model == 's3d':
    config.encoders.rgb.width = 1.0
  frozen = bool(args['weights']) and model in FROZEN
  config.stages.rgb = base.stage(
    ['rgb'],
    init_from=args['weights'] or 'random',
    trained=FROZEN[model] if frozen else ('*',),
    cached_views=VIEWS if frozen else 0,
    learning_rate=1e-3,
    epochs=20.0,
    augment={'rgb': {'flip': 0.5, 'zoom': 0.1, 'brightness': 0.15, 'contrast': 0.15}},
    head={'kind': 'linear', 'dropout': 0.3},
    objective={'kind': 'classify', 'label_smoothing': 0.1},
    optimizer={'weight_decay': 0.02, 'warmup': 0.1, 'clip_norm': 1.0},
    batch_size=16,
  )
  config.order = ('rgb',)
  return config


def _with_flow(config: ConfigDict, args: dict[str, str]) -> ConfigDict:
  """The same with the light model of flow beside."""
  shared = f'dataset={args["dataset"]},title={args["title"]},show=flow,temporal=tcn'
  weights = 'mobilenet_v2-backbone' if args['weights'] else ''
  light = light_video.get_config(f'{shared},weights={weights}')
  config.dataset = light.dataset
  config.modalities = ('rgb', 'flow')
  for section in ('inputs', 'encoders', 'stages'):
    config[section].flow = light[section].flow
  config.order = ('rgb', 'flow')
  return config
