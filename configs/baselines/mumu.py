"""MuMu (Islam and Iqbal, AAAI 2022) on UTD-MHAD.

  python launch.py --config=configs/baselines/mumu.py:modalities=imu+skeleton \
      --workdir=runs/mumu --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, any of imu, rgb, depth and skeleton joined by +. One stage,
everything trained from the start, as in the paper. configs/README.md has accuracy and time.
"""

from ml_collections import ConfigDict

from configs import base
from configs.baselines import base as baselines

GESTURES = (
  *('swipe_left', 'swipe_right', 'wave', 'clap', 'arm_cross'),
  *('draw_x', 'draw_circle_cw', 'draw_circle_ccw', 'draw_triangle'),
)
SPORTS = (
  *('throw', 'catch', 'basketball_shoot', 'bowling', 'boxing'),
  *('baseball_swing', 'tennis_swing', 'tennis_serve'),
)
EVERYDAY = ('arm_curl', 'push', 'knock', 'pickup_throw')
LEGS = ('jog', 'walk', 'sit2stand', 'stand2sit', 'lunge', 'squat')
GROUPS = (GESTURES, SPORTS, EVERYDAY, LEGS)
"""Ours, by what is done with what; nothing was tried on recordings."""


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...`."""
  args = base.parse_arg(arg, modalities='imu+skeleton')
  modalities = base.parse_modalities(args['modalities'])
  return baselines.at_once(
    modalities,
    objective={'kind': 'cooperate', 'groups': GROUPS},
    head={'kind': 'mumu', 'groups': len(GROUPS)},
  )
