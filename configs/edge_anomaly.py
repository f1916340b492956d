"""Six activities from 30 frames and 30 accelerometer readings, for small devices.

  python launch.py --config=configs/edge_anomaly.py --workdir=runs/edge
  python launch.py --config=configs/edge_anomaly.py --workdir=runs/edge --mode=compress

On the demo's generated clips: walking and running are normal, falling, punching, pushing and
nodding off are not. MobileNetV2 on every frame and an LSTM over what it gives; an LSTM over the
accelerometer; both, concatenated, through a perceptron. Training ends early and slows down by
people who are held out; the second command prunes what was trained by magnitude. `:size=full` has
224x224 pixels as published weights (`weights=mobilenet_v2-backbone`) have seen them; without them
pictures are in [0, 1]. `configs/README.md` has time and accuracy.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from har.pretrained import mobilenet_v2

SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
  'demo': ({'resize': 54, 'size': 48}, {'width': 0.35, 'features': 64}),
  'full': ({'resize': 256, 'size': 224}, {'width': 1.0, 'features': 128}),
}
MODALITIES = ('imu', 'rgb')
READINGS = FRAMES = 30


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `size=`, demo (if not given) or full, and `weights=`, a name or a file."""
  args = base.parse_arg(arg, size='demo', weights='')
  pictures, network = SIZES[base.choose('size', args['size'], tuple(SIZES))]
  statistics: dict[str, Any] = {'mean': 0.0, 'std': 1.0}
  if args['weights']:
    statistics = {'mean': mobilenet_v2.MEAN, 'std': mobilenet_v2.STD}
  config = base.experiment('stickman', MODALITIES)
  if args['size'] == 'full':
    config.runtime.eval_batch_size = 8  # Of 32 clips three stages take 6 GB on their way.
  config.dataset.validation_fraction = 0.25
  config.compress.variants = ('pruned',)
  config.inputs = ConfigDict(
    {
      # Over the whole clip, as the frames are.
      'imu': {'length': READINGS, 'channels': 6, 'use': (0, 1, 2), 'most_resampling': 6.0},
      'rgb': {'frames': FRAMES, **pictures, **statistics},
    }
  )
  config.encoders = ConfigDict(
    {
      'imu': {'kind': 'lstm', 'features': 64, 'layers': 1, 'dropout': 0.3},
      'rgb': {'kind': 'mobilenet_v2', 'temporal': 'lstm', **network},
    }
  )
  augment = {'imu': {'scale': 0.15, 'time_warp': 0.2, 'jitter': 0.05}, 'rgb': {'flip': 0.5}}
  for name, epochs in (('imu', 200.0), ('rgb', 150.0)):
    config.stages[name] = base.stage([name], augment={name: augment[name]}, **_stage(epochs))
  config.stages.rgb.init_from = args['weights'] or 'random'
  if args['weights']:
    config.stages.rgb.trained = ('rgb/time', 'head')
    config.stages.rgb.cached_views = 2
  config.stages.fusion = base.fusion(MODALITIES, augment=augment, **_stage(60.0))
  # The network of pictures is a feature extractor by then.
  config.stages.fusion.trained = ('imu', 'rgb/time', 'head')
  config.stages.fusion.cached_views = config.stages.rgb.cached_views
  config.stages.fusion.head = ConfigDict({'kind': 'mlp', 'hidden': 64, 'dropout': 0.3})
  config.stages.fusion.optimizer.multipliers = base.slow(MODALITIES, 0.2)
  config.order = (*MODALITIES, 'fusion')
  return config


def _stage(epochs: float) -> dict[str, Any]:
  return {
    'learning_rate': 2e-3,
    'epochs': epochs,
    'batch_size': 16,
    # Few people validate: 6 validations without a new best are 60 epochs.
    'validate_every': 10,
    'early_stopping': 6,
    'head': {'kind': 'linear', 'dropout': 0.3},
    'objective': {'kind': 'classify', 'label_smoothing': 0.1},
    'optimizer': {'schedule': 'plateau', 'patience': 3, 'clip_norm': 1.0, 'weight_decay': 0.01},
  }
