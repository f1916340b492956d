"""Times S3D, MobileNetV2 on frames with an LSTM, or networks of signals, against PyTorch.

  python -m har.train.benchmark --rounds=5
  python -m har.train.benchmark --model=mobilenet_v2 --size=224 --rounds=5
  python -m har.train.benchmark --model=cnn1d_bn --clips=64 --frames=180 --rounds=15

Each round times every step of ours and, where PyTorch is installed, the same step in PyTorch, one
after the other in one process, so that both meet the same machine. A ratio below 1 says that ours
is quicker. Clips per second are what our step consumes; `har.data.benchmark` tells what the data
loader delivers.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags, logging

from har.models.registry import build
from har.objectives.classify import Classify
from har.objectives.objective import Facts
from har.train import memory
from har.train.optimizers import with_rate_scale
from har.train.step import make_eval_step, make_train_step, restart

# The stage-2 step trains these.
TRAINED = {
  's3d': ('Mixed_4c', 'Mixed_5c', 'head'),
  'mobilenet_v2': ('time', 'head'),
  'cnn1d_bn': ('head',),
  'lstm': ('head',),
}
CLASSES = 27
_SIGNALS = ('cnn1d_bn', 'lstm')
_CHANNELS = 6  # of signals

Step = Callable[[], Any]


def make_steps(
  examples: np.ndarray, labels: np.ndarray, encoder: Mapping[str, Any], dtype: str
) -> dict[str, Step]:
  """Our steps, with the training step that stages run.

  Args:
    examples: float32, clips `[B, T, H, W, 3]` or signals `[B, T, C]`.
    labels: int32 `[B]`.
    encoder: the options of the encoder.
    dtype: 'float32' or 'bfloat16'.

  Returns:
    Functions without arguments by name: 'forward', 'train step', 'stage-2 step'.
  """
  name = 'imu' if examples.ndim == 3 else 'rgb'
  model = build([name], {name: encoder}, {'kind': 'linear'}, CLASSES, dtype)
  batch = {name: jnp.asarray(examples), 'label': jnp.asarray(labels)}
  optimizer = with_rate_scale(optax.sgd(0.01, 0.9))
  names = tuple(map(str, range(CLASSES)))
  objective = Classify(Facts(names, (), np.ones(CLASSES, np.int64)))

  def preprocess(batch, key=None):
    del key
    return {name: batch[name]}

  variables = jax.jit(model.init)(jax.random.key(0), preprocess(batch))
  parts = (n if n == 'head' else f'{name}/{n}' for n in TRAINED[encoder['kind']])
  patterns = {'train step': ('*',), 'stage-2 step': tuple(parts)}

  def training(trained):
    step = make_train_step(model, preprocess, objective, optimizer, trained=trained, ema=0, seed=0)
    step = jax.jit(step.whole, donate_argnums=0)
    # The step takes its state's memory over, so each has a copy.
    own = jax.tree.map(jnp.copy, variables)
    state = [restart(own, optimizer, trained=trained, ema=0)]

    def run():
      state[0], metrics = step(state[0], batch, 1.0)
      jax.block_until_ready((state[0], metrics))

    return run

  steps = {name: training(trained) for name, trained in patterns.items()}
  forward = jax.jit(make_eval_step(model, preprocess, objective))
  return {'forward': lambda: jax.block_until_ready(forward(variables, batch))} | steps


def interleave(sides: Mapping[str, Mapping[str, Step]], rounds: int) -> dict[str, dict[str, list]]:
  """Times all steps of all sides in turn, after one call of each that is not timed.

  Args:
    sides: by library, its steps by name.
    rounds: times that each step is timed.

  Returns:
    By library and step: seconds of each round.
  """
  calls = [(side, name) for name in next(iter(sides.values())) for side in sides]
  seconds: dict[str, dict[str, list]] = {side: {} for side in sides}
  for turn in range(-1, rounds):
    for side, name in calls:
      # The other library's threads may still spin for a moment, waiting for work.
      time.sleep(0.05)
      start = time.perf_counter()
      sides[side][name]()
      if turn >= 0:
        seconds[side].setdefault(name, []).append(time.perf_counter() - start)
  return seconds


def model_table(seconds: Mapping[str, Mapping[str, Sequence[float]]], clips: int) -> list[str]:
  """The lines of the report on steps: median and minimum of each, and ratios of medians.

  Args:
    seconds: by library and step, of each round.
    clips: in a batch.
  """
  ours = {name: float(np.median(values)) for name, values in seconds['ours'].items()}
  lines = [
    f'{"":14}{"ours":>28}{"PyTorch":>18}{"ratio":>8}',
    f'{"":14}  median     min   clips/s  median     min',
  ]
  for name, middle in ours.items():
    line = f'{name:14}{middle:8.4f}{min(seconds["ours"][name]):8.4f} s{clips / middle:8.1f}'
    if 'torch' in seconds:
      theirs = seconds['torch'][name]
      line += f'{np.median(theirs):8.4f}{min(theirs):8.4f} s{middle / np.median(theirs):8.2f}'
    lines.append(line)
  lines.append(f'stage-2 step / train step: {ours["stage-2 step"] / ours["train step"]:.2f}')
  return lines


def measure_model(rounds: int) -> list[str]:
  """Times the steps as the flags say and returns the report's lines."""
  given = flags.FLAGS
  name = given.model
  own: dict[str, Any]
  shape: tuple[int, ...] = (given.clips, given.frames)
  if name in _SIGNALS:
    shape += (_CHANNELS,)
    own = {'dropout': 0.0} | ({'features': 64, 'layers': 1} if name == 'lstm' else {})
    heading = f'{name} on {given.clips} signals of {given.frames} samples'
  else:
    shape += (given.size, given.size, 3)
    own = {'conv': given.conv} if name == 's3d' else {'temporal': 'lstm', 'dropout': 0.0}
    own['width'] = given.width
    heading = f'{name} on {given.clips} clips of {given.frames}x{given.size}x{given.size}'
  examples = np.random.default_rng(0).standard_normal(shape, np.float32)
  labels = np.arange(given.clips) % CLASSES
  sides = {'ours': make_steps(examples, labels.astype(np.int32), {'kind': name} | own, given.dtype)}
  if importlib.util.find_spec('torch') is None:
    heading += '; PyTorch is not installed, so nothing to compare with'
  elif given.width != 1.0:
    heading += '; PyTorch is left out, as the width is not 1'
  else:
    from har.train import benchmark_torch

    threads = given.threads or 1
    sides['torch'] = benchmark_torch.make_steps(
      examples, labels, CLASSES, TRAINED[name], threads, name
    )
  return [heading, *model_table(interleave(sides, rounds), given.clips)]


