"""UTD-MHAD: 27 actions by 8 subjects, seen by a Kinect and felt by one wearable sensor."""

from data_builders import trials

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
  flip_sensitive=('swipe_left', 'swipe_right', 'draw_circle_cw', 'draw_circle_ccw'),
  # Depth frames come at 11.1 to 21.0 a second measured against the IMU's 50, median 19.0.
  rates={'imu': 50.0, 'rgb': 15.0, 'depth': 19.0, 'skeleton': 19.0},
)


class Builder(trials.TrialBuilder):
  """TFDS builder of UTD-MHAD."""

  LAYOUT = LAYOUT
  PAGE = 'https://personal.utdallas.edu/~kehtar/UTD-MHAD.html'
  URLS = {  # noqa: RUF012
    'imu': 'https://personal.utdallas.edu/~kehtar/UTD-MAD/Inertial.zip',
    'rgb': 'https://personal.utdallas.edu/~kehtar/UTD-MAD/RGB.zip',
    'depth': 'https://personal.utdallas.edu/~kehtar/UTD-MAD/Depth.zip',
    'skeleton': 'https://personal.utdallas.edu/~kehtar/UTD-MAD/Skeleton.zip',
  }
