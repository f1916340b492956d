"""Anomalies by reconstruction: an autoencoder of the wrist's IMU, trained on normal activity alone.

python launch.py --config=configs/demo_anomaly.py --workdir=runs/demo_anomaly

The embedded stick-figure data; falling, punching, pushing and nodding off are abnormal.
"""

from ml_collections import ConfigDict

from configs import base, demo


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment; it takes no argument."""
  base.parse_arg(arg)
  shown = demo.get_config('modalities=imu')
  config = base.experiment('stickman', ('imu',))
  config.inputs, config.encoders = shown.inputs, shown.encoders
  config.stages.imu = base.stage(
    ['imu'],
    learning_rate=3e-3,
    epochs=60.0,
    batch_size=16,
    objective={'kind': 'reconstruct', 'normal_only': True},
    head={'kind': 'decoder', 'bottleneck': 16},
    optimizer={'weight_decay': 0.01, 'warmup': 0.2, 'clip_norm': 1.0},
  )
  config.order = ('imu',)
  return config
