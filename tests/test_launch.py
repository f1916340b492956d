"""The command line, as a user meets it: in processes of its own where that can matter."""

import errno
import filecmp
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from configs import demo
from har.data import dataset as dataset_lib
from har.data.corrupt import suite
from har.errors import UserError
from har.export import run as export
from har.export import supported
from har.train import experiment as experiment_lib
from tests.configs import test_configs
from tests.har.stream import exports
from tests.in_process import run_here
from tests.launching import ODD, PAIR, ROOT, VARIANTS, finish, launch, write_experiment


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  return write_experiment(tmp_path_factory.mktemp('launch'))


@pytest.fixture(scope='module')
def undisturbed(experiment, tmp_path_factory):
  """Workdir of a run that nothing happened to."""
  workdir = tmp_path_factory.mktemp('undisturbed') / f'run {ODD}'
  code, out, err = finish(launch(*experiment, f'--workdir={workdir}'))
  assert code == 0, err
  assert 'untrained' in out
  assert f'report: {workdir}/report.html' in out
  table = json.loads((workdir / 'results.json').read_text())
  test_configs.assert_complete(workdir, demo.get_config(PAIR), table, steps=20)
  return workdir


def test_training_waits_for_no_library_that_it_does_not_use():
  code = """
import sys
from har.compress import run
from har.export import supported
print(*sorted({'matplotlib', 'sklearn', 'scipy.stats', 'torch'} & {*sys.modules}))
"""
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (0, '\n'), done.stderr


def assert_same_predictions(workdir, other):
  names = sorted(p.name for p in (other / 'predictions').iterdir())
  stages = [f'{n}-{variant}.csv' for n in ('fusion', 'imu', 'skeleton') for variant in VARIANTS]
  assert names == sorted([*stages, 'product-float32.csv'])
  same = filecmp.cmpfiles(workdir / 'predictions', other / 'predictions', names, shallow=False)
  assert same == (names, [], [])


def wait_for_steps(workdir, stage, steps, process):
  path = workdir / 'metrics' / f'{stage}.jsonl'
  while process.poll() is None:
    if path.exists() and path.read_text().count('\n') >= steps:
      return
    time.sleep(0.01)
  pytest.fail(f'ended before {steps} steps of {stage}: {process.communicate()[1]}')


def test_a_killed_run_continues_to_the_same_bytes(experiment, undisturbed, tmp_path):
  workdir = tmp_path / 'run'
  for stage, steps in (('imu', 6), ('skeleton', 3), ('fusion', 7)):
    process = launch(*experiment, f'--workdir={workdir}')
    wait_for_steps(workdir, stage, steps, process)
    process.kill()
    process.communicate()
  code, _, err = finish(launch(*experiment, f'--workdir={workdir}'))
  assert code == 0, err
  assert 'imu: finished before' in err
  assert_same_predictions(workdir, undisturbed)


def test_sigterm_saves_and_exits_cleanly(experiment, undisturbed, tmp_path):
  workdir = tmp_path / 'run'
  # More steps than a slow machine takes before the signal arrives.
  more = '--config.stages.imu.epochs=3000'
  process = launch(*experiment, f'--workdir={workdir}', more)
  wait_for_steps(workdir, 'imu', 2, process)
  process.send_signal(signal.SIGTERM)
  code, _, err = finish(process)
  assert code == 0, err
  assert 'stopped: stage imu is saved at step' in err
  saved = max(int(p.name) for p in (workdir / 'checkpoints/imu/latest').iterdir())
  assert f'saved at step {saved} of' in err


def test_evaluate_repeats_the_evaluation(experiment, undisturbed, capfd):
  report = undisturbed / 'report.html'
  report.unlink()
  relative = f'{os.path.relpath(undisturbed)}/'
  code, _, err = run_here(capfd, *experiment, f'--workdir={relative}', '--mode=evaluate')
  assert code == 0, err
  assert report.exists()


