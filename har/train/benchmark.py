"""Times S3D against PyTorch, and the data loader against the bare decoder.

  python -m har.train.benchmark --rounds=5
  python -m har.train.benchmark --parts=loader --dataset=utd_mhad --dataset_dir=DIR

Each round times every step of ours and, where PyTorch is installed, the same step in PyTorch, one
after the other in one process, so that both meet the same machine. A ratio below 1 says that ours
is quicker. The loader is measured on the prepared dataset `--dataset` or, without one, on made-up
trials of UTD-MHAD's sizes, beside the time that decoding the same frames takes by itself.
"""

import concurrent.futures
import importlib.util
import io
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags, logging
from PIL import Image

from har.data import dataset, loader, video
from har.errors import UserError
from har.models.registry import build
from har.train import pages
from har.train.step import make_eval_step, make_train_step, restart

PARTS = ('model', 'loader')
TRAINED = ('Mixed_4c', 'Mixed_5c', 'head')
CLASSES = 27

_PARTS = flags.DEFINE_list('parts', list(PARTS), 'What to measure: model, loader or both.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Times that each step is timed.', lower_bound=1)
_CLIPS = flags.DEFINE_integer('clips', 4, 'Clips in a batch.', lower_bound=1)
_FRAMES = flags.DEFINE_integer('frames', 16, 'Frames in a clip.', lower_bound=1)
_SIZE = flags.DEFINE_integer('size', 112, 'Height and width of a clip, in pixels.', lower_bound=1)
_WIDTH = flags.DEFINE_float('width', 1.0, 'Width multiplier of S3D; PyTorch has width 1 only.')
_CONV = flags.DEFINE_enum('conv', 'folded', ['folded', 'plain'], "S3D's form of convolutions.")
_DTYPE = flags.DEFINE_string('dtype', 'float32', 'Of our computation: float32 or bfloat16.')
_THREADS = flags.DEFINE_integer('threads', os.cpu_count(), "PyTorch's threads.", lower_bound=1)
_HUGE_PAGES = flags.DEFINE_bool('huge_pages', True, 'As launch.py does, for both libraries.')
_DATASET = flags.DEFINE_string('dataset', None, 'Prepared dataset for the loader.')
_DATASET_DIR = flags.DEFINE_string(
  'dataset_dir', None, "Where it lives; TFDS's default if not given."
)
_MODALITIES = flags.DEFINE_list('modalities', ['rgb', 'depth'], 'Video modalities to load.')

Step = Callable[[], Any]


def make_steps(
  clips: np.ndarray, labels: np.ndarray, encoder: Mapping[str, Any], dtype: str
) -> dict[str, Step]:
  """Our steps, with the training step that stages run.

  Args:
    clips: float32 `[B, T, H, W, 3]`.
    labels: int32 `[B]`.
    encoder: the options of the video encoder.
    dtype: 'float32' or 'bfloat16'.

  Returns:
    Functions without arguments by name: 'forward', 'train step', 'stage-2 step'.
  """
  model = build(['rgb'], {'rgb': encoder}, {'kind': 'linear'}, CLASSES, dtype)
  batch = {'rgb': jnp.asarray(clips), 'label': jnp.asarray(labels)}
  optimizer = optax.sgd(0.01, 0.9)

  def preprocess(batch, key=None):
    del key
    return {'rgb': batch['rgb']}

  variables = jax.jit(model.init)(jax.random.key(0), preprocess(batch))
  patterns = {'train step': ('*',), 'stage-2 step': ('rgb/Mixed_4c', 'rgb/Mixed_5c', 'head')}

  def training(trained):
    step = make_train_step(
      model, preprocess, optimizer, trained=trained, label_smoothing=0, ema=0, auxiliary=0, seed=0
    )
    step = jax.jit(step.whole, donate_argnums=0)
    # The step takes its state's memory over, so each has a copy.
    own = jax.tree.map(jnp.copy, variables)
    state = [restart(own, optimizer, trained=trained, ema=0)]

    def run():
      state[0], metrics = step(state[0], batch, 1.0)
      jax.block_until_ready((state[0], metrics))

    return run

  steps = {name: training(trained) for name, trained in patterns.items()}
  forward = jax.jit(make_eval_step(model, preprocess))
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


