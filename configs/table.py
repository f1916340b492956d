"""Any folder of CSV recordings and a list of their labels, without code.

  python launch.py --config=configs/table.py:title=my_falls,rate=50,channels=6 \
      --workdir=runs/my_falls --raw_dir=FOLDER

The part after the colon: `title`, the dataset's name; `channels`, columns besides the time;
`seconds` that the model sees (the middle of longer recordings); and, joined by +, `sensors` that
have files of their own, `rate`, samples a second of all or each of them, and `units` of all, of
each of them or of each channel. `--config.dataset.options...` has all else that
`data_builders/table` takes.
"""

from ml_collections import ConfigDict

from configs import base
from har.errors import UserError

# What is about 1 of an everyday movement; a unit that is not here counts as it is.
SCALE = {'g': 1.0, 'm/s^2': 9.81, 'm/s2': 9.81, 'rad/s': 2.0, 'deg/s': 100.0, 'uT': 50.0}


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `title=...,rate=...,channels=...,seconds=...,sensors=...,units=...`."""
  args = base.parse_arg(arg, title='', rate='50', channels='6', seconds='10', sensors='', units='')
  sensors, units = (tuple(filter(None, args[name].split('+'))) for name in ('sensors', 'units'))
  count = max(len(sensors), 1)
  try:
    rates = tuple(map(float, args['rate'].split('+')))
    seconds, channels = float(args['seconds']), int(args['channels'])
  except ValueError as error:
    raise UserError(f'--config: rate, seconds and channels are numbers: {error}') from error
  rates = rates * count if len(rates) == 1 else rates
  if len(rates) != count or channels < 1 or channels % count or not min(*rates, seconds) > 0:
    raise UserError(
      f'--config={arg}: rate and seconds are above 0, and of {count} sensors (names joined by +) '
      'each has a rate and the same number of channels'
    )
  config = base.experiment('table', ('imu',))
  config.dataset.protocol = 'folds'
  config.dataset.fold = 1
  config.dataset.group = 'group'
  config.dataset.options = ConfigDict(
    {'title': args['title'], 'rates': rates, 'sensors': sensors, 'units': units}
  )
  scale = [SCALE.get(unit, 1.0) for unit in units] or [1.0]
  if channels % len(scale):
    raise UserError(f'--config={arg}: {len(scale)} units for {channels} channels')
  config.inputs.imu = ConfigDict(
    {
      'length': round(max(rates) * seconds),
      'fit': 'pad',
      'channels': channels,
      'rates': rates,
      'std': tuple(one for one in scale for _ in range(channels // len(scale))),
    }
  )
  config.encoders.imu = ConfigDict(
    {
      'kind': 'cnn1d_bn',
      'channels': (32, 64, 64, 128),
      'kernels': (24, 16, 8, 8),
      'strides': (2, 2, 2, 1),
      'pools': 1,
      'dropout': 0.1,
    }
  )
  config.stages.imu = base.stage(
    ['imu'],
    learning_rate=2e-3,
    epochs=30.0,
    batch_size=64,
    augment={'imu': {'scale': 0.15, 'time_warp': 0.2, 'crop': 0.1, 'jitter': 0.02}},
    objective={'kind': 'classify', 'label_smoothing': 0.1},
    head={'kind': 'linear', 'dropout': 0.3},
    optimizer={'weight_decay': 0.02, 'warmup': 0.3},
  )
  config.order = ('imu',)
  return config
