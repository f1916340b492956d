"""WEDA-FALL (Marques and Moreno, 2023): 350 falls and 619 daily activities of 25 people, wrist.

  python -m har.evaluate.folds --workdir=runs/weda --config=configs/weda_fall.py --raw_dir=FOLDER

The folder holds the owner's `50Hz` as a folder or zip. `:classes=activities` tells all 19 apart.
The files give falls away: most were sampled at 40 Hz, daily activities at 50. That alone has an
AUROC of 97.1.
"""

from ml_collections import ConfigDict

from configs import base, table


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `classes=`, falls (if not given) or activities."""
  args = base.parse_arg(arg, classes='falls')
  falls = base.choose('classes', args['classes'], ('falls', 'activities')) == 'falls'
  title = f'weda_{args["classes"]}'
  config = table.get_config(
    f'title={title},rate=50,channels=6,seconds=12,sensors=accel+gyro,units=m/s^2+rad/s'
  )
  config.dataset.options.pattern = '{label}/U{subject}_R{trial}_{sensor}.csv'
  config.dataset.options.classes = (('daily', 'D*'), ('fall', 'F*')) if falls else ()
  config.dataset.abnormal = ('fall',) if falls else tuple(f'F0{i}' for i in range(1, 9))
  return config
