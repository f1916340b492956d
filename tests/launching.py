"""Runs of launch.py on a small experiment, for tests that start processes of their own."""

import os
import pathlib
import subprocess
import sys
import tempfile

from configs import demo
from data_builders.stickman import generate
from tests.configs import test_configs

ROOT = pathlib.Path(__file__).parent.parent

# Processes that are killed leave halves of entries behind, which no other test should read.
_CACHE = tempfile.TemporaryDirectory(prefix='har-xla-')

# What shells, patterns, URLs and TensorStore would make something else of, in folders' names.
ODD = "[0:3] a[b] *?{c,d} ü 50%20#$&;|'~"

VARIANTS = ('float32', 'int8')

# Video goes the same way, `tests/configs` runs it; its networks take minutes to compile.
PAIR = 'modalities=imu+skeleton'


def tiny(arg=PAIR):
  """The demo with few steps of small networks."""
  config = test_configs.shrink(demo.get_config(arg))
  config.encoders.imu.update(channels=(16, 32), kernels=(5, 3), pools=(2, 1))
  if 'skeleton' in config.encoders:
    config.encoders.skeleton.update(channels=(16,), kernels=(5,), strides=(2,))
  for stage in config.stages.values():
    stage.epochs = 10.0
  config.runtime.save_steps = 4
  config.runtime.log_steps = 1
  return config


def launch(*args, devices=1, optimise=False, **environment):
  """Starts launch.py; its output is text."""
  level = '--xla_backend_optimization_level=2 --xla_llvm_disable_expensive_passes=false'
  if '--xla_cpu_use_fusion_emitters' in os.environ['XLA_FLAGS']:
    level += ' --xla_cpu_use_fusion_emitters=true'
  environment = os.environ | {
    **environment,
    'PYTHONPATH': str(ROOT),
    'JAX_COMPILATION_CACHE_DIR': _CACHE.name,
    # The last occurrence of a flag counts.
    'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices} '
    + (level if optimise else ''),
  }
  return subprocess.Popen(
    [sys.executable, 'launch.py', *map(str, args)],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process):
  try:
    out, err = process.communicate(timeout=900)
  finally:
    process.kill()  # Where it did not end, nor may it run on.
  return process.returncode, out, err


def write_experiment(folder):
  """Flags of a small experiment whose data is prepared by the first run."""
  odd = folder / f'data {ODD}'
  generate.write_raw(odd / 'raw', subjects=(1, 2, 3), trials=(1,), modalities=('imu', 'skeleton'))
  config = folder / 'tiny.py'
  config.write_text('from tests.launching import tiny as get_config\n')
  return [f'--config={config}', f'--raw_dir={odd / "raw"}', f'--data_dir={odd}']
