"""Kills a run again and again, and compares what comes out with a run that nothing happened to.

    python tests/survival.py --kills=20 --write_kills=5 --seed=0

A small experiment on generated data is run once undisturbed and once with SIGKILL: at random steps
of every stage, in the evaluation, and, where Orbax's temporary folder shows that a checkpoint is
being written, inside that write. Every kill is told; at the end parameters, facts and predictions
must be equal, byte by byte.
"""

import collections
import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402
from absl import app, flags, logging  # noqa: E402

from data_builders.stickman import generate  # noqa: E402

STAGES = ('imu', 'rgb', 'fusion')
STEPS = 60
CONFIG = """
from configs import demo
from tests.configs import test_configs

def get_config(arg=None):
  config = test_configs.shrink(demo.get_config(arg))
  config.dataset.validation_subjects = (3,)
  for stage in config.stages.values():
    stage.epochs = 60.0  # of one step
    stage.validate_every = 5
  config.runtime.save_steps = 10
  config.runtime.log_steps = 1
  return config
"""
# Tiny networks are compiled, not run.
XLA_FLAGS = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'


@dataclasses.dataclass(frozen=True)
class Kill:
  """Where a kill is wanted: from a step of a stage on, or inside the next write after it."""

  stage: str  # or 'evaluation'
  step: int
  in_write: bool


