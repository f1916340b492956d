"""MuMu (Islam and Iqbal, AAAI 2022) on UTD-MHAD.

  python launch.py --config=configs/baselines/mumu.py:modalities=imu+skeleton \
      --workdir=runs/mumu --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, any of imu, rgb, depth and skeleton joined by +, and
`dataset`, utd_mhad if not given, or mmact (imu and rgb). One stage, everything trained from the
start, as in the paper. configs/README.md has accuracy and time.
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
MMACT_GROUPS = (
  (
    *('walking', 'running', 'jumping', 'crouching', 'fall', 'loitering', 'entering', 'exiting'),
    *('sitting', 'sitting_down', 'standing', 'standing_up'),
  ),
  (
    *('carrying', 'carrying_heavy', 'carrying_light', 'pulling', 'pushing', 'kicking', 'throwing'),
    *('picking_up', 'setting_down', 'transferring_object', 'opening', 'closing'),
  ),
  ('using_pc', 'using_phone', 'talking_on_phone', 'drinking', 'pocket_in', 'pocket_out'),
  ('waving_hand', 'pointing', 'talking', 'checking_time', 'looking_around'),
)
"""Likewise: whole body, heavy things, small things, nothing in hand."""


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...,dataset=...`."""
  args = base.parse_arg(arg, modalities='imu+skeleton', dataset=baselines.UTD_MHAD)
  modalities = baselines.parse_modalities(args['dataset'], args['modalities'])
  groups = {'utd_mhad': GROUPS, 'mmact': MMACT_GROUPS}[args['dataset']]
  return baselines.at_once(
    modalities,
    args['dataset'],
    objective={'kind': 'cooperate', 'groups': groups},
    head={'kind': 'mumu', 'groups': len(groups)},
  )
