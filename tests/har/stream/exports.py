"""Small exported models, for tests of what runs them."""

import contextlib
import dataclasses
import io
import json
import types
from fractions import Fraction
from typing import Any
from unittest import mock

import av
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from har.compress import variants
from har.data import dataset as dataset_lib
from har.export import describe, exportable, run
from har.models import registry
from har.models.mode import INFERENCE
from har.models.types import Features
from har.stream import recordings
from har.stream.options import Rule
from har.stream.windows import Windows
from har.train import experiment
from tests import fakes

CNN = {'kind': 'cnn1d_bn', 'channels': (8, 16), 'kernels': (5, 3), 'pools': (2, 1)}
LSTM = {'kind': 'lstm', 'features': 8, 'layers': 1}
TINY = {'kind': 'tiny', 'temporal': 'lstm', 'features': 8}
VIDEO = {'frames': 4, 'resize': 20, 'size': 16}
STORED = {'rgb': 'JPEG, quality 90, short side at most 20 pixels'}
FACTS = fakes.METADATA | {'frames': STORED}


class Both(fakes.SometimesFilmed, fakes.SilentDataset):
  """Two sensors of 50 Hz, and no frames in every fourth recording."""


class Brightness(nn.Module):
  """How bright frames are, as the one feature of a clip."""

  dtype: Any = jnp.float32

  def __call__(self, x, mask=None, mode=INFERENCE):
    each = x.mean((2, 3, 4))[..., None]
    return Features(each, each.mean(1))


@contextlib.contextmanager
def opened(folder, inputs, encoders, dataset=None, head=None, **changes):
  """An experiment of one stage named after its inputs, with drawn variables."""
  names = tuple(inputs)
  c = base.experiment('fake', names)
  c.runtime.update(devices=1, eval_batch_size=8)
  for name in names:
    c.inputs[name], c.encoders[name] = inputs[name], encoders[name]
  stage = '_'.join(names)
  c.stages[stage] = base.stage(names, learning_rate=1e-3, batch_size=8)
  if head:
    c.stages[stage].head = head
  for key, value in changes.items():
    c.stages[stage][key] = value
  c.order = (stage,)
  dataset = dataset or fakes.FakeDataset(metadata=FACTS)

  def load(opened, name, **_):
    one = opened.stages[name]
    zeros = {n: np.zeros(x.shape, x.dtype) for n, x in one.example.items()}
    return fakes.draw_variables(one.model, zeros), {}

  with (
    mock.patch.object(dataset_lib, 'load', return_value=dataset),
    mock.patch.object(experiment, 'load', load),
    mock.patch.dict(registry.ENCODERS, {'tiny': fakes.TinyFrames, 'brightness': Brightness}),
    mock.patch.object(variants, 'available', return_value=('float32',)),
  ):
    yield experiment.open_experiment(c, folder)


def write(folder, *args, formats=('tflite',), **changes):
  """Writes such an experiment's files, LiteRT's unless told; returns the folder `export`."""
  targets = run.targets

  def chosen(form):
    return (one for one in targets(form) if one[0] in formats)

  with opened(folder, *args, **changes) as found, mock.patch.object(run, 'targets', chosen):
    run.run(found)
  return folder / 'export'


def film(path, frames, rate=15):
  """Writes pictures uint8 `[T, H, W, 3]` as a video without loss."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='matroska') as container:
    stream = container.add_stream('ffv1', rate=rate)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt, stream.codec_context.time_base = 'bgr0', Fraction(1, rate)
    for i, one in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format='rgb24')
      frame.pts = i
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  path.write_bytes(buffer.getvalue())
  return path


def table(path, samples, rate=50.0, header=True):
  """Writes samples `[T, C]` with their times as CSV."""
  rows = np.column_stack([np.arange(len(samples)) / rate, samples])
  names = ','.join(['time', *(f'c{i}' for i in range(samples.shape[1]))]) if header else ''
  np.savetxt(path, rows, fmt='%.9g', delimiter=',', header=names, comments='')
  return path


def movement(seconds, rate=50.0, seed=0):
  """Samples `[T, 6]` in g and deg/s of somebody who rests and moves in turn."""
  rng = np.random.default_rng(seed)
  t = np.arange(round(seconds * rate)) / rate
  strength = np.where(np.floor(t / 3) % 2, 1.0, 0.05)[:, None]
  swing = np.sin(2 * np.pi * t[:, None] * [1.0, 1.3, 0.7, 1.1, 0.9, 1.7]) * strength
  still = rng.normal([0, 0, 1, 0, 0, 0], 0.02, swing.shape)
  return still + swing * [0.5, 0.5, 0.5, 50, 50, 50]


def described(built, shapes, dataset):
  """An input's description, as somebody finds it beside a file."""
  specs = {n: jax.ShapeDtypeStruct((1, *shape[1:]), np.float32) for n, shape in shapes.items()}
  variant = exportable.Exportable('one', 'float32', dict, dict, specs)
  runner = types.SimpleNamespace(names={name: name for name in specs}, any_batch=False)
  read = {built.name: built}
  found = describe.describe(b'', 'stablehlo', variant, runner, read=read, dataset=dataset)
  return json.loads(json.dumps(found))['inputs'][built.name]


def lively(model, path, options):
  """Options with which a recording has several events: `on` and `off` are quantiles of the class
  that changes most."""
  (recording,) = recordings.open_files([str(path)], model)
  windows = Windows(
    model, {recording.source: recording.rate}, seconds=options.seconds, step=options.step
  )
  found = [d for item in recording.items() for d in windows.push(*item)] + windows.end()
  p = np.stack([one.probabilities for one in found])
  likely = p[:, p.std(0).argmax()]
  # What is as good as certain is above them, too.
  limits = np.minimum(np.quantile(likely, [0.7, 0.5]), 0.999)
  rule = Rule(*limits.tolist(), cool_down=0.5)
  return dataclasses.replace(options, rule=rule)
