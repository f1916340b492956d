"""Times the data loader against PyTorch's, and against the decoder alone.

    python -m har.data.benchmark [--rounds=5] [--workers=0,2] [--torch_workers=0,1,2]
    python -m har.data.benchmark --modalities=depth --dataset=utd_mhad --prepared_with=imu+depth

All sides read the same records, choose the same frames and deliver the same uint8 batches, which is
checked before anything is timed: ours in threads and in `--workers` processes, those of
`torch.utils.data.DataLoader` with `--torch_workers` processes and frames decoded by PyAV or by
Pillow, and the bare decoder, which throws away what it decodes, on as many threads as there are
cores. Depth, which neither can decode as we store it, they get as PNG, from memory; a third side of
PyTorch's decodes it as we do. Each round times every side, one after the other, so that all meet
the same machine; ratios are of the same round. On a machine with other work, clips per second say
how large a share of it a side got; the processors' time for a clip, of all processes together,
stays. Each of our processes has two threads. Records are those of the prepared dataset `--dataset`
or, without one, made-up trials of UTD-MHAD's sizes. PyTorch is left out where it is not installed.
"""

import collections
import concurrent.futures
import contextlib
import functools
import importlib.util
import io
import itertools
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from absl import app, flags, logging
from PIL import Image

from data_builders import encodings
from har.data import dataset, depth, inputs, loader, video
from har.errors import UserError

TRIALS = 64  # of the dataset, at most
_MADE_UP = 16
OURS, DECODER = 'ours', 'decoder alone'
OTHERS = ('torch PyAV', 'torch Pillow', 'torch Zstandard', DECODER)
# What a side has prepared while others were timed is taken before it is timed itself.
_UNTIMED, _TIMED = 10, 16  # batches
_PAUSE, _PATIENCE = 0.3, 100  # seconds, and how often, in which a side may fill its buffers
# FFmpeg decodes JPEG in full size and rounds otherwise; PNG has no loss.
_TOLERANCE = {'rgb': 4.0, 'depth': 0.0}

Next = Callable[[], Mapping[str, Any]]


