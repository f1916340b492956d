"""Any folder of videos, in class folders or with a list of their labels, without code.

  python launch.py --config=configs/clips.py:title=my_videos --workdir=runs/my_videos \
      --raw_dir=FOLDER

The part after the colon: `title`, the dataset's name, and `show=motion` for brightness and its
change in place of colours. Folds do not part what the list's column `group` keeps together (without
one `subject`, else each file). `--config.dataset.options...` has all that `data_builders/clips`
takes. Where left and right matter, --config.stages.rgb.augment.rgb.flip=0.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `title=...,show=...`."""
  args = base.parse_arg(arg, title='', show='colour')
  config = base.experiment('clips', ('rgb',))
  config.dataset.protocol = 'folds'
  config.dataset.fold = 1
  config.dataset.group = 'group'
  config.dataset.options = ConfigDict({'title': args['title'], 'short_side': 128})
  config.inputs.rgb = ConfigDict({'frames': 16, 'resize': 72, 'size': 64, 'show': args['show']})
  # Few channels and pixels, from random values: what a CPU trains in minutes.
  config.encoders.rgb = ConfigDict({'kind': 's3d', 'width': 0.25})
  config.stages.rgb = base.stage(
    ['rgb'],
    learning_rate=3e-3,
    epochs=30.0,
    batch_size=16,
    augment={'rgb': {'flip': 0.5, 'zoom': 0.1, 'brightness': 0.15, 'contrast': 0.15}},
    objective={'kind': 'classify', 'label_smoothing': 0.1},
    head={'kind': 'linear', 'dropout': 0.4},
    optimizer={'weight_decay': 0.05, 'warmup': 0.2, 'clip_norm': 1.0},
  )
  config.order = ('rgb',)
  return config
