"""Times the epochs of a stage whose image network is frozen, with its features cached and without.

  python -m har.train.benchmark_cache --clips=32

The clips are made-up JPEG frames of 320x240 pixels, the weights random: neither changes the time.
Every epoch ends with a validation on a quarter as many clips. The first cached epoch computes what
later ones read, and compiles; the second epoch without a cache is what each one would cost.
"""

import pathlib
import tempfile
import time
from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

from har.data.benchmark import made_up_trials
from har.data.dataset import Dataset
from har.data.protocols import Index, Splits
from har.options import defaults
from har.train import loop, memory
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from har.train.context import Context
from har.train.interrupt import StopSignal
from har.train.options import EXPERIMENT, OPTIMIZER, RUNTIME, STAGE

EPOCHS = 3
TRAINED = {'time': ('rgb/time', 'head'), 'last': ('fine_tuned',)}

_CLIPS = flags.DEFINE_integer('clips', 32, 'Training clips.', lower_bound=8)
_FRAMES = flags.DEFINE_integer('frames', 16, 'Frames of a clip.', lower_bound=1)
_SIZE = flags.DEFINE_integer('size', 224, 'Height and width of a frame, in pixels.', lower_bound=32)
_ENCODER = flags.DEFINE_string('encoder', 'mobilenet_v2', 'A frame encoder.')
_TEMPORAL = flags.DEFINE_string('temporal', 'lstm', 'Its model of time.')
_TRAINED = flags.DEFINE_enum(
  'trained', 'time', list(TRAINED), 'The model of time alone, or the last blocks before it, too.'
)


class MadeUp(Dataset):
  """A dataset of made-up clips, in memory, of two classes."""

  def records(self, modalities: Collection[str]) -> Any:
    return [{'label': one['label'], **{m: one[m] for m in modalities}} for one in self.source]


class Clock(StopSignal):
  """Never asks to stop; keeps the time of each step."""

  def __init__(self) -> None:
    super().__init__()
    self.times = [time.monotonic()]

  def requested(self, step: int) -> bool:
    del step
    self.times.append(time.monotonic())
    return False


def made_up(train: int, validation: int) -> tuple[MadeUp, Splits]:
  """A dataset of so many clips."""
  count = train + validation
  records = [{**one, 'label': i % 2} for i, one in enumerate(made_up_trials('rgb', count))]
  key, label = np.array([str(i) for i in range(count)]), np.arange(count, dtype=np.int32) % 2
  data = MadeUp('made-up', ('no', 'yes'), {}, Index({'key': key, 'label': label}), records)
  none, places = np.zeros(0, np.int64), np.arange(count)
  return data, Splits(places[:train], places[train:], none, none)


def config(views: int) -> dict[str, Any]:
  """Of an experiment, as the flags say."""
  stage = {
    **defaults(STAGE),
    'modalities': ('rgb',),
    'trained': TRAINED[_TRAINED.value],
    'epochs': float(EPOCHS),
    'batch_size': 8,
    'cached_views': views,
    'validate_every': 1,
    'optimizer': {**defaults(OPTIMIZER), 'learning_rate': 1e-3},
  }
  size = {'frames': _FRAMES.value, 'resize': _SIZE.value, 'size': _SIZE.value}
  return {
    **defaults(EXPERIMENT),
    'order': ('rgb',),
    'inputs': {'rgb': size},
    'encoders': {'rgb': {'kind': _ENCODER.value, 'temporal': _TEMPORAL.value}},
    'stages': {'rgb': stage},
  }


def epochs(views: int, data: MadeUp, splits: Splits) -> list[float]:
  """Trains the stage; seconds of all epochs but the last, up to the next one's first step."""
  runtime = defaults(RUNTIME) | {'eval_batch_size': 8}
  mesh = mesh_lib.make_mesh(1)
  one = stage_lib.build(config(views), 'rgb', data, splits.train)
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    context = Context(data, splits, mesh, workdir, runtime)
    everywhere = mesh_lib.replicated(mesh)
    variables = stage_lib.initial_variables(one, {'rgb': one}, workdir, everywhere)
    clock = Clock()
    loop.train_stage(one, context, variables, clock)
  steps = (len(clock.times) - 1) // EPOCHS
  marks = [clock.times[0], *(clock.times[steps * e + 1] for e in range(1, EPOCHS))]
  return np.diff(marks).tolist()


def lines(cached: Sequence[float], plain: Sequence[float]) -> list[str]:
  """The report, of the seconds of the first two epochs."""
  return [
    f'{"":10}{"epoch 1":>10}{"epoch 2":>10}{"ratio":>8}',
    *(
      f'{name:10}{one:10.2f}{two:10.3f}{one / two:8.1f}'
      for name, (one, two) in (('cached', cached), ('not', plain))
    ),
    f'second epochs, not cached / cached: {plain[1] / cached[1]:.1f}',
  ]


def main(argv: Sequence[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  logging.set_verbosity(logging.WARNING)
  memory.restart_keeping_memory()
  data, splits = made_up(_CLIPS.value, _CLIPS.value // 4)
  what = (
    f'{_ENCODER.value} + {_TEMPORAL.value}, trained: {_TRAINED.value}, {_CLIPS.value} clips of '
  )
  print(f'{what}{_FRAMES.value}x{_SIZE.value}x{_SIZE.value}, {jax.device_count()} devices')
  print('\n'.join(lines(*(epochs(views, data, splits) for views in (1, 0)))), flush=True)


if __name__ == '__main__':
  app.run(main)
