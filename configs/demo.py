"""The demo: two-stage training on the embedded stick-figure data, RGB video and wrist IMU.

python launch.py --config=configs/demo.py --workdir=runs/demo

configs/README.md has time and accuracy.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...`, any of imu, rgb and skeleton (imu+rgb if not given)."""
  args = base.parse_arg(arg, modalities='imu+rgb')
  modalities = base.parse_modalities(args['modalities'], ('imu', 'rgb', 'skeleton'))
  config = base.experiment('stickman', modalities)
  config.runtime.save_steps = 40  # Of up to 360: a killed demo loses seconds.
  inputs = {
    'imu': {'length': 100, 'mean': (0.0,) * 6, 'std': (1.0,) * 3 + (200.0,) * 3},
    'rgb': {'frames': 8, 'resize': 72, 'size': 64, 'show': 'motion'},
    'skeleton': {'length': 48, 'std': 0.4},
  }
  encoders = {
    'imu': {'kind': 'cnn1d_bn', 'channels': (32, 64, 64, 128), 'dropout': 0.1},
    'rgb': {'kind': 's3d', 'width': 0.25},
    'skeleton': {'kind': 'skeleton_cnn'},
  }
  augment = {
    'imu': {
      'rotation_degrees': 20.0,
      'scale': 0.15,
      'time_warp': 0.3,
      'crop': 0.15,
      'jitter': 0.05,
    },
    'rgb': {'flip': 0.5, 'zoom': 0.1, 'brightness': 0.15, 'contrast': 0.15},
    'skeleton': {'rotation_degrees': 30.0, 'scale': 0.1, 'time_warp': 0.3, 'jitter': 0.0125},
  }
  epochs = {'imu': 60.0, 'rgb': 40.0, 'skeleton': 40.0}
  objective = {'kind': 'classify', 'label_smoothing': 0.1}
  for name in modalities:
    config.inputs[name] = ConfigDict(inputs[name])
    config.encoders[name] = ConfigDict(encoders[name])
    config.stages[name] = base.stage(
      [name],
      learning_rate=3e-3,
      epochs=epochs[name],
      augment={name: augment[name]},
      head={'kind': 'linear', 'dropout': 0.3},
      optimizer={'weight_decay': 0.05, 'warmup': 0.2, 'clip_norm': 1.0},
      objective=objective,
      batch_size=16,
    )
  config.order = modalities
  if len(modalities) > 1:
    config.stages.fusion = base.fusion(
      modalities,
      learning_rate=5e-4,
      epochs=20.0,
      augment={m: augment[m] for m in modalities},
      head={'kind': 'residual', 'hidden': 64, 'dropout': 0.3},
      objective={**objective, 'auxiliary': 1.0},
      ema=0.98,
      optimizer={'weight_decay': 0.02, 'warmup': 0.1, 'multipliers': base.slow(modalities, 0.2)},
      batch_size=16,
    )
    config.order += ('fusion',)
  return config
