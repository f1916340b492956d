"""S3D trained on Kinetics-400, as published by torchvision and by kylemin/S3D.

Both hold the same tensors under different names; `load` recognises which.

  https://github.com/pytorch/vision: input in [0, 1], then (x - MEAN) / STD
  https://github.com/kylemin/S3D: input in [-1, 1], that is mean 0.5 and standard deviation 0.5
"""

import pathlib

import numpy as np

from har.errors import UserError
from har.models.s3d import MIXED, S3D
from har.pretrained import download, torch_file
from har.pretrained.convert import BATCH_NORM, Layout, Pretrained, fill

NAME = 's3d-kinetics400'
URL = 'https://download.pytorch.org/models/s3d-d76dad2f.pth'
SHA256_PREFIX = 'd76dad2f'

# Statistics of the input that each publisher trained with, after scaling to [0, 1].
STATISTICS = {
  'torchvision': ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
  'kylemin': ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


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
  if source == NAME:
    path = download.fetch(URL, SHA256_PREFIX, cache_dir, 'pass the path of the file instead')
  elif source.endswith(('.pth', '.pt')):
    path = pathlib.Path(source).expanduser()
  else:
    raise UserError(
      f'unknown pretrained weights {source!r}: use {NAME}, or the path of a .pth or .pt file'
    )
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
  tree = fill(
    tensors, layout(naming), f'{where} is no complete S3D for Kinetics-400', f'download {URL}'
  )
  tree['classifier']['kernel'] = tree['classifier']['kernel'][0, 0, 0]
  mean, std = STATISTICS[naming]
  return Pretrained(tree['params'], tree['batch_stats'], tree['classifier'], naming, mean, std)


def layout(naming: str) -> Layout:
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
    for kind, ours, entry in BATCH_NORM:
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
