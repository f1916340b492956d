"""The convolutions of an encoder: their channels, who reads whom, and their work."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np

from har.errors import UserError
from har.models import s3d
from har.models.imu import Conv1dNet
from har.models.s3d import S3D
from har.models.skeleton import SkeletonCNN

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Unit:
  """A convolution whose output channels can be taken out.

  Attributes:
    name: as in `Kept`, e.g. 'Mixed_4c/branch1_0' of S3D or 'conv_0' of the 1-D networks.
    conv: path of the convolution's parameters within the encoder.
    norm: path of its batch norm; None without one.
    sources: names of the units whose outputs, in this order, it reads; empty for the input.
  """

  name: str
  conv: Path
  norm: Path | None
  sources: tuple[str, ...]


def units(encoder: nn.Module) -> tuple[list[Unit], tuple[str, ...]]:
  """The encoder's convolutions in order, and the units whose outputs are its features.

  Raises:
    UserError: an encoder of a class that is not known here.
  """
  if isinstance(encoder, S3D):
    return _s3d_units()
  if isinstance(encoder, Conv1dNet | SkeletonCNN):
    inner: Path = ('cnn',) if isinstance(encoder, SkeletonCNN) else ()
    normed = True if isinstance(encoder, SkeletonCNN) else encoder.norm
    names = [f'conv_{i}' for i in range(len(encoder.channels))]
    chain = [
      Unit(
        name,
        (*inner, name),
        (*inner, f'bn_{i}') if normed else None,
        (names[i - 1],) if i else (),
      )
      for i, name in enumerate(names)
    ]
    return chain, (names[-1],)
  raise UserError(f'channels of a {type(encoder).__name__} cannot be taken out')


def _s3d_units() -> tuple[list[Unit], tuple[str, ...]]:
  out: list[Unit] = []

  def add(name: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    path = tuple(name.split('/'))
    out.append(Unit(name, (*path, 'conv'), (*path, 'bn'), sources))
    return (name,)

  def separable(name: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    return add(f'{name}/temporal', add(f'{name}/spatial', sources))

  x = separable('Conv_1a', ())
  x = add('Conv_2b', x)
  x = separable('Conv_2c', x)
  for block in s3d.MIXED:
    y0 = add(f'{block}/branch0', x)
    y1 = separable(f'{block}/branch1_1', add(f'{block}/branch1_0', x))
    y2 = separable(f'{block}/branch2_1', add(f'{block}/branch2_0', x))
    x = y0 + y1 + y2 + add(f'{block}/branch3_1', x)
  return out, x


def unit_channels(encoder: nn.Module) -> dict[str, int]:
  """Output channels of each unit."""
  if isinstance(encoder, S3D):
    return s3d.unit_channels(encoder.width, encoder.channels)
  return {f'conv_{i}': c for i, c in enumerate(encoder.channels)}


def with_channels(encoder: nn.Module, counts: Mapping[str, int]) -> nn.Module:
  if not isinstance(encoder, S3D):
    return encoder.clone(channels=tuple(counts.values()))
  plain = s3d.unit_channels(encoder.width)
  return encoder.clone(channels=tuple((n, c) for n, c in counts.items() if c != plain[n]))


@dataclasses.dataclass(frozen=True)
class Work:
  """Multiply-adds of a unit per pair of an input and an output channel, and its fixed inputs."""

  each: int
  inputs: int


def work_of(encoder: nn.Module, input_shape: Sequence[int]) -> dict[str, Work]:
  """By unit name; from the shapes of one example's pass."""
  seen: dict[Path, Work] = {}

  def note(call, args, kwargs, context):
    out = call(*args, **kwargs)
    if isinstance(context.module, nn.Conv | s3d.Conv3d):
      kernel = context.module.variables['params']['kernel'].shape
      each = math.prod(out.shape[1:-1]) * math.prod(kernel[:-2])
      seen[context.module.path] = Work(each, kernel[-2])
    return out

  def run():
    with nn.intercept_methods(note):
      return encoder.init(jax.random.key(0), np.zeros((1, *input_shape), np.float32))

  jax.eval_shape(run)
  # Inside a model the paths start with the modality.
  return {
    u.name: next(w for path, w in seen.items() if path[-len(u.conv) :] == u.conv)
    for u in units(encoder)[0]
  }


def flops(encoder: nn.Module, input_shape: Sequence[int]) -> int:
  """Floating-point operations of all convolutions for one example: two per multiply-add.

  Products with the zeros of the padding count; norms, activations and pools do not.

  Args:
    encoder: S3D, or one of the 1-D networks.
    input_shape: of one preprocessed example, e.g. `(16, 112, 112, 3)`.
  """
  return 2 * multiply_adds(units(encoder)[0], work_of(encoder, input_shape), unit_channels(encoder))


def multiply_adds(
  order: Sequence[Unit], work: Mapping[str, Work], counts: Mapping[str, int]
) -> int:
  return sum(work[u.name].each * inputs_of(u, work, counts) * counts[u.name] for u in order)


def inputs_of(unit: Unit, work: Mapping[str, Work], counts: Mapping[str, int]) -> int:
  return sum(counts[s] for s in unit.sources) if unit.sources else work[unit.name].inputs
