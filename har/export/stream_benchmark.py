"""Times light video models in LiteRT: a frame of a stream, the image network alone, a whole clip.

  python -m har.export.stream_benchmark --rounds=60

All files, of random weights, run in turn in one process on one thread, so that they meet the same
machine; whole clips at every sixth round. The image network's file is that of one frame's mean
features and a linear head.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

from har.compress.options import Scheme
from har.compress.quantise import FoldedModel, calibrate
from har.compress.streaming import step_form
from har.export import litert
from har.models import registry

TEMPORAL: dict[str, dict[str, Any]] = {
  'lstm': {'temporal': 'lstm'},
  'gru': {'temporal': 'gru'},
  'tcn': {'temporal': 'tcn', 'layers': 2},
  'causal tsm': {'temporal': 'mean', 'shift': 'causal'},
}
FORMS = {'float32': None, 'int8': Scheme()}
CLASSES, EVERY = 2, 6

Call = Callable[..., Any]
Seconds = Mapping[tuple[str, str], Sequence[float]]


def forms_of(
  encoder: Mapping[str, Any], clips: np.ndarray, scheme: Scheme | None, *, step: bool
) -> Iterator[tuple[Call, dict[str, np.ndarray]]]:
  """What exporters take of a model with random weights, each with inputs for it.

  Args:
    encoder: its options.
    clips: float32 `[1, T, H, W, 3]`, which it is calibrated on.
    scheme: how it is quantised; None for float.
    step: a step of a stream comes after the whole clip.
  """
  model = registry.build(['rgb'], {'rgb': encoder}, {'kind': 'linear'}, CLASSES)
  inputs: dict[str, Any] = {'rgb': clips}
  variables = dict(jax.jit(model.init)(jax.random.key(0), inputs))
  whole = FoldedModel(model, variables, scheme)
  folded = calibrate(whole, whole.fold(variables, inputs), [inputs])
  forms = [(whole, folded, inputs)]
  if step:
    forms.append(step_form(whole, folded, inputs))
  for form, values, example in forms:
    values = jax.tree.map(np.asarray, values)

    def call(given, form=form, values=values):
      outs = form.apply(values, given, mark=True)
      outs = outs if isinstance(outs, dict) else outs.named()
      return {f'next_{n}' if n in given else n: x for n, x in outs.items()}

    frame = {} if form is whole else {'rgb': clips[:, 0]}
    given = {n: np.asarray(x) for n, x in example.items()} | frame
    yield call, given


def shapes_of(given: Mapping[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes and types."""
  return {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in given.items()}


def runs(width: float, frames: int, size: int, temporal: Sequence[str]) -> dict[Any, Call]:
  """What is timed, by what it is ('image network', 'lstm, clip', 'lstm, step', ...) and form."""
  rng = np.random.default_rng(0)
  clips = rng.standard_normal((1, frames, size, size, 3), np.float32)
  encoder = {'kind': 'mobilenet_v2', 'width': width, 'features': 128}
  found: dict[Any, Call] = {}

  def add(what: str, form: str, call: Call, given: dict[str, np.ndarray]) -> None:
    runner = litert.Runner(litert.convert(call, shapes_of(given), int8=form == 'int8'))
    found[what, form] = lambda: runner(given)

  for form, scheme in FORMS.items():
    ((call, given),) = forms_of(encoder, clips[:, :1], scheme, step=False)
    add('image network', form, call, given)
    for name in temporal:
      both = forms_of({**encoder, **TEMPORAL[name]}, clips, scheme, step=True)
      for kind, (call, given) in zip(('clip', 'step'), both, strict=True):
        add(f'{name}, {kind}', form, call, given)
  return found


def timed(calls: Mapping[Any, Call], rounds: int) -> dict[Any, list[float]]:
  """Seconds of each call in each round, clips at every sixth, after one that is not timed."""
  seconds: dict[Any, list[float]] = {name: [] for name in calls}
  for turn in range(-1, rounds):
    for name, call in calls.items():
      if name[0].endswith('clip') and turn % EVERY and turn >= 0:
        continue
      start = time.perf_counter()
      call()
      if turn >= 0:
        seconds[name].append(time.perf_counter() - start)
  return seconds


def table(seconds: Seconds, temporal: Sequence[str]) -> list[str]:
  """The report: medians and minima in milliseconds, and ratios of medians."""
  middle = {name: 1e3 * float(np.median(one)) for name, one in seconds.items()}
  lines = [f'{"":18}{"form":>9}{"median":>9}{"min":>9} ms']
  lines += [
    f'{what:18}{form:>9}{middle[what, form]:9.3f}{1e3 * min(seconds[what, form]):9.3f}'
    for what, form in seconds
  ]
  for name in temporal:
    step, clip = middle[f'{name}, step', 'int8'], middle[f'{name}, clip', 'int8']
    alone, float_clip = middle['image network', 'int8'], middle[f'{name}, clip', 'float32']
    lines.append(
      f'{name}: int8 step / image network {step / alone:.3f}, step / clip {step / clip:.3f}, '
      f'int8 clip / float clip {clip / float_clip:.3f}'
    )
  return lines


def main(argv: Sequence[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
  given = flags.FLAGS
  if unknown := sorted(set(given.temporal) - set(TEMPORAL)):
    raise app.UsageError(f'--temporal={unknown[0]}: it is one of {", ".join(TEMPORAL)}')
  logging.set_verbosity(logging.WARNING)
  calls = runs(given.width, given.frames, given.size, given.temporal)
  print('\n'.join(table(timed(calls, given.rounds), given.temporal)), flush=True)


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_integer('rounds', 60, 'Times that each file runs.', lower_bound=1)
  flags.DEFINE_integer('frames', 16, 'Frames in a clip.', lower_bound=1)
  flags.DEFINE_integer('size', 224, 'Height and width, in pixels.', lower_bound=1)
  flags.DEFINE_float('width', 1.0, 'Width multiplier of MobileNetV2.')
  flags.DEFINE_list('temporal', list(TEMPORAL), 'Models of time.')
  app.run(main)
