"""Two-stage training on UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015).

  python launch.py --config=configs/utd_mhad.py:modalities=imu+depth --workdir=runs/utd \
      --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, any of imu, rgb, depth and skeleton joined by + (imu+rgb if
not given), `recipe`, `tuned` (ours) or `paper` (Table 1 of Choi et al., arXiv 2211.04331; its
epochs are not published and were not tuned here), and `encoder` of the tuned IMU, `cnn` if not
given, `cnn_gru`, `lstm` or `tcn`. The README has the accuracies. On 2 CPU cores IMU
takes about a minute, IMU + skeleton two, IMU + depth took half an hour beside other work.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from har.errors import UserError

RECIPES = ('tuned', 'paper')


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...,recipe=...,encoder=...`."""
  args = base.parse_arg(arg, modalities='imu+rgb', recipe='tuned', encoder='cnn')
  modalities = base.parse_modalities(args['modalities'])
  recipe = base.choose('recipe', args['recipe'], RECIPES)
  config = base.experiment('utd_mhad', modalities)
  make = {'tuned': tuned, 'paper': paper}[recipe]
  encoder = base.choose('encoder', args['encoder'], ('cnn', *TEMPORAL))
  for name in modalities:
    config.inputs[name], config.encoders[name], config.stages[name] = make(name)
  if encoder != 'cnn':
    if recipe != 'tuned' or 'imu' not in modalities:
      raise UserError(f'--config: encoder={encoder} is for the tuned IMU')
    config.encoders.imu = ConfigDict(TEMPORAL[encoder])
    if encoder == 'lstm':  # It overfits: few samples, much augmentation.
      config.inputs.imu.length = 60
      config.stages.imu.augment.imu.update(rotation_degrees=30.0, jitter=0.1)
  if len(modalities) > 1:
    config.stages.fusion = {'tuned': tuned_fusion, 'paper': paper_fusion}[recipe](modalities)
  config.order = modalities + (('fusion',) if len(modalities) > 1 else ())
  return config


def _video_input(name: str, **changes) -> ConfigDict:
  config: dict[str, Any] = {'frames': 16, 'resize': 120, 'size': 112}
  if name == 'rgb':
    # Kinetics-400 statistics, which torchvision's weights were trained with.
    config['mean'] = (0.43216, 0.394666, 0.37645)
    config['std'] = (0.22803, 0.22145, 0.216989)
  return ConfigDict(config | changes)


# Of the training subjects: accelerometer x y z in g, gyroscope x y z in degrees per second.
IMU_SCALE = {
  'mean': (-0.641, -0.254, -0.066, 3.46, -4.0, 0.04),
  'std': (0.762, 0.519, 0.579, 100.9, 117.0, 117.0),
}

# Of the tuned recipe's IMU, in place of its convolutions.
TEMPORAL: dict[str, dict[str, Any]] = {
  'cnn_gru': {
    'kind': 'cnn_gru',
    'channels': (64, 64, 128),
    'kernels': (24, 16, 8),
    'strides': 2,
    'features': 128,
    'pooling': 'mean_max',
  },
  'lstm': {
    'kind': 'lstm',
    'features': 96,
    'layers': 2,
    'bidirectional': True,
    'dropout': 0.4,
    'pooling': 'mean_max',
  },
  'tcn': {'kind': 'tcn', 'features': (64,) * 5, 'kernel': 5, 'pooling': 'mean_max'},
}


def tuned(name: str) -> tuple[ConfigDict, ConfigDict, ConfigDict]:
  """Input, encoder and first stage of one modality, from training subjects; RGB is untried."""
  if name in base.VIDEO:
    return _tuned_video(name)
  signals: dict[str, Any] = {
    'learning_rate': 2e-3,
    'batch_size': 64,
    'objective': {'kind': 'classify', 'label_smoothing': 0.1},
    'head': {'kind': 'linear', 'dropout': 0.3},
    'optimizer': {'weight_decay': 0.02, 'warmup': 0.3},
  }
  if name == 'imu':
    augment = {
      'rotation_degrees': 20.0,
      'scale': 0.15,
      'time_warp': 0.3,
      'crop': 0.15,
      'jitter': 0.05,
    }
    encoder = {
      'kind': 'cnn1d_bn',
      'channels': (64, 64, 128, 128),
      'kernels': (24, 16, 8, 8),
      'strides': (2, 2, 2, 1),
      'pools': 1,
      'dropout': 0.1,
    }
    return (
      ConfigDict({'length': 180, 'fit': 'resample', **IMU_SCALE}),
      ConfigDict(encoder),
      base.stage([name], epochs=150.0, augment={name: augment}, **signals),
    )
  augment = {
    'rotation_degrees': 30.0,
    'scale': 0.1,
    'time_warp': 0.3,
    'crop': 0.15,
    'jitter': 0.0125,
  }
  return (
    ConfigDict({'length': 64, 'fit': 'resample', 'velocity': 'frame', 'std': 0.4}),
    ConfigDict({'kind': 'skeleton_cnn'}),
    base.stage([name], epochs=200.0, augment={name: augment}, **signals),
  )


