"""Several processes, joined as users join them, are one run."""

import csv
import json
import re
import socket

import flax.traverse_util
import numpy as np
import pytest

from har.train import experiment as experiment_lib
from tests.launching import VARIANTS, finish, launch, tiny, write_experiment


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  return write_experiment(tmp_path_factory.mktemp('launch'))


def free_port():
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]


TOGETHER = {'stages.imu.batch_size': 8, 'stages.imu.epochs': 13.34}  # 20 steps


@pytest.fixture(scope='module')
def alone(experiment, tmp_path_factory):
  """Flags, and the workdir of one process with one device."""
  workdir = tmp_path_factory.mktemp('alone') / 'run'
  config, *rest = experiment
  changes = [f'--config.{key}={value}' for key, value in TOGETHER.items()]
  flags = [f'{config}:modalities=imu', *rest, *changes]
  code, _, err = finish(launch(*flags, f'--workdir={workdir}', optimise=True))
  assert code == 0, err
  assert re.search(r'imu: 20 steps in \d+ s, \d+\.\d% of it waiting for data', err)
  return flags, workdir


def by_coordinator(i, port):
  return [f'--coordinator=localhost:{port}', '--num_processes=2', f'--process_id={i}'], {}


def by_slurm(i, port):
  """What `srun` tells its tasks; only the port is not left to JAX."""
  environment = {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'localhost',
    'SLURM_NTASKS': '2',
    'SLURM_PROCID': f'{i}',
    'SLURM_LOCALID': f'{i}',
    'JAX_COORDINATOR_PORT': f'{port}',
  }
  return ['--distributed'], environment


def train_losses(workdir):
  lines = (workdir / 'metrics' / 'imu.jsonl').read_text().splitlines()
  return [row['loss'] for row in map(json.loads, lines) if row['split'] == 'train']


def predicted(workdir, variant):
  with (workdir / 'predictions' / f'imu-{variant}.csv').open() as f:
    return [(row['key'], row['label'], row['prediction']) for row in csv.DictReader(f)]


def batch_statistics(experiment, workdir):
  """Of the finished stage, by path."""
  config = tiny('modalities=imu')
  config.update_from_flattened_dict(TOGETHER)
  _, raw_dir, data_dir = (flag.partition('=')[2] for flag in experiment)
  opened = experiment_lib.open_experiment(config, workdir, data_dir=data_dir, raw_dir=raw_dir)
  variables, _ = experiment_lib.load(opened, 'imu')
  return flax.traverse_util.flatten_dict(variables['batch_stats'], sep='/')


@pytest.mark.parametrize(
  ('joined', 'fsdp'),
  [(by_coordinator, 1), (by_slurm, 8)],
  ids=['coordinator', 'slurm-fsdp'],
)
def test_two_processes_train_and_evaluate_as_one(joined, fsdp, experiment, alone, tmp_path):
  """Two processes of four devices each, an example on each, against one process with one device.

  With `fsdp=8`, parameters are split over both processes.
  """
  flags, one = alone
  two, port = tmp_path / 'two', free_port()
  both = []
  for i in range(2):
    args, environment = joined(i, port)
    args += ['--config.runtime.devices=0', f'--config.runtime.fsdp={fsdp}']
    args += ['--config.runtime.fsdp_min_size=1000', f'--workdir={two}']
    # Without optimisation, some of XLA's gradients are less exact on CPU than is asked for below.
    both.append(launch(*flags, *args, devices=4, optimise=True, **environment))
  for code, _, err in map(finish, both):
    assert code == 0, err
  results = [json.loads((workdir / 'results.json').read_text())['stages'] for workdir in (one, two)]
  assert results[1] == results[0]
  losses = train_losses(one)
  assert len(losses) == 20
  assert losses[-1] < 0.9 * losses[0]
  assert train_losses(two) == pytest.approx(losses, abs=1e-5)
  for variant in VARIANTS:
    assert len(predicted(one, variant)) == 6
    assert predicted(two, variant) == predicted(one, variant)
  # Statistics of one example a device would be others.
  expected, found = (batch_statistics(experiment, workdir) for workdir in (one, two))
  assert 'imu/bn_0/var' in found
  assert found.keys() == expected.keys()
  for path, value in found.items():
    np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)
