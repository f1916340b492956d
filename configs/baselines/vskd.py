"""VSKD with its loss DASK (Ni et al., ICASSP 2022) on UTD-MHAD: a student of the IMU alone.

  python launch.py --config=configs/baselines/vskd.py:modalities=imu+skeleton \
      --workdir=runs/vskd --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, imu and the one of rgb, depth and skeleton that the teacher
sees, and `dataset`, utd_mhad if not given, or mmact (imu and rgb). The teacher is trained first,
then the student; the last row of the results, `imu`, is the student's. configs/README.md has
accuracy and time.
"""

from ml_collections import ConfigDict

from configs import base
from configs.baselines import base as baselines
from har.errors import UserError


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...,dataset=...`."""
  args = base.parse_arg(arg, modalities='imu+skeleton', dataset=baselines.UTD_MHAD)
  dataset = args['dataset']
  modalities = baselines.parse_modalities(dataset, args['modalities'])
  if len(modalities) != 2 or modalities[0] != 'imu':
    raise UserError(
      f'--config: modalities={args["modalities"]!r} must be imu, the student, and one other, the '
      'teacher'
    )
  config = baselines.experiment(modalities, dataset)
  _, teacher = modalities
  config.stages[teacher] = baselines.first_stage(teacher, dataset)
  student = baselines.first_stage('imu', dataset)
  student.objective = ConfigDict(
    {'kind': 'dask', 'teacher': f'stage:{teacher}', 'label_smoothing': 0.1}
  )
  augment = baselines.augmentation((*student.augment, teacher), dataset)
  student.augment = ConfigDict(augment)
  config.stages.imu = student
  config.order = (teacher, 'imu')
  return config
