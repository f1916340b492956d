"""Two-stage training on MMAct (Kong et al., ICCV 2019) as Choi et al. (arXiv 2211.04331) do.

  python -m data_builders.mmact.prepare --raw_dir=PATH_TO_MMACT --data_dir=DATA
  python launch.py --config=configs/mmact.py --workdir=runs/mmact --data_dir=DATA

A part after a colon chooses `modalities`: imu, rgb or imu+rgb (the default). Learning rates, weight
decays and batch sizes are those of the paper's Table 1; its epochs are not published, and the
fusion's `modality_dropout` is ours. The paper used 4 A40 GPUs; here it ran on generated files only,
as the recordings need a licence.
`--config.dataset.protocol` is cross_subject, cross_view, cross_scene or cross_session.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...`."""
  args = base.parse_arg(arg, modalities='imu+rgb')
  modalities = base.parse_modalities(args['modalities'], ('imu', 'rgb'))
  config = base.experiment('mmact', modalities)
  # Streams that are absent are masked.
  config.dataset.require_complete = False
  config.dataset.options = ConfigDict({'short_side': 128})
  for name in modalities:
    config.inputs[name], config.encoders[name], config.stages[name] = {'imu': imu, 'rgb': rgb}[
      name
    ]()
  config.order = modalities
  if len(modalities) > 1:
    config.stages.fusion = base.fusion(
      modalities,
      learning_rate=1e-4,
      epochs=50.0,
      batch_size=18,
      head={'kind': 'concat_mlp', 'hidden': 256, 'dropout': 0.0},
      # Ours, not the paper's: sensors are absent from some clips, and the head is to expect it.
      modality_dropout=0.2,
      optimizer={'name': 'adam', 'weight_decay': 1e-6, 'schedule': 'constant'},
    )
    config.order += ('fusion',)
  return config


def imu() -> tuple[ConfigDict, ConfigDict, ConfigDict]:
  """Input, encoder and first stage of the four sensors."""
  inputs = {
    # 10 seconds at 100 Hz, longer than 84% of the clips; of longer ones the middle.
    'length': 1000,
    'fit': 'pad',
    'channels': 12,
    # Two accelerometers, gyroscope, orientation; each is left at its own rate, as in the paper. A
    # `rate` of 50 or 100 brings all to one.
    'rates': (100.0, 100.0, 50.0, 50.0),
    'rate': 0.0,
    # Sizes of the units, not statistics: m/s^2, rad/s, degrees.
    'std': (9.81,) * 6 + (1.0,) * 3 + (90.0,) * 3,
  }
  stage = base.stage(
    ['imu'],
    learning_rate=5e-3,
    epochs=100.0,
    batch_size=256,
    head={'kind': 'mlp', 'hidden': 256, 'dropout': 0.0},
    optimizer={'name': 'adam', 'weight_decay': 5e-5, 'schedule': 'constant'},
  )
  return ConfigDict(inputs), ConfigDict({'kind': 'cnn1d', 'dropout': 0.1}), stage


def rgb() -> tuple[ConfigDict, ConfigDict, ConfigDict]:
  """Input, encoder and first stage of the video."""
  inputs = {
    'frames': 16,
    'resize': 120,
    'size': 112,
    # Kinetics-400 statistics, which torchvision's weights were trained with.
    'mean': (0.43216, 0.394666, 0.37645),
    'std': (0.22803, 0.22145, 0.216989),
  }
  stage = base.stage(
    ['rgb'],
    learning_rate=1e-3,
    epochs=50.0,
    batch_size=20,
    head={'kind': 'linear', 'dropout': 0.2},
    optimizer={'name': 'adam', 'weight_decay': 1e-5, 'schedule': 'constant'},
  )
  return ConfigDict(inputs), ConfigDict({'kind': 's3d', 'width': 1.0}), stage
