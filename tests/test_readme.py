"""The README's worked example is run as it stands there, in a copy of the repository."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from data_builders.layout import Trial
from tests.data_builders import raw_trees

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text()


def _block(first_line: str) -> str:
  """The Python block that starts with this line."""
  blocks = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
  return next(block for block in blocks if block.startswith(first_line))


def test_the_kitchen_example_goes_from_raw_files_to_a_report(tmp_path):
  clone = tmp_path / 'clone'
  for folder in ('har', 'data_builders', 'configs'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / folder, clone / folder, ignore=ignored)
  shutil.copy(ROOT / 'launch.py', clone)
  (clone / 'data_builders' / 'kitchen').mkdir()
  builder = clone / 'data_builders' / 'kitchen' / 'kitchen_dataset_builder.py'
  builder.write_text(_block('"""Three people stirring'))
  (clone / 'configs' / 'kitchen.py').write_text(_block('"""IMU, skeleton and their fusion'))

  trials = [Trial(a, s, t) for a in (1, 2) for s in (1, 2, 3) for t in (1, 2)]
  for modality in ('imu', 'skeleton'):
    raw_trees.write_folder(tmp_path / 'raw', modality, trials)
  workdir = tmp_path / 'run'
  subprocess.run(
    [
      *(sys.executable, 'launch.py', '--config=configs/kitchen.py', f'--workdir={workdir}'),
      *(f'--raw_dir={tmp_path}/raw', f'--data_dir={tmp_path}/data'),
      *(f'--config.stages.{name}.epochs=1' for name in ('imu', 'skeleton', 'fusion')),
    ],
    cwd=clone,
    env=os.environ | {'XLA_FLAGS': ''},
    check=True,
  )
  stages = json.loads((workdir / 'results.json').read_text())['stages']
  assert list(stages) == ['imu', 'skeleton', 'fusion']
  assert stages['fusion']['float32']['examples'] == 4
  assert (workdir / 'report.html').exists()


def test_the_files_it_names_exist():
  paths = re.findall(r'(?:configs|data_builders|har)/[\w/]+\.(?:py|png|bib)', README)
  assert len(paths) > 5
  for path in paths:
    assert 'kitchen' in path or (ROOT / path).exists(), path
