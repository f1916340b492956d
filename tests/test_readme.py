"""The README's worked examples are run as they stand there, in a copy of the repository."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from data_builders.layout import Trial
from tests.data_builders import raw_trees

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text()
ONE_DEVICE = '--xla_force_host_platform_device_count=1'


def _block(first_line: str) -> str:
  """The Python block that starts with this line."""
  blocks = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
  return next(block for block in blocks if block.startswith(first_line))


def _add_line(path: pathlib.Path, registry: str, line: str, module: str) -> None:
  """What the README says to do: a line in a registry, and its import."""
  assert f'`{line}`' in README
  text = path.read_text()
  head = next(row for row in text.splitlines() if row.startswith(f'{registry}: '))
  text = text.replace(head, f'{head}\n  {line}').replace('\nfrom har', f'\n{module}\nfrom har', 1)
  path.write_text(text)


def test_the_worked_examples_go_from_raw_files_to_a_report(tmp_path):
  clone = tmp_path / 'clone'
  for folder in ('har', 'data_builders', 'configs'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / folder, clone / folder, ignore=ignored)
  shutil.copy(ROOT / 'launch.py', clone)
  (clone / 'data_builders' / 'kitchen').mkdir()
  builder = clone / 'data_builders' / 'kitchen' / 'kitchen_dataset_builder.py'
  builder.write_text(_block('"""Three people stirring'))
  (clone / 'configs' / 'kitchen.py').write_text(_block('"""IMU, skeleton and their fusion'))
  models, objectives = clone / 'har' / 'models', clone / 'har' / 'objectives'
  (models / 'energy.py').write_text(_block('"""How much each channel'))
  (objectives / 'focal.py').write_text(_block('"""Focal loss'))
  line, module = "'energy': energy.Energy,", 'from har.models import energy'
  _add_line(models / 'registry.py', 'ENCODERS', line, module)
  line, module = "'focal': Focal,", 'from har.objectives.focal import Focal'
  _add_line(objectives / 'registry.py', 'OBJECTIVES', line, module)
  flags = re.findall(r'`(--config\.(?:encoders|stages)\.imu[.\w]*="\{[^`]*\}")`', README)
  assert len(flags) == 2

  trials = [Trial(a, s, t) for a in (1, 2) for s in (1, 2, 3) for t in (1, 2)]
  for modality in ('imu', 'skeleton'):
    raw_trees.write_folder(tmp_path / 'raw', modality, trials)
  workdir = tmp_path / 'run'
  subprocess.run(
    [
      *(sys.executable, 'launch.py', '--config=configs/kitchen.py', f'--workdir={workdir}'),
      *(f'--raw_dir={tmp_path}/raw', f'--data_dir={tmp_path}/data'),
      *(f'--config.stages.{name}.epochs=1' for name in ('imu', 'skeleton', 'fusion')),
      *(flag.replace('"', '') for flag in flags),
    ],
    cwd=clone,
    env=os.environ | {'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} {ONE_DEVICE}'},
    check=True,
  )
  results = json.loads((workdir / 'results.json').read_text())
  assert list(results['stages']) == ['imu', 'skeleton', 'fusion']
  assert results['stages']['fusion']['float32']['examples'] == 4
  config = json.loads((workdir / 'config.json').read_text())
  assert config['encoders']['imu'] == {'kind': 'energy', 'features': 64}
  assert config['stages']['imu']['objective'] == {'kind': 'focal', 'gamma': 1.0}
  # 6 x 64 + 64 of the encoder, 64 x 2 + 2 of the classifier.
  assert results['parameters']['imu'] == 6 * 64 + 64 + 64 * 2 + 2
  assert (workdir / 'report.html').exists()


READMES = sorted(
  path for path in ROOT.glob('**/README.md') if not {'.venv', 'runs'} & set(path.parts)
)


@pytest.mark.parametrize('path', READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_and_sections_that_it_names_exist(path):
  text = path.read_text()
  for target, anchor in re.findall(r'\]\(((?!https?:)[^)#]*)(#[^)]*)?\)', text):
    other = (path.parent / target).resolve() if target else path
    other = other / 'README.md' if other.is_dir() else other
    assert other.exists(), target
    if anchor:
      heads = re.findall(r'^#+ (.*)$', other.read_text(), re.MULTILINE)
      slugs = [re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads]
      assert anchor[1:] in slugs, (target, anchor)
  for name in re.findall(r'(?:configs|data_builders|har|tests)/[\w/]+\.(?:py|png|bib)', text):
    mine = any(word in name for word in ('kitchen', 'energy', 'focal'))
    assert mine or (ROOT / name).exists(), name


def test_the_readme_can_be_read_in_one_sitting():
  assert len(README.splitlines()) <= 220