def model_table(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
  """The lines of the report on steps: median and minimum of each, and ratios of medians."""
  ours = {name: float(np.median(values)) for name, values in seconds['ours'].items()}
  lines = [f'{"":14}{"ours":>18}{"PyTorch":>18}{"ratio":>8}', f'{"":14}' + '  median     min' * 2]
  for name, middle in ours.items():
    line = f'{name:14}{middle:8.3f}{min(seconds["ours"][name]):8.3f} s'
    if 'torch' in seconds:
      theirs = seconds['torch'][name]
      line += f'{np.median(theirs):8.3f}{min(theirs):8.3f} s{middle / np.median(theirs):8.2f}'
    lines.append(line)
  lines.append(f'stage-2 step / train step: {ours["stage-2 step"] / ours["train step"]:.2f}')
  return lines


def measure_model(rounds: int) -> list[str]:
  """Times the steps as the flags say and returns the report's lines."""
  rng = np.random.default_rng(0)
  shape = (_CLIPS.value, _FRAMES.value, _SIZE.value, _SIZE.value, 3)
  clips = rng.standard_normal(shape, np.float32)
  labels = np.arange(_CLIPS.value) % CLASSES
  encoder = {'kind': 's3d', 'width': _WIDTH.value, 'conv': _CONV.value}
  sides = {'ours': make_steps(clips, labels.astype(np.int32), encoder, _DTYPE.value)}
  heading = f'S3D on {_CLIPS.value} clips of {_FRAMES.value}x{_SIZE.value}x{_SIZE.value}'
  if importlib.util.find_spec('torch') is None:
    heading += '; PyTorch is not installed, so nothing to compare with'
  elif _WIDTH.value != 1.0:
    heading += '; PyTorch is left out, as the width is not 1'
  else:
    from har.train import benchmark_torch

    threads = _THREADS.value or 1
    sides['torch'] = benchmark_torch.make_steps(clips, labels, CLASSES, TRAINED, threads)
  return [heading, *model_table(interleave(sides, rounds))]


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
    trials.append({'label': label % CLASSES, modality: frames})
  return trials


def decode(frames: Iterable[bytes]) -> None:
  """Decodes images and throws them away."""
  for frame in frames:
    Image.open(io.BytesIO(frame)).load()


def measure_loader(modality: str, rounds: int) -> str:
  """Clips per second of the loader and of the decoder alone, as a line of the report."""
  if modality not in ('rgb', 'depth'):
    raise UserError(f'--modalities: {modality!r} is no video; use rgb, depth or both')
  name, records = 'made-up trials', made_up_trials(modality, 16)
  if _DATASET.value:
    name = _DATASET.value
    records = dataset.load(name, [modality], data_dir=_DATASET_DIR.value).records([modality])
  inputs = {modality: {'frames': _FRAMES.value, 'resize': _SIZE.value + 16, 'size': _SIZE.value}}
  batches, batch_size = 8 * rounds, 4
  iterator = loader.train_batches(records, np.arange(len(records)), inputs, batch_size, seed=0)
  next(iterator)
  start = time.perf_counter()
  for _ in range(batches):
    next(iterator)
  loaded = batches * batch_size / (time.perf_counter() - start)
  del iterator  # ends its threads

  chosen = [records[i % len(records)][modality] for i in range(batches * batch_size)]
  clips = [[c[i] for i in video.choose_frames(len(c), _FRAMES.value)] for c in chosen]
  start = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(decode, clips))
  decoded = len(clips) / (time.perf_counter() - start)
  return (
    f'{modality:6} loader {loaded:7.1f} clips/s, decoder alone {decoded:7.1f} clips/s, '
    f'ratio {loaded / decoded:.2f} ({name}, {_FRAMES.value} frames, {_SIZE.value + 16} pixels)'
  )


def main(argv: Sequence[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  unknown = sorted(set(_PARTS.value) - set(PARTS))
  if unknown:
    raise app.UsageError(f'--parts: {unknown[0]!r} is none of {", ".join(PARTS)}')
  logging.set_verbosity(logging.WARNING)
  if _HUGE_PAGES.value:
    pages.restart_with_huge_pages()
  if 'model' in _PARTS.value:
    print('\n'.join(measure_model(_ROUNDS.value)), flush=True)
  if 'loader' in _PARTS.value:
    for modality in _MODALITIES.value:
      print(measure_loader(modality, _ROUNDS.value), flush=True)


if __name__ == '__main__':
  app.run(main)
