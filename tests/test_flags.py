"""What is wrong with a command is one line, and nothing is written."""

import pytest

from har import options
from tests import wrong_configs
from tests.in_process import run_here
from tests.launching import finish, launch

WRONG_FLAGS = [
  (['--config=configs/nope.py'], '--config=configs/nope.py cannot be loaded'),
  (['--config=configs/base.py'], 'configs/base.py is not an experiment'),
  (['--config=configs/demo.py'], '--workdir is missing'),
  (['--workdir=w'], '--config is missing'),
  (
    ['--config=configs/demo.py', '--workdir=w', '--config.stages.imu.epoch=3'],
    "config.stages.imu.epoch=3: no such option; did you mean 'epochs'?",
  ),
  (
    ['--config=configs/demo.py', '--workdir=w', '--config.stages.imu.epochs=many'],
    'config.stages.imu.epochs=many: must be a finite number, above 0, at most 1000000',
  ),
  (
    ['--config=configs/demo.py', '--workdir=w', '--config.stage.imu.epochs=3'],
    '--config.stage.imu.epochs=3: the config has no \'stage\'. Did you mean "stages"?',
  ),
  (['--config=configs/demo.py', '--workdir=~nobody-here/x'], '--workdir=~nobody-here/x is no'),
  (['--config=configs/demo.py', '--workdir=w\\x'], 'TensorStore takes backslashes for slashes'),
  (['--config=configs/demo.py', '--workdir=w', '--data_dir='], '--data_dir= is no folder'),
  (['--config=configs/demo.py', '--workdir=w', '--mode=tran'], '--mode=tran is none of train'),
  (['--config=configs/demo.py', '--workdir=w', '--stages=imu'], '--stages goes with --mode=exp'),
  (['--config=configs/demo.py', '--workdir=w', '--mode=predict'], '--mode=predict and --input='),
  (['--config=configs/demo.py', '--workdir=w', '--input=a.csv'], '--mode=predict and --input='),
  (['--config=configs/demo.py', '--workdir=w', '--mod=train'], "Unknown command line flag 'mod'"),
  (['--config=configs/demo.py', '--workdir=w', 'train'], "'train' is not understood"),
  (['--config=configs/utd_mhad.py:recipe=x', '--workdir=w'], "recipe='x' is none of"),
  (
    ['--config=configs/demo.py', '--workdir=w', '--raw_dir=/nowhere', '--data_dir=d'],
    '/nowhere',
  ),
]


def assert_refused(code, out, err, message, folder):
  assert code == 2
  assert out == ''
  assert message in err
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert not (folder / 'w').exists()
  assert not (folder / 'd').exists() or not any((folder / 'd').rglob('*.array_record*'))


def within(folder, args):
  return [a.replace('=w', f'={folder}/w').replace('=d', f'={folder}/d') for a in args]


@pytest.mark.parametrize(('args', 'message'), WRONG_FLAGS)
def test_user_errors_are_one_line_and_status_2(args, message, tmp_path, capfd):
  assert_refused(*run_here(capfd, *within(tmp_path, args)), message, tmp_path)


# Noticed by the config's loader, the schema, absl and the data.
@pytest.mark.parametrize('number', [0, 4, 14, 17])
def test_nor_do_imports_say_anything_else(number, tmp_path):
  args, message = WRONG_FLAGS[number]
  assert_refused(*finish(launch(*within(tmp_path, args))), message, tmp_path)


@pytest.mark.parametrize('number', range(6))
def test_a_wrong_value_leaves_no_workdir(number, tmp_path, capfd):
  workdir = tmp_path / 'runs' / 'wrong'
  _, key, value = wrong_configs.draw(number + 1)[-1]
  config = f'--config={wrong_configs.__file__}:{number},0'
  code, out, err = run_here(capfd, config, f'--workdir={workdir}')
  assert (code, out) == (2, '')
  # The address of an object is another one in each draw.
  assert err.startswith(f'error: {key}={options.shown(value).split(" at 0x")[0]}')
  assert ': must be ' in err
  assert err.count('\n') == 1
  assert not any(tmp_path.iterdir())