def made_up_trials(modality: str, count: int) -> list[dict[str, Any]]:
  """Trials of UTD-MHAD's sizes: 50 frames of 320x240 pixels, or 60 of a person's depth.

  Args:
    modality: 'rgb' or 'depth'.
    count: trials.
  """
  rng = np.random.default_rng(0)
  trials = []
  for label in range(count):
    frames = []
    for t in range(50 if modality == 'rgb' else 60):
      if modality == 'rgb':
        small = rng.integers(0, 256, (15, 20, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((320, 240)).save(buffer, 'JPEG', quality=90)
        frames.append(buffer.getvalue())
      else:
        depth = 2000 + 3 * t + rng.integers(0, 8, (170, 90)) + np.arange(90) // 2
        depth[:, :30] = 0
        frames.append(encodings.pack_depth(depth.astype(np.uint16)))
    trials.append({'label': label, modality: frames})
  return trials


def check_equal(modality: str, batches: Mapping[str, Mapping[str, Any]]) -> None:
  """Compares batches of other sides with ours.

  Args:
    modality: 'rgb' or 'depth'.
    batches: by side, its first batch.

  Raises:
    UserError: one differs: with PyAV's JPEG by more than rounding, otherwise at all.
  """
  ours = next(batch for side, batch in batches.items() if side.startswith(OURS))
  for side, batch in batches.items():
    clips = np.asarray(batch[modality])
    if clips.dtype != np.uint8 or clips.shape != ours[modality].shape:
      raise UserError(f'{side}: {clips.dtype} {clips.shape}, not like ours')
    difference = np.abs(clips.astype(np.float32) - ours[modality]).mean()
    allowed = _TOLERANCE[modality] if 'PyAV' in side else 0
    if difference > allowed or not np.array_equal(batch['label'], ours['label']):
      raise UserError(f'{side}: other clips than ours, by {difference:.2f} of 255 on average')


class Turn(NamedTuple):
  """What a side did in one round: clips per second, and processors' milliseconds for each clip."""

  speed: float
  cost: float


def cpu_seconds() -> float:
  """Processors' seconds used by this process and those below it; nan if it is not Linux."""
  used, children = {}, collections.defaultdict(list)
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    with contextlib.suppress(OSError):  # it has ended
      fields = path.read_text().rpartition(')')[2].split()
      pid = int(path.parent.name)
      used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
      children[int(fields[1])].append(pid)
  if not used:
    return math.nan
  total, below = 0.0, [os.getpid()]
  while below:
    pid = below.pop()
    total += used.get(pid, 0.0)
    below += children[pid]
  return total


def _settle() -> None:
  """Waits until buffers are full, so that nothing is read while another side is timed."""
  before = -1.0
  for _ in range(_PATIENCE):
    time.sleep(_PAUSE)
    now = cpu_seconds()
    if not now - before >= _PAUSE / 10:  # as where it is not known
      return
    before = now


def time_in_turn(
  sides: Mapping[str, Callable[[int], None]], rounds: int, batch_size: int
) -> dict[str, list[Turn]]:
  """Times all sides, one after the other.

  Args:
    sides: functions that take a number of batches.
    rounds: how often each is timed.
    batch_size: clips in a batch.

  Returns:
    By side, its turns.
  """
  measured: dict[str, list[Turn]] = {name: [] for name in sides}
  clips = _TIMED * batch_size
  for _ in range(rounds):
    for name, take in sides.items():
      _settle()
      take(_UNTIMED)
      start, used = time.perf_counter(), cpu_seconds()
      take(_TIMED)
      seconds, used = time.perf_counter() - start, cpu_seconds() - used
      measured[name].append(Turn(clips / seconds, 1000 * used / clips))
  return measured


def table(measured: Mapping[str, Sequence[Turn]]) -> list[str]:
  """The report's lines: each side, then ours in ratio to the quickest side of each group of others.

  Args:
    measured: by side, its turns; names begin with `OURS` or one of `OTHERS`.
  """
  speed = {name: np.array([turn.speed for turn in turns]) for name, turns in measured.items()}
  cost = {name: np.array([turn.cost for turn in turns]) for name, turns in measured.items()}
  middle = {name: float(np.median(values)) for name, values in speed.items()}
  lines = [f'{"":24}{"clips/s":>8}{"min":>8}{"max":>8}{"CPU ms/clip":>13}']
  for name, values in speed.items():
    figures = f'{middle[name]:8.1f}{values.min():8.1f}{values.max():8.1f}'
    lines.append(f'{name:24}{figures}{np.median(cost[name]):13.2f}')
  ours = [name for name in measured if name.startswith(OURS)]
  for group in OTHERS:
    others = [name for name in measured if name.startswith(group)]
    for best in sorted(others, key=lambda name: middle[name])[-1:]:
      for mine in ours:
        ratios = speed[mine] / speed[best]
        span = f'{ratios.min():.2f} to {ratios.max():.2f}'
        less = np.median(cost[best] / cost[mine])
        lines.append(f'{mine} / {best}: {np.median(ratios):.2f} ({span}); by CPU time {less:.2f}')
  return lines


def _torch_sides(
  workers: Sequence[int],
  records: Any,
  modality: str,
  config: Mapping[str, Any],
  trials: int,
  *sizes: int,
) -> dict[str, Next]:
  if importlib.util.find_spec('torch') is None:
    return {}
  from har.data import benchmark_torch

  pictures = benchmark_torch.png_trials(records, trials) if modality == 'depth' else records
  return {
    f'torch {decoder}, {count} workers': benchmark_torch.loader(
      records if decoder == 'Zstandard' else pictures,
      modality,
      config,
      decoder,
      count,
      trials,
      *sizes,
    )
    for decoder in benchmark_torch.DECODERS[modality]
    for count in workers
  }


def _decoder(
  pool: concurrent.futures.Executor,
  records: Any,
  modality: str,
  config: Mapping[str, Any],
  trials: int,
) -> Callable[[int], None]:
  """Decodes that many clips in the pool's threads, and throws them away."""
  clips = []
  for i in range(trials):
    frames = records[i][modality]
    clips.append([frames[j] for j in video.choose_frames(len(frames), config['frames'])])
  order = itertools.cycle(clips)

  def decode(clip: Sequence[bytes]) -> None:
    for frame in clip:
      if modality == 'depth':
        depth.decode_depth(frame)
      else:
        video.open_rgb(frame, config['resize']).load()

  def take(count: int) -> None:
    for _ in pool.map(decode, itertools.islice(order, count)):
      pass

  return take


def measure(
  records: Any,
  modality: str,
  *,
  frames: int,
  batch_size: int,
  rounds: int,
  workers: Sequence[int],
  torch_workers: Sequence[int],
) -> dict[str, list[Turn]]:
  """Compares all sides, then times them.

  Args:
    records: random access to dicts with `label` and the modality's encoded frames.
    modality: 'rgb' or 'depth'.
    frames: in a clip.
    batch_size: clips in a batch.
    rounds: how often each side is timed.
    workers: for each number of processes of ours, a side; 0 is threads.
    torch_workers: for each number of PyTorch's processes, a side for each decoder; 0 is none.

  Returns:
    By side, its turns.

  Raises:
    UserError: the modality is no video, or the sides deliver different clips.
  """
  if modality not in ('rgb', 'depth'):
    raise UserError(f'--modalities: {modality!r} is no video; use rgb, depth or both')
  if not workers:
    raise UserError('--workers: name a number at least; 0 is threads')
  one = inputs.build(modality, {'frames': frames})
  # One batch is compared, and none runs dry while the last is timed.
  clips = batch_size * (1 + rounds * (_UNTIMED + _TIMED) + _UNTIMED)
  trials = min(len(records), TRIALS)
  sides = _torch_sides(torch_workers, records, modality, one.options, trials, clips, batch_size)
  with contextlib.ExitStack() as stack:
    for count in workers:
      positions = np.arange(clips) % trials
      batches = loader.eval_batches(records, positions, {modality: one}, batch_size, workers=count)
      stack.enter_context(contextlib.closing(cast(Generator, batches)))
      sides[f'{OURS}, {count} workers'] = batches.__next__
    check_equal(modality, {name: following() for name, following in sides.items()})
    pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(loader.cores()))
    decode = _decoder(pool, records, modality, one.options, trials)

    def take(following: Next, batches: int) -> None:
      for _ in range(batches):
        following()

    takes: dict[str, Callable[[int], None]] = {
      name: functools.partial(take, following) for name, following in sides.items()
    }
    takes[DECODER] = lambda batches: decode(batches * batch_size)
    return time_in_turn(takes, rounds, batch_size)


def counts(flag: str, values: Sequence[str]) -> list[int]:
  """A flag's values as whole numbers; UserError if one is none."""
  if not all(value.isdecimal() for value in values):
    raise UserError(f'--{flag}={",".join(values)}: must be whole numbers joined by commas')
  return [int(value) for value in values]


def main(argv: Sequence[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  logging.set_verbosity(logging.WARNING)
  values = flags.FLAGS
  try:
    if importlib.util.find_spec('torch') is None:
      print('PyTorch is not installed, so there is nothing to compare with')
    for modality in values.modalities:
      name, records = 'made-up trials', made_up_trials(modality, _MADE_UP)
      if values.dataset:
        name, held = values.dataset, (values.prepared_with or modality).split('+')
        prepared = dataset.load(name, held, data_dir=values.dataset_dir)
        records = prepared.records([modality])
      measured = measure(
        records,
        modality,
        frames=values.frames,
        batch_size=values.clips,
        rounds=values.rounds,
        workers=counts('workers', values.workers),
        torch_workers=counts('torch_workers', values.torch_workers),
      )
      print(f'{modality}: {name}, {values.frames} frames, {loader.cores()} cores')
      print('\n'.join(table(measured)), flush=True)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_list('modalities', ['rgb', 'depth'], 'Video modalities to load.')
  flags.DEFINE_integer('frames', 16, 'Frames in a clip.', lower_bound=1)
  flags.DEFINE_integer('clips', 8, 'Clips in a batch.', lower_bound=1)
  flags.DEFINE_integer('rounds', 5, 'Times that each side is timed.', lower_bound=1)
  flags.DEFINE_list('workers', ['0', '2'], 'Processes of our loader; 0 is threads.')
  flags.DEFINE_list('torch_workers', ['0', '1', '2'], "Processes of PyTorch's loader.")
  flags.DEFINE_string('dataset', None, 'Prepared dataset; made-up trials if not given.')
  flags.DEFINE_string('prepared_with', '', 'Its modalities, joined by +, if it has several.')
  flags.DEFINE_string('dataset_dir', None, "Where it lives; TFDS's default if not given.")
  app.run(main)
