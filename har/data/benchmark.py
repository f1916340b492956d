"""Times the data loader against PyTorch's, and against the decoder alone.

    python -m har.data.benchmark [--rounds=5] [--workers=0,2] [--torch_workers=0,1,2]
    python -m har.data.benchmark --modalities=depth --dataset=utd_mhad --prepared_with=imu+depth

All sides read the same records, choose the same frames and deliver the same uint8 batches, which is
checked before anything is timed: ours in threads and in `--workers` processes, those of
`torch.utils.data.DataLoader` with `--torch_workers` processes and frames decoded by PyAV or by
Pillow, and the bare decoder, which throws away what it decodes, on as many threads as there are
cores. Each round times every side, one after the other, so that all meet the same machine. Ratios
are of the same round; beside other work, compare sides with as many processes or threads only (each
of our processes has two). Records are those of the prepared dataset `--dataset` or, without one,
made-up trials of UTD-MHAD's sizes. PyTorch is left out where it is not installed.
"""

import concurrent.futures
import contextlib
import functools
import importlib.util
import io
import itertools
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from absl import app, flags, logging
from PIL import Image

from har.data import dataset, loader, options, video
from har.errors import UserError

TRIALS = 16
OURS, DECODER = 'ours', 'decoder alone'
OTHERS = ('torch PyAV', 'torch Pillow', DECODER)
# What a side has prepared while others were timed is taken before it is timed itself.
_UNTIMED, _TIMED = 10, 16  # batches
_PAUSE = 0.5  # seconds in which a side fills its buffers, before the next is timed
# FFmpeg decodes JPEG in full size and rounds otherwise; PNG has no loss.
_TOLERANCE = {'rgb': 4.0, 'depth': 0.0}

Next = Callable[[], Mapping[str, Any]]


def made_up_trials(modality: str, count: int) -> list[dict[str, Any]]:
  """Trials of UTD-MHAD's sizes: 50 JPEG frames of 320x240, or 60 PNG frames of a person.

  Args:
    modality: 'rgb' or 'depth'.
    count: trials.
  """
  rng = np.random.default_rng(0)
  trials = []
  for label in range(count):
    frames = []
    for t in range(50 if modality == 'rgb' else 60):
      buffer = io.BytesIO()
      if modality == 'rgb':
        small = rng.integers(0, 256, (15, 20, 3), np.uint8)
        Image.fromarray(small).resize((320, 240)).save(buffer, 'JPEG', quality=90)
      else:
        depth = 2000 + 3 * t + rng.integers(0, 8, (170, 90)) + np.arange(90) // 2
        depth[:, :30] = 0
        Image.fromarray(depth.astype(np.uint16)).save(buffer, 'PNG', compress_level=4)
      frames.append(buffer.getvalue())
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


def rates(
  sides: Mapping[str, Callable[[int], None]], rounds: int, batch_size: int
) -> dict[str, list[float]]:
  """Times all sides in turn.

  Args:
    sides: functions that take a number of batches.
    rounds: how often each is timed.
    batch_size: clips in a batch.

  Returns:
    By side, clips per second of each round.
  """
  measured: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(rounds):
    for name, take in sides.items():
      take(_UNTIMED)
      start = time.perf_counter()
      take(_TIMED)
      measured[name].append(_TIMED * batch_size / (time.perf_counter() - start))
      time.sleep(_PAUSE)
  return measured


def table(measured: Mapping[str, Sequence[float]]) -> list[str]:
  """The report's lines: clips per second, and ratios to the best side of each group of others.

  Args:
    measured: by side, clips per second of each round; names begin with `OURS` or one of `OTHERS`.
  """
  middle = {name: float(np.median(values)) for name, values in measured.items()}
  lines = [f'{"clips/s":24}{"median":>8}{"min":>8}{"max":>8}']
  for name, values in measured.items():
    lines.append(f'{name:24}{middle[name]:8.1f}{min(values):8.1f}{max(values):8.1f}')
  ours = [name for name in measured if name.startswith(OURS)]
  for group in OTHERS:
    others = [name for name in measured if name.startswith(group)]
    for best in sorted(others, key=lambda name: middle[name])[-1:]:
      for mine in ours:
        ratios = np.divide(measured[mine], measured[best])
        span = f'{ratios.min():.2f} to {ratios.max():.2f}'
        lines.append(f'{mine} / {best}: {np.median(ratios):.2f} ({span})')
  return lines


def _torch_sides(
  workers: Sequence[int], records: Any, modality: str, config: Mapping[str, Any], *sizes: int
) -> dict[str, Next]:
  if importlib.util.find_spec('torch') is None:
    return {}
  from har.data import benchmark_torch

  return {
    f'torch {decoder}, {count} workers': benchmark_torch.loader(
      records, modality, config, decoder, count, *sizes
    )
    for decoder in benchmark_torch.DECODERS
    for count in workers
  }


def _decoder(
  pool: concurrent.futures.Executor, records: Any, modality: str, config: Mapping[str, Any]
) -> Callable[[int], None]:
  """Decodes that many clips in the pool's threads, and throws them away."""
  clips = []
  for i in range(min(len(records), TRIALS)):
    frames = records[i][modality]
    clips.append([frames[j] for j in video.choose_frames(len(frames), config['frames'])])
  order = itertools.cycle(clips)

  def decode(clip: Sequence[bytes]) -> None:
    for frame in clip:
      if modality == 'depth':
        video.decode_png(frame)
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
) -> dict[str, list[float]]:
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
    By side, clips per second of each round.

  Raises:
    UserError: the modality is no video, or the sides deliver different clips.
  """
  if modality not in options.VIDEO:
    raise UserError(f'--modalities: {modality!r} is no video; use rgb, depth or both')
  config = options.input_options({'frames': frames}, modality)
  # One batch is compared, and none runs dry while the last is timed.
  clips = batch_size * (1 + rounds * (_UNTIMED + _TIMED) + _UNTIMED)
  # PyTorch forks its processes, so they come before our threads.
  sides = _torch_sides(torch_workers, records, modality, config, clips, batch_size)
  with contextlib.ExitStack() as stack:
    for count in workers:
      positions, inputs = np.arange(clips) % len(records), {modality: config}
      batches = loader.eval_batches(records, positions, inputs, batch_size, workers=count)
      stack.enter_context(contextlib.closing(cast(Generator, batches)))
      sides[f'{OURS}, {count} workers'] = batches.__next__
    check_equal(modality, {name: following() for name, following in sides.items()})
    pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(loader.cores()))
    decode = _decoder(pool, records, modality, config)

    def take(following: Next, batches: int) -> None:
      for _ in range(batches):
        following()

    takes: dict[str, Callable[[int], None]] = {
      name: functools.partial(take, following) for name, following in sides.items()
    }
    takes[DECODER] = lambda batches: decode(batches * batch_size)
    return rates(takes, rounds, batch_size)


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
      name, records = 'made-up trials', made_up_trials(modality, TRIALS)
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
