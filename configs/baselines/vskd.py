"""VSKD with its loss DASK (Ni et al., ICASSP 2022) on UTD-MHAD: a student of the IMU alone.

  python launch.py --config=configs/baselines/vskd.py:modalities=imu+skeleton \
      --workdir=runs/vskd --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, imu and the one of rgb, depth and skeleton that the teacher
sees. The teacher is trained first, then the student; the last row of the results, `imu`, is the
student's. configs/README.md has accuracy and time.
"""

from ml_collections import ConfigDict

from configs import base, utd_mhad
from configs.baselines import base as baselines
from har.errors import UserError


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...`."""
  args = base.parse_arg(arg, modalities='imu+skeleton')
  modalities = base.parse_modalities(args['modalities'])
  if len(modalities) != 2 or modalities[0] != 'imu':
    raise UserError(
      f'--config: modalities={args["modalities"]!r} must be imu, the student, and one other, the '
      'teacher'
    )
  config = baselines.experiment(modalities)
  _, teacher = modalities
  config.stages[teacher] = utd_mhad.tuned(teacher)[2]
  student = utd_mhad.tuned('imu')[2]
  student.objective = ConfigDict(
    {'kind': 'dask', 'teacher': f'stage:{teacher}', 'label_smoothing': 0.1}
  )
  student.augment[teacher] = ConfigDict(baselines.augmentation((teacher,))[teacher])
  config.stages.imu = student
  config.order = (teacher, 'imu')
  return config
