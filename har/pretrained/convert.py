"""Named tensors of a published file as our variables."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from har.errors import UserError

Tree = dict[str, Any]
Path = tuple[str, ...]
Layout = dict[Path, tuple[str, tuple[int, ...]]]
"""By path from 'params', 'batch_stats' or 'classifier' on: a tensor's name and shape there."""

BATCH_NORM = (
  ('params', 'scale', 'weight'),
  ('params', 'bias', 'bias'),
  ('batch_stats', 'mean', 'running_mean'),
  ('batch_stats', 'var', 'running_var'),
)
"""Group and name of ours, and PyTorch's name."""
_COLOURS = 3


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A published network as our variables, float32.

  Attributes:
    params: of the encoder, or of the part of it that is published.
    batch_stats: of the same.
    classifier: `kernel` `[D, classes]` and `bias` `[classes]`; None of a backbone alone.
    naming: whose names the file used.
    mean: of the input's channels, in [0, 1], that the network was trained with.
    std: likewise.
  """

  params: Tree
  batch_stats: Tree
  classifier: Tree | None
  naming: str
  mean: tuple[float, ...]
  std: tuple[float, ...]


def fill(
  tensors: Mapping[str, np.ndarray],
  layout: Layout,
  what: str,
  advice: str,
  *,
  channels_last: bool = False,
) -> Tree:
  """Puts tensors where they belong.

  Args:
    tensors: by name; kernels as PyTorch has them, `[out, in, ...]`.
    layout: what is needed; others are left out.
    what: the file and what it should be, for errors: 'a.pth is no complete S3D'.
    advice: what to do, for errors.
    channels_last: kernels are `[..., in, out]`, as ours are.

  Returns:
    Variables by 'params', 'batch_stats' and 'classifier', kernels with channels last.

  Raises:
    UserError: tensors are missing or have other shapes.
  """
  flat: dict[Path, np.ndarray] = {}
  faults = []
  for path, (name, shape) in layout.items():
    value = tensors.get(name)
    if value is None:
      faults.append(f'{name} missing')
    elif value.shape != shape:
      faults.append(f'{name} of shape {value.shape} instead of {shape}')
    else:
      turned = value.ndim > 1 and not channels_last
      axes = (*range(2, value.ndim), 1, 0) if turned else range(value.ndim)
      flat[path] = np.ascontiguousarray(value.transpose(axes), np.float32)
  if faults:
    more = f' and {len(faults) - 3} more' if len(faults) > 3 else ''
    raise UserError(
      f'{what}: {"; ".join(faults[:3])}{more} ({len(faults)} of {len(layout)} tensors); {advice}'
    )
  return flax.traverse_util.unflatten_dict(flat)


def for_channels(params: Tree, like: Mapping[str, Any]) -> Tree:
  """Lets a network for colour pictures take other channels.

  Where a kernel `[..., 3, D]` is one `[..., C, D]` here, each of the C channels gets the mean of
  the three (cross-modality pretraining; Wang et al., ECCV 2016, Section 3.2).

  Args:
    params: published, of an encoder.
    like: shapes of the encoder's parameters here.
  """
  flat, shapes = (flax.traverse_util.flatten_dict(tree) for tree in (params, like))
  for path, value in flat.items():
    shape = shapes[path].shape if path in shapes else value.shape
    other = (*value.shape[:-2], shape[-2], value.shape[-1]) if value.ndim > 2 else ()
    if shape == other != value.shape and value.shape[-2] == _COLOURS:
      flat[path] = np.repeat(value.mean(-2, keepdims=True), shape[-2], -2)
  return flax.traverse_util.unflatten_dict(flat)