def test_robustness_starts_from_the_evaluation(experiment, undisturbed, capfd, monkeypatch):
  cases = suite.cases
  kept = ('dead', 'imu', 'skeleton')
  monkeypatch.setattr(suite, 'cases', lambda f: ([c for c in cases(f)[0] if c.what in kept], []))
  flags = [f'--workdir={undisturbed}', '--mode=robustness']
  code, out, err = run_here(capfd, *experiment, *flags)
  assert code == 0, err
  assert 'mean drop' in out
  found = json.loads((undisturbed / 'robustness.json').read_text())
  stages = json.loads((undisturbed / 'results.json').read_text())['stages']
  assert {name: found['clean'][name] for name in stages} == {
    name: one['float32']['top1'] for name, one in stages.items()
  }
  for ending in ('json', 'csv', 'html'):
    (undisturbed / f'robustness.{ending}').unlink()


def test_exported_files_agree_with_jax(experiment, undisturbed, tmp_path, capfd, monkeypatch):
  link = tmp_path / 'link'
  link.symlink_to(undisturbed)
  # Of six examples, which this model has hardly learned, one may be a tie.
  monkeypatch.setattr(export, 'INT8_AGREEMENT', 5 / 6)
  code, out, err = run_here(capfd, *experiment, f'--workdir={link}', '--mode=export')
  assert code == 0, err
  kinds = [f'{variant}.{kind}' for variant in VARIANTS for kind in ('onnx', 'tflite')]
  names = sorted([*kinds, 'float32.stablehlo'])
  for stage in ('imu', 'skeleton', 'fusion'):
    folder = link / 'export' / stage
    assert sorted(p.name for p in folder.iterdir() if p.suffix != '.json') == names
    for name in names:
      assert f'{folder / name}: ' in out
      description = json.loads((folder / f'{name}.json').read_text())
      assert description['stage'] == stage
      assert (folder / name).stat().st_size == description['bytes']
  assert out.count('100.00% equal predictions') >= 9


def test_predict_writes_a_timeline(experiment, undisturbed, tmp_path, capfd):
  path, out = exports.table(tmp_path / 'a.csv', exports.movement(6.0)), tmp_path / 'out'
  flags = ['--mode=predict', f'--input={path}', f'--output={out}', '--seconds=2', '--step=1']
  code, text, err = run_here(capfd, *experiment, f'--workdir={undisturbed}', *flags)
  assert code == 0, err
  assert text.startswith('5 windows, ')
  found = json.loads((out / 'timeline.json').read_text())
  assert (found['stage'], found['dataset'], found['inputs']) == ('imu', 'stickman', ['a.csv'])
  assert len((out / 'timeline.csv').read_text().splitlines()) == 6
  flags[1] = '--input=none.csv'
  code, text, err = run_here(capfd, *experiment, f'--workdir={undisturbed}', *flags)
  assert (code, text) == (2, '')
  assert err.splitlines()[-1] == 'error: --input=none.csv: no such file'
  flags[1] = f'--input={path},a.mp4'
  code, _, err = run_here(capfd, *experiment, f'--workdir={undisturbed}', *flags)
  assert code == 2
  assert 'no stage reads imu and video and nothing else; there are imu (imu), skele' in err


def test_what_only_the_data_tell_leaves_no_workdir(experiment, tmp_path, capfd):
  workdir = tmp_path / 'runs' / 'new'
  for flag, message in (
    ('--config.dataset.protocol=cross_view', "protocol='cross_view': not one of"),
    ('--config.dataset.validation_subjects=(9,)', r'validation_subjects: [9] not among'),
    ('--config.dataset.name=stickmen', "dataset 'stickmen': no such builder"),
  ):
    code, _, err = run_here(capfd, *experiment, f'--workdir={workdir}', flag)
    assert code == 2
    assert message in err
    assert not any(tmp_path.iterdir()), flag
  # A folder that was there stays.
  workdir.mkdir(parents=True)
  run_here(capfd, *experiment, f'--workdir={workdir}', flag)
  assert workdir.exists()


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--split=validation'], 'no trial is in it; set --config.dataset.validation_fraction'),
    (['--split=validation', '--mode=export'], '--mode=export checks files on the test split'),
  ],
)
def test_a_split_that_cannot_be_evaluated_is_refused(args, message, experiment, tmp_path, capfd):
  code, _, err = run_here(capfd, *experiment, f'--workdir={tmp_path}/w', *args)
  assert code == 2
  assert err.startswith('error: --split=validation: ')
  assert message in err
  assert not (tmp_path / 'w').exists()