def _tuned_video(name: str) -> tuple[ConfigDict, ConfigDict, ConfigDict]:
  settings: dict[str, Any] = {
    'batch_size': 16,
    'objective': {'kind': 'classify', 'label_smoothing': 0.1},
    'augment': {name: {'crop': True, 'zoom': 0.1, 'brightness': 0.15, 'contrast': 0.15}},
    'head': {'kind': 'linear', 'dropout': 0.4},
    'optimizer': {'weight_decay': 0.05, 'warmup': 0.2, 'clip_norm': 1.0},
  }
  if name == 'rgb':
    # What Kinetics-400's weights fit; set stages.rgb.init_from to start from them.
    return (
      _video_input(name),
      ConfigDict({'kind': 's3d', 'width': 1.0}),
      base.stage([name], learning_rate=1e-3, epochs=30.0, **settings),
    )
  # Few channels and pixels, from random values: what a CPU trains in minutes.
  return (
    _video_input(name, resize=72, size=64, show='motion'),
    ConfigDict({'kind': 's3d', 'width': 0.25}),
    base.stage([name], learning_rate=3e-3, epochs=40.0, **settings),
  )


def tuned_fusion(modalities: tuple[str, ...]) -> ConfigDict:
  """The second stage: all encoders and their classifiers start from the first.

  Chosen on held-out training subjects, but kept knowing test figures: see the README's results.
  """
  # Skeletons are right more often than IMU; 0.7 was the best of 1, 0.7 and 0.5 on held-out people.
  trust = {'trust': (('imu', 0.7),)} if {'imu', 'skeleton'} <= set(modalities) else {}
  return base.fusion(
    modalities,
    learning_rate=5e-4,
    epochs=15.0,
    batch_size=32,
    objective={'kind': 'classify', 'label_smoothing': 0.1, 'auxiliary': 1.0},
    ema=0.98,
    augment={m: tuned(m)[2].augment[m] for m in modalities},
    head={'kind': 'residual', 'hidden': 256, 'dropout': 0.3, **trust},
    optimizer={'weight_decay': 0.02, 'warmup': 0.1, 'multipliers': base.slow(modalities, 0.2)},
  )


def paper(name: str) -> tuple[ConfigDict, ConfigDict, ConfigDict]:
  """Table 1 and Section 3 of the paper, which has no skeleton: it gets the IMU's settings."""
  if name in base.VIDEO:
    stage = base.stage(
      [name],
      learning_rate=1e-3,
      epochs=50.0,
      batch_size=16,
      head={'kind': 'linear', 'dropout': 0.2},
      optimizer={'name': 'adam', 'weight_decay': 1e-5, 'schedule': 'constant'},
    )
    # RGB was sampled at 15 Hz, the camera's own rate; the longest trial has 96 frames.
    return _video_input(name), ConfigDict({'kind': 's3d', 'width': 1.0}), stage
  stage = base.stage(
    [name],
    learning_rate=1e-4,
    epochs=300.0,
    batch_size=128,
    head={'kind': 'mlp', 'hidden': 256, 'dropout': 0.0},
    optimizer={'name': 'adam', 'weight_decay': 1e-6, 'schedule': 'constant'},
  )
  if name == 'skeleton':
    return ConfigDict({'length': 128, 'fit': 'pad'}), ConfigDict({'kind': 'skeleton_cnn'}), stage
  return (
    ConfigDict({'length': 326, 'fit': 'pad', **IMU_SCALE}),
    ConfigDict({'kind': 'cnn1d', 'dropout': 0.1}),
    stage,
  )


def paper_fusion(modalities: tuple[str, ...]) -> ConfigDict:
  """Section 3.3: an MLP of two layers; S3D is fine-tuned in Mixed_4c and Mixed_5c."""
  return base.fusion(
    modalities,
    learning_rate=5e-4,
    epochs=50.0,
    batch_size=16,
    head={'kind': 'concat_mlp', 'hidden': 256, 'dropout': 0.0},
    optimizer={'name': 'adam', 'weight_decay': 5e-6, 'schedule': 'constant'},
  )