@dataclasses.dataclass
class Run:
  """The run that is disturbed."""

  command: list[str]
  workdir: pathlib.Path

  def start(self) -> subprocess.Popen:
    environment = {
      **os.environ,
      'PYTHONPATH': str(ROOT),
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': XLA_FLAGS,
    }
    return subprocess.Popen(
      [sys.executable, str(ROOT / 'launch.py'), *self.command, f'--workdir={self.workdir}'],
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  def finish(self) -> str:
    process = self.start()
    out, _ = process.communicate(timeout=1800)
    if process.returncode:
      sys.exit(f'{self.workdir}: exit status {process.returncode}\n{out}')
    return out

  def changed(self, stage: str) -> int:
    path = self.workdir / 'metrics' / f'{stage}.jsonl'
    return path.stat().st_mtime_ns if path.exists() else 0

  def step(self, stage: str) -> int:
    """The last step that the stage's log tells of."""
    path = self.workdir / 'metrics' / f'{stage}.jsonl'
    text = path.read_text() if path.exists() else ''
    lines = text[: text.rfind('\n') + 1].splitlines()
    return json.loads(lines[-1])['step'] if lines else 0

  def finished(self, stage: str) -> bool:
    folder = self.workdir / 'checkpoints' / stage / 'final'
    return folder.is_dir() and any(p.name.isdigit() for p in folder.iterdir())

  def writing(self) -> list[pathlib.Path]:
    """Unfinished checkpoints."""
    return list(self.workdir.glob('checkpoints/*/*/*.orbax-checkpoint-tmp*'))

  def place(self) -> str:
    stage = next((s for s in STAGES if not self.finished(s)), None)
    if stage is None:
      return 'evaluation'
    return f'stage {stage}, step {self.step(stage)}'


def plan(rng: random.Random, kills: int, write_kills: int) -> list[Kill]:
  """Kills in the order of the run: its stages and the evaluation get equal shares."""
  places = (*STAGES, 'evaluation')
  wanted = collections.Counter(places[i % 4] for i in range(kills))
  writes = collections.Counter(STAGES[i % 3] for i in range(write_kills))
  planned = []
  for place in places:
    steps = sorted(rng.sample(range(1, STEPS - 4), wanted[place] + writes[place]))
    inside = set(rng.sample(range(len(steps)), writes[place]))
    planned += [Kill(place, step, i in inside) for i, step in enumerate(steps)]
  return planned


def strike(run: Run, kill: Kill, rng: random.Random) -> str | None:
  """Starts the run and kills it where it is wanted; says where that was, None if it ended first."""
  before = {stage: run.changed(stage) for stage in STAGES}
  left = set(run.writing())
  process, started = run.start(), time.monotonic()

  def due() -> bool:
    if kill.stage == 'evaluation':
      return all(map(run.finished, STAGES))
    if run.finished(kill.stage):  # It was too quick; further on will do.
      return True
    return run.changed(kill.stage) != before[kill.stage] and run.step(kill.stage) >= kill.step

  def wait_for(condition) -> bool:
    while process.poll() is None:
      if condition():
        return True
      time.sleep(0.001)
    return False

  reached = wait_for(due)
  if reached and kill.in_write:
    reached = wait_for(lambda: bool(set(run.writing()) - left))
    time.sleep(rng.uniform(0, 0.02))
  elif reached:
    time.sleep(rng.uniform(0, 5.0 if kill.stage == 'evaluation' else 0.1))
  if not reached or process.poll() is not None:
    out, _ = process.communicate()
    if process.returncode:
      sys.exit(f'exit status {process.returncode}\n{out}')
    return None
  process.send_signal(signal.SIGKILL)
  process.communicate()
  after = time.monotonic() - started
  torn = [str(p.relative_to(run.workdir / 'checkpoints')) for p in run.writing()]
  if kill.in_write and not torn:
    return None
  note = f', while writing {torn[0].partition(".")[0]}' if torn else ''
  return f'{after:5.1f} s after its start: {run.place()}{note}'


def differences(run: Run, other: Run) -> list[str]:
  """What is not equal, byte by byte."""
  found = []
  for stage in STAGES:
    trees, facts = [], []
    for one in (run, other):
      folder = next((one.workdir / 'checkpoints' / stage / 'final').iterdir())
      with warnings.catch_warnings(action='ignore'):  # It finds the devices by itself.
        tree = ocp.PyTreeCheckpointer().restore(folder / 'tree')
      trees.append(dict(_leaves(tree)))
      facts.append(json.loads((folder / 'meta' / 'metadata').read_text())['meta'])
      del facts[-1]['seconds'], facts[-1]['data_wait']  # Of the clock, not of the result.
    if trees[0] != trees[1]:
      found.append(f'parameters of {stage}')
    if facts[0] != facts[1]:
      found.append(f'facts of {stage}')
  predictions = [
    {p.name: p.read_bytes() for p in (one.workdir / 'predictions').iterdir()}
    for one in (run, other)
  ]
  if not predictions[0] or predictions[0] != predictions[1]:
    found.append('predictions')
  return found


def _leaves(tree, path=''):
  if isinstance(tree, dict):
    for key, value in tree.items():
      yield from _leaves(value, f'{path}/{key}')
  else:
    array = np.asarray(tree)
    yield path, (str(array.dtype), array.shape, array.tobytes())


def main(argv: list[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  logging.set_verbosity(logging.FATAL)
  values, begun = flags.FLAGS, time.monotonic()
  rng = random.Random(values.seed)
  with tempfile.TemporaryDirectory(prefix='survival') as scratch:
    folder = pathlib.Path(scratch)
    subjects = (1, 2, 3)
    generate.write_raw(folder / 'raw', subjects=subjects, trials=(1,), modalities=('imu', 'rgb'))
    (folder / 'tiny.py').write_text(CONFIG)
    command = [f'--config={folder / "tiny.py"}', f'--raw_dir={folder / "raw"}']
    command.append(f'--data_dir={folder}')
    undisturbed, run = Run(command, folder / 'undisturbed'), Run(command, folder / 'killed')
    undisturbed.finish()
    print(f'undisturbed: {time.monotonic() - begun:.0f} s', flush=True)
    where: collections.Counter = collections.Counter()
    torn = 0
    for number, kill in enumerate(plan(rng, values.kills, values.write_kills), 1):
      told = next((t for _ in range(5) if (t := strike(run, kill, rng))), None)
      if told is None:
        sys.exit(f'kill {number} could not be placed: {kill}')
      torn += 'while writing' in told
      where[told.partition(': ')[2].partition(',')[0]] += 1
      print(f'kill {number:2}, {told}', flush=True)
    out = run.finish()
    assert 'warning:' not in out, out
    found = differences(run, undisturbed)
  counts = ', '.join(f'{count} in {place}' for place, count in where.items())
  print(f'{sum(where.values())} kills: {counts}; {torn} inside a write')
  print(f'different: {", ".join(found)}' if found else 'parameters and predictions are bit-equal')
  print(f'{time.monotonic() - begun:.0f} s')
  return 1 if found else 0


if __name__ == '__main__':
  flags.DEFINE_integer('kills', 20, 'Kills at random moments.', lower_bound=0)
  flags.DEFINE_integer('write_kills', 5, 'Kills inside the write of a checkpoint.', lower_bound=0)
  flags.DEFINE_integer('seed', 0, 'Of the choice of moments.')
  app.run(main)
