"""HAMLET (Islam and Iqbal, IROS 2020) on UTD-MHAD.

  python launch.py --config=configs/baselines/hamlet.py:modalities=imu+skeleton \
      --workdir=runs/hamlet --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, any of imu, rgb, depth and skeleton joined by +, and
`dataset`, utd_mhad if not given, or mmact (imu and rgb). One stage, everything trained from the
start, as in the paper. configs/README.md has accuracy and time.
"""

from ml_collections import ConfigDict

from configs import base
from configs.baselines import base as baselines


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...,dataset=...`."""
  args = base.parse_arg(arg, modalities='imu+skeleton', dataset=baselines.UTD_MHAD)
  return baselines.at_once(
    baselines.parse_modalities(args['dataset'], args['modalities']),
    args['dataset'],
    objective={'kind': 'classify'},
    head={'kind': 'hamlet'},
  )
