"""The demo: two-stage training on the embedded stick-figure data, RGB video and wrist IMU.

python launch.py --config=configs/demo.py --workdir=runs/demo
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...`, any of imu, rgb and skeleton (imu+rgb if not given)."""
  args = base.parse_arg(arg, modalities='imu+rgb')
  modalities = base.parse_modalities(args['modalities'], ('imu', 'rgb', 'skeleton'))
  config = base.experiment('stickman', modalities)
  inputs = {
    'imu': {'length': 100, 'mean': (0.0,) * 6, 'std': (1.0,) * 3 + (200.0,) * 3},
    'rgb': {'frames': 8, 'resize': 56, 'size': 48},
    'skeleton': {'length': 48},
  }
  encoders = {
    'imu': {'kind': 'cnn1d_bn', 'channels': (32, 64, 64, 128), 'dropout': 0.1},
    'rgb': {'kind': 's3d', 'width': 0.25},
    'skeleton': {'kind': 'skeleton_cnn'},
  }
  augment = {
    'imu': {'rotation_degrees': 15, 'scale': 0.1, 'time_warp': 0.2, 'crop': 0.1, 'jitter': 0.05},
    'rgb': {'flip': 0.5, 'brightness': 0.2, 'contrast': 0.2},
    'skeleton': {'rotation_degrees': 15, 'scale': 0.1, 'time_warp': 0.2, 'jitter': 0.01},
  }
  epochs = {'imu': 60.0, 'rgb': 30.0, 'skeleton': 30.0}
  shared = {
    'batch_size': 16,
    'label_smoothing': 0.1,
    'optimizer': {'weight_decay': 0.05, 'warmup': 0.2, 'clip_norm': 1.0},
  }
  for name in modalities:
    config.inputs[name] = ConfigDict(inputs[name])
    config.encoders[name] = ConfigDict(encoders[name])
    config.stages[name] = base.stage(
      [name],
      learning_rate=3e-3,
      epochs=epochs[name],
      augment={name: augment[name]},
      head={'kind': 'linear', 'dropout': 0.2},
      **shared,
    )
  config.order = modalities
  if len(modalities) > 1:
    trained = {'rgb': ('rgb/Mixed_4c', 'rgb/Mixed_5c')}
    config.stages.fusion = base.stage(
      modalities,
      learning_rate=1e-3,
      epochs=20.0,
      init_from=','.join(f'stage:{m}' for m in modalities),
      trained=('head', *(p for m in modalities for p in trained.get(m, (m,)))),
      augment={m: augment[m] for m in modalities},
      head={'kind': 'concat_mlp', 'hidden': 64, 'dropout': 0.2},
      **shared,
    )
    config.order += ('fusion',)
  return config
