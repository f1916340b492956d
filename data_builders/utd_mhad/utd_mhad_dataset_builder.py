"""UTD-MHAD: 27 actions by 8 subjects, seen by a Kinect and felt by one wearable sensor."""

from typing import ClassVar

from data_builders import raw_files, trials

LAYOUT = trials.TrialLayout(
  name='utd_mhad',
  actions=(
    'swipe_left',
    'swipe_right',
    'wave',
    'clap',
    'throw',
    'arm_cross',
    'basketball_shoot',
    'draw_x',
    'draw_circle_cw',
    'draw_circle_ccw',
    'draw_triangle',
    'bowling',
    'boxing',
    'baseball_swing',
    'tennis_swing',
    'arm_curl',
    'tennis_serve',
    'push',
    'knock',
    'catch',
    'pickup_throw',
    'jog',
    'walk',
    'sit2stand',
    'stand2sit',
    'lunge',
    'squat',
  ),
  subjects=(1, 2, 3, 4, 5, 6, 7, 8),
  trials=(1, 2, 3, 4),
  absent=('a8_s1_t4', 'a23_s6_t4', 'a27_s8_t4'),
  train_subjects=(1, 3, 5, 7),
  # All other actions mirrored stay what they are, done with the other hand or foot.
  flip_sensitive=('swipe_left', 'swipe_right', 'draw_circle_cw', 'draw_circle_ccw'),
  # Measured against the IMU's 50 Hz, depth comes at 11.1 to 21.0 frames a second, median 19.0;
  # the owner's page says 30.
  rates={'imu': 50.0, 'rgb': 15.0, 'depth': 19.0, 'skeleton': 19.0},
)


class Builder(trials.TrialBuilder):
  """TFDS builder of UTD-MHAD."""

  LAYOUT = LAYOUT
  PAGE = 'https://personal.utdallas.edu/~kehtar/UTD-MHAD.html'
  URLS: ClassVar[dict[str, str]] = {
    modality: f'https://www.utdallas.edu/~kehtar/UTD-MAD/{folder}.zip'
    for modality, folder in raw_files.FOLDERS.items()
  }
