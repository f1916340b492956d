"""Flags that override a config may be of any type that the schema allows."""

import json
from unittest import mock

import pytest
from absl import flags

import launch as launch_lib
from har import schema
from tests.in_process import run_here

OWN = """from configs import demo

def get_config():
  config = demo.get_config('modalities=imu')
  config.encoders.imu.update(channels=[8, 8, 8, 8], strides=1)
  config.stages.imu.optimizer = {**config.stages.imu.optimizer.to_dict(), 'clip_norm': 1}
  return config
"""


@pytest.mark.parametrize(
  ('flag', 'value'),
  [
    ('encoders.imu.strides=[2, 2, 2, 1]', [2, 2, 2, 1]),
    ('encoders.imu.strides=2', 2),
    ('encoders.imu.channels=(16, 8, 8, 8)', (16, 8, 8, 8)),
    ('dataset.test_subject=ada', 'ada'),
    ('dataset.test_subject=3', 3),
    ('stages.imu.optimizer.clip_norm=0.5', 0.5),
    ('stages.imu.optimizer.clip_norm=1e-1', 0.1),
    ('stages.imu.batch_size=8', 8),
    ('stages.imu.batch_size=8.5', None),
  ],
)
def test_an_override_may_have_another_type_than_the_config_s_value(flag, value, tmp_path, capfd):
  config = tmp_path / 'own [x] %~.py'
  config.write_text(OWN)
  args = [f'--config={config}', f'--workdir={tmp_path}/run']
  args += [f'--config.{flag}', '--config.dataset.protocol=leave_one_subject_out']
  with mock.patch.object(launch_lib, '_run') as run:
    run.side_effect = lambda: checked.append(launch_lib._CONFIG.value) or schema.check(checked[0])
    checked = []
    code, _, err = run_here(capfd, *args)
  if value is None:
    assert code == 2
    assert 'batch_size=8.5: must be a whole number from 1' in err
    return
  assert (code, err) == (0, '')
  at = json.loads(json.dumps(checked[0].to_dict()))
  assert at['dataset']['protocol'] == 'leave_one_subject_out'
  for name in flag.partition('=')[0].split('.'):
    at = at[name]
  assert at == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('def get_config(', "SyntaxError: '(' was never closed (own.py, line 1)"),
    ('import no_such_module', "ModuleNotFoundError: No module named 'no_such_module'"),
    ('def get_config(): return nothing', "NameError: name 'nothing' is not defined"),
    ('def get_config(): return {}["a"]', "KeyError: 'a'"),
    ('def get_config(): return [][0]', 'IndexError: list index out of range'),
    ('def get_config(): return 1 / 0', 'ZeroDivisionError: division by zero'),
    ('def get_config(): return int("x")', 'ValueError: invalid literal for int()'),
  ],
)
def test_a_config_file_with_a_mistake_is_one_line(text, message, tmp_path, capfd):
  config = tmp_path / 'own.py'
  config.write_text(text)
  args = [f'--config={config}', f'--workdir={tmp_path}/run']
  code, _, err = run_here(capfd, *args)
  assert code == 2
  assert err.startswith(f'error: --config={config} cannot be loaded: {message}')
  assert err.count('\n') == 1
  with pytest.raises(
    (SyntaxError, ImportError, NameError, LookupError, ArithmeticError, flags.Error)
  ):
    run_here(capfd, *args, '--debug')