def main(argv: Sequence[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  logging.set_verbosity(logging.WARNING)
  if flags.FLAGS.keep_memory:
    memory.restart_keeping_memory()
  print('\n'.join(measure_model(flags.FLAGS.rounds)), flush=True)


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_enum('model', 's3d', list(TRAINED), 'What is timed.')
  flags.DEFINE_integer('rounds', 5, 'Times that each step is timed.', lower_bound=1)
  flags.DEFINE_integer('clips', 4, 'Clips, or signals, in a batch.', lower_bound=1)
  flags.DEFINE_integer('frames', 16, 'Frames of a clip, or samples of a signal.', lower_bound=1)
  flags.DEFINE_integer('size', 112, 'Height and width of a clip, in pixels.', lower_bound=1)
  flags.DEFINE_float('width', 1.0, 'Width multiplier; PyTorch has width 1 only.')
  flags.DEFINE_enum('conv', 'folded', ['folded', 'plain'], "S3D's form of convolutions.")
  flags.DEFINE_string('dtype', 'float32', 'Of our computation: float32 or bfloat16.')
  flags.DEFINE_integer('threads', os.cpu_count(), "PyTorch's threads.", lower_bound=1)
  flags.DEFINE_bool('keep_memory', True, 'As launch.py does, for both libraries.')
  app.run(main)