def test_a_workdir_of_another_config_is_refused(experiment, undisturbed, capfd):
  args = [*experiment, f'--workdir={undisturbed}', '--config.stages.skeleton.epochs=11']
  code, _, err = run_here(capfd, *args)
  assert code == 2
  assert 'belongs to another config: stages.skeleton.epochs is 10.0 there and 11.0 here' in err


def test_a_workdir_in_use_is_refused(experiment, tmp_path, capfd):
  with experiment_lib.exclusive(tmp_path / 'run'):
    code, _, err = run_here(capfd, *experiment, f'--workdir={tmp_path}/run')
  assert code == 2
  assert err == (
    f'error: --workdir={tmp_path}/run is in use by process {os.getpid()} on '
    f'{socket.gethostname()}: wait for it, or use another --workdir\n'
  )
  # The lock went with its holder.
  with experiment_lib.exclusive(tmp_path / 'run'):
    pass


def test_a_disk_that_fails_is_one_line(experiment, tmp_path, capfd, monkeypatch):
  def fail(*_, **__):
    raise OSError(errno.EIO, os.strerror(errno.EIO), '/data/shard')

  monkeypatch.setattr(dataset_lib, 'load', fail)
  code, _, err = run_here(capfd, *experiment, f'--workdir={tmp_path}/run')
  assert (code, err) == (
    2,
    'error: /data/shard: Input/output error; mend that, and the same command continues\n',
  )


@pytest.mark.parametrize('mode', ['evaluate', 'compress', 'export', 'benchmark', 'robustness'])
def test_untrained_workdirs_are_refused(mode, experiment, undisturbed, tmp_path, capfd):
  workdir = tmp_path / 'run'
  code, _, err = run_here(capfd, *experiment, f'--workdir={workdir}', f'--mode={mode}')
  assert (code, err) == (
    2,
    f'error: --workdir={workdir} holds no run: train first (--mode=train)\n',
  )
  assert not workdir.exists()
  workdir.mkdir()
  shutil.copy(undisturbed / 'config.json', workdir)
  code, _, err = run_here(capfd, *experiment, f'--workdir={workdir}', f'--mode={mode}')
  assert code == 2
  assert "holds no finished stage 'imu'" in err
  assert {p.name for p in workdir.rglob('*') if p.is_file()} == {'config.json', 'lock'}


def test_what_cannot_be_exported_is_said_before_training(experiment, tmp_path, capfd, monkeypatch):
  def train(_):
    raise UserError('trains')

  monkeypatch.setattr(supported, 'problems', lambda *_: ['ONNX has no operation for sort'])
  monkeypatch.setattr(experiment_lib, 'train', train)
  code, _, err = run_here(capfd, *experiment, f'--workdir={tmp_path}/run')
  said = 'ONNX has no operation for sort: it can be trained but not exported'
  assert err.splitlines() == [
    *(f'{n}: {said}' for n in ('imu', 'skeleton', 'fusion')),
    'error: trains',
  ]
  assert code == 2


def test_more_devices_than_there_are_are_refused(experiment, tmp_path, capfd):
  args = [*experiment, f'--workdir={tmp_path}/r', '--config.runtime.devices=9']
  code, _, err = run_here(capfd, *args)
  assert code == 2
  assert 'asks for 9 devices and there are 8' in err
