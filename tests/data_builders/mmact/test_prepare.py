"""The command line, killed and run again."""

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from data_builders.mmact import generate, prepare
from data_builders.mmact import mmact_dataset_builder as mmact
from har.errors import UserError

ROOT = pathlib.Path(__file__).parents[3]
MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  path = tmp_path_factory.mktemp('raw') / 'mmact'
  generate.write_raw(path, MANIFEST, clips=100, seed=2)
  return path


def command(raw, data_dir, *flags):
  module = [sys.executable, '-m', 'data_builders.mmact.prepare']
  return [*module, f'--raw_dir={raw}', f'--data_dir={data_dir}', '--short_side=24', *flags]


def digests(data_dir):
  (folder,) = pathlib.Path(data_dir).glob('mmact/imu-rgb-24/1.0.0')
  return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def run(raw, data_dir, *flags):
  return subprocess.run(command(raw, data_dir, *flags), cwd=ROOT, capture_output=True, text=True)


def finished(data_dir):
  return len(list(data_dir.rglob('*.npz')))


def children(pid):
  try:
    return pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
  except OSError:
    return []


def wait_until(true, seconds=60.0):
  end = time.monotonic() + seconds
  while not true() and time.monotonic() < end:
    time.sleep(0.01)
  assert true()


def test_killed_at_three_moments_and_run_again_gives_the_same_bytes(raw, tmp_path):
  whole, again = tmp_path / 'whole', tmp_path / 'again'
  done = run(raw, whole, '--workers=0', '--allow_corrupt=4')
  assert done.returncode == 0, done.stderr
  assert "'train': " in done.stdout
  for count in (1, 25, 60):
    process = subprocess.Popen(
      command(raw, again, '--workers=2', '--allow_corrupt=4'), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_until(lambda count=count: finished(again) >= count)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(again.glob('mmact/imu-rgb-24/1.0.0'))
    # Its worker processes end too.
    wait_until(lambda workers=workers: not any(_runs(pid) for pid in workers), 20)
  kept = finished(again)
  assert 60 <= kept < 100
  assert run(raw, again, '--workers=0', '--allow_corrupt=4').returncode == 0
  assert digests(again) == digests(whole)
  assert finished(again) == 0


def _runs(pid):
  try:
    return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
  except OSError:
    return False


def test_user_errors_are_one_line(raw, tmp_path):
  done = run(raw, tmp_path, '--workers=0')
  assert done.returncode == 2
  assert done.stdout == ''
  assert len(done.stderr.splitlines()) == 1
  assert done.stderr.startswith('error: ')
  assert done.stderr.endswith('--allow_corrupt=4\n')


def test_beam_that_is_not_there(monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam.options.pipeline_options', None)
  with pytest.raises(UserError, match=r'pip install -r requirements-beam\.txt'):
    prepare.beam_config('DirectRunner', [])


def test_beam_writes_the_same_bytes(raw, tmp_path):
  pytest.importorskip('apache_beam', exc_type=ImportError)
  for name, kwargs in {
    'plain': {},
    'beam': {'download_config': prepare.beam_config('BundleBasedDirectRunner', [])},
  }.items():
    builder = mmact.Builder(
      raw_dir=raw, data_dir=str(tmp_path / name), short_side=24, workers=0, allow_corrupt=4
    )
    builder.download_and_prepare(**kwargs)
  assert digests(tmp_path / 'beam') == digests(tmp_path / 'plain')
