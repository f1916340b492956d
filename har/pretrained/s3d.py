"""S3D trained on Kinetics-400, as published by torchvision and by kylemin/S3D.

Both hold the same tensors under different names; `load` recognises which.

  https://github.com/pytorch/vision: input in [0, 1], then (x - MEAN) / STD
  https://github.com/kylemin/S3D: input in [-1, 1], that is mean 0.5 and standard deviation 0.5
"""

import dataclasses
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np

from har.errors import UserError
from har.models.s3d import MIXED, S3D
from har.pretrained import download, torch_file

NAME = 's3d-kinetics400'
URL = 'https://download.pytorch.org/models/s3d-d76dad2f.pth'
SHA256_PREFIX = 'd76dad2f'

# Statistics of the input that each publisher trained with, after scaling to [0, 1].
STATISTICS = {
  'torchvision': ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
  'kylemin': ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A published S3D as our variables, float32.

  Attributes:
    params: of the encoder `har.models.s3d.S3D` at width 1.
    batch_stats: of the same.
    classifier: `kernel` `[1024, 400]` and `bias` `[400]` of the Kinetics-400 classes.
    naming: 'torchvision' or 'kylemin', whose names the file used.
    mean: of the input's channels, in [0, 1], that the network was trained with.
    std: likewise.
  """

  params: Tree
  batch_stats: Tree
  classifier: Tree
  naming: str
  mean: tuple[float, ...]
  std: tuple[float, ...]


def load_encoder(source: str, encoder: S3D) -> Pretrained:
  """A published S3D, for an encoder of colour video.

  Args:
    source: as in `load`.
    encoder: that is to be filled.

  Raises:
    UserError: as in `load`; or the encoder is not of the published size.
  """
  if encoder.width != 1.0:
    raise UserError(
      f'{source} needs an S3D of width=1.0, but the encoder has width={encoder.width}: change the '
      'encoder, or start from random parameters'
    )
  return load(source)


def check(source: str) -> None:
  """Raises UserError for an unknown name or a file that is not there; fetches and reads nothing."""
  if source == NAME:
    return
  if not source.endswith(('.pth', '.pt')):
    raise UserError(
      f'unknown pretrained weights {source!r}: use {NAME}, or the path of a .pth or .pt file'
    )
  if not pathlib.Path(source).expanduser().is_file():
    raise UserError(f'{source} does not exist')


def load(source: str, *, cache_dir: str | pathlib.Path | None = None) -> Pretrained:
  """Reads a published S3D.

  Args:
    source: 's3d-kinetics400' for torchvision's file, downloaded once; or the path of a `.pth` or
      `.pt` file with torchvision's or kylemin's names.
    cache_dir: where the download is kept; None for `~/.cache/har`.

  Returns:
    The variables, with the input statistics that belong to them.

  Raises:
    UserError: an unknown source, no network, a wrong checksum, or a file that lacks tensors.
  """
  check(source)
  if source == NAME:
    path = download.fetch(URL, SHA256_PREFIX, cache_dir, 'pass the path of the file instead')
  else:
    path = pathlib.Path(source).expanduser()
  return convert(torch_file.read_state_dict(path), str(path))


def convert(tensors: dict[str, np.ndarray], where: str) -> Pretrained:
  """Maps a state dict onto our variables.

  Args:
    tensors: by torchvision's or kylemin's names, the latter with or without 'module.'.
    where: names the source in errors.

  Raises:
    UserError: tensors are missing or have other shapes.
  """
  tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
  naming = 'kylemin' if any(name.startswith('base.') for name in tensors) else 'torchvision'
  flat: dict[tuple[str, ...], np.ndarray] = {}
  faults = []
  for path, (name, shape) in layout(naming).items():
    value = tensors.get(name)
    if value is None:
      faults.append(f'{name} missing')
    elif value.shape != shape:
      faults.append(f'{name} of shape {value.shape} instead of {shape}')
    else:
      # Ours are [kt, kh, kw, in, out], theirs [out, in, kt, kh, kw].
      value = value.transpose(2, 3, 4, 1, 0) if value.ndim == 5 else value
      flat[path] = np.ascontiguousarray(value, np.float32)
  if faults:
    more = f' and {len(faults) - 3} more' if len(faults) > 3 else ''
    raise UserError(
      f'{where} is no complete S3D for Kinetics-400: {"; ".join(faults[:3])}{more} '
      f'({len(faults)} of {len(layout(naming))} tensors); download {URL}'
    )
  flat['classifier', 'kernel'] = flat['classifier', 'kernel'][0, 0, 0]
  tree = flax.traverse_util.unflatten_dict(flat)
  mean, std = STATISTICS[naming]
  return Pretrained(tree['params'], tree['batch_stats'], tree['classifier'], naming, mean, std)


def layout(naming: str) -> dict[tuple[str, ...], tuple[str, tuple[int, ...]]]:
  """Which tensor goes where.

  Args:
    naming: 'torchvision' or 'kylemin'.

  Returns:
    By path from 'params', 'batch_stats' or 'classifier' on: the tensor's name and shape there.
  """
  theirs = naming == 'kylemin'
  out = {}
  for path, name, part, shape in _units(naming):
    conv = f'{name}.conv{part}' if theirs else f'{name}.0'
    norm = f'{name}.bn{part}' if theirs else f'{name}.1'
    out['params', *path, 'conv', 'kernel'] = f'{conv}.weight', shape
    for kind, ours, entry in (
      ('params', 'scale', 'weight'),
      ('params', 'bias', 'bias'),
      ('batch_stats', 'mean', 'running_mean'),
      ('batch_stats', 'var', 'running_var'),
    ):
      out[kind, *path, 'bn', ours] = f'{norm}.{entry}', shape[:1]
  classifier = 'fc.0' if theirs else 'classifier.1'
  out['classifier', 'kernel'] = f'{classifier}.weight', (400, 1024, 1, 1, 1)
  out['classifier', 'bias'] = f'{classifier}.bias', (400,)
  return out


def _units(naming: str) -> list[tuple[tuple[str, ...], str, str, tuple[int, ...]]]:
  """Our path, their module, kylemin's suffix and their kernel's shape, unit by unit."""
  theirs = naming == 'kylemin'
  root = 'base' if theirs else 'features'
  units = []

  def plain(path, name, inputs, outputs):
    units.append((path, name, '', (outputs, inputs, 1, 1, 1)))

  def separable(path, name, inputs, outputs, k):
    spatial, temporal = (name, name) if theirs else (f'{name}.0', f'{name}.1')
    units.append(((*path, 'spatial'), spatial, '_s', (outputs, inputs, 1, k, k)))
    units.append(((*path, 'temporal'), temporal, '_t', (outputs, outputs, k, 1, 1)))

  separable(('Conv_1a',), f'{root}.0', 3, 64, 7)
  plain(('Conv_2b',), f'{root}.2', 64, 64)
  separable(('Conv_2c',), f'{root}.3', 64, 192, 3)
  # The numbers left out, here and above, are those of pools.
  inputs, positions = 192, (5, 6, 8, 9, 10, 11, 12, 14, 15)
  for position, (block, (c0, c10, c11, c20, c21, c31)) in zip(
    positions, MIXED.items(), strict=True
  ):
    name = f'{root}.{position}'
    plain((block, 'branch0'), f'{name}.branch0' + ('.0' if theirs else ''), inputs, c0)
    plain((block, 'branch1_0'), f'{name}.branch1.0', inputs, c10)
    separable((block, 'branch1_1'), f'{name}.branch1.1', c10, c11, 3)
    plain((block, 'branch2_0'), f'{name}.branch2.0', inputs, c20)
    separable((block, 'branch2_1'), f'{name}.branch2.1', c20, c21, 3)
    plain((block, 'branch3_1'), f'{name}.branch3.1', inputs, c31)
    inputs = c0 + c11 + c21 + c31
  return units
