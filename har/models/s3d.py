"""S3D: separable 3-D convolutions for video (Xie et al., ECCV 2018), in torchvision's layout."""

from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.conv3d import Form, Pads, Triple, conv3d, max_pool3d
from har.models.layers import batch_norm, dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Number, Rate

# Channels of branch0, branch1_0, branch1_1, branch2_0, branch2_1, branch3_1 at width 1.
MIXED = {
  'Mixed_3b': (64, 96, 128, 16, 32, 32),
  'Mixed_3c': (128, 128, 192, 32, 96, 64),
  'Mixed_4b': (192, 96, 208, 16, 48, 64),
  'Mixed_4c': (160, 112, 224, 24, 64, 64),
  'Mixed_4d': (128, 128, 256, 24, 64, 64),
  'Mixed_4e': (112, 144, 288, 32, 64, 64),
  'Mixed_4f': (256, 160, 320, 32, 128, 128),
  'Mixed_5b': (256, 160, 320, 32, 128, 128),
  'Mixed_5c': (384, 192, 384, 48, 128, 128),
}
_STEM = {
  'Conv_1a/spatial': 64,
  'Conv_1a/temporal': 64,
  'Conv_2b': 64,
  'Conv_2c/spatial': 192,
  'Conv_2c/temporal': 192,
}


class Conv3d(nn.Module):
  """A convolution without bias, its kernel `[kt, kh, kw, in, out]` in float32."""

  features: int
  kernel: Triple
  strides: Triple = (1, 1, 1)
  pads: Pads = (0, 0, 0)
  form: str = 'folded'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (*self.kernel, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape, jnp.float32)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    return conv3d(x, kernel, self.strides, self.pads, self.form)


class ConvUnit(nn.Module):
  """Convolution, batch norm (epsilon 1e-3), ReLU."""

  features: int
  kernel: Triple = (1, 1, 1)
  strides: Triple = (1, 1, 1)
  pads: Triple = (0, 0, 0)
  form: str = 'folded'
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    x = Conv3d(
      self.features, self.kernel, self.strides, self.pads, self.form, self.dtype, name='conv'
    )(x)
    x = batch_norm(x, mode, name='bn', momentum=self.momentum, epsilon=1e-3, dtype=self.dtype)
    return nn.relu(x)


class SeparableUnit(nn.Module):
  """A 1 x k x k unit, `spatial`, followed by a k x 1 x 1 unit, `temporal`.

  Attributes:
    features: channels of each.
  """

  features: tuple[int, int]
  size: int
  stride: int = 1
  form: str = 'folded'
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    k, s, p = self.size, self.stride, self.size // 2
    rest = (self.form, self.momentum, self.dtype)
    first, second = self.features
    x = ConvUnit(first, (1, k, k), (1, s, s), (0, p, p), *rest, name='spatial')(x, mode)
    return ConvUnit(second, (k, 1, 1), (s, 1, 1), (p, 0, 0), *rest, name='temporal')(x, mode)


class Mixed(nn.Module):
  """An inception block of four branches, concatenated in order.

  Attributes:
    features: channels of branch0, branch1_0, branch1_1 (spatial, temporal), branch2_0, branch2_1
      (spatial, temporal) and branch3_1.
  """

  features: tuple[int, ...]
  form: str = 'folded'
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    rest = {'form': self.form, 'momentum': self.momentum, 'dtype': self.dtype}
    f0, f10, f11s, f11t, f20, f21s, f21t, f31 = self.features
    y0 = ConvUnit(f0, **rest, name='branch0')(x, mode)
    y1 = ConvUnit(f10, **rest, name='branch1_0')(x, mode)
    y1 = SeparableUnit((f11s, f11t), 3, **rest, name='branch1_1')(y1, mode)
    y2 = ConvUnit(f20, **rest, name='branch2_0')(x, mode)
    y2 = SeparableUnit((f21s, f21t), 3, **rest, name='branch2_1')(y2, mode)
    y3 = max_pool3d(x, (3, 3, 3), (1, 1, 1), (1, 1, 1), self.form)
    y3 = ConvUnit(f31, **rest, name='branch3_1')(y3, mode)
    return jnp.concatenate([y0, y1, y2, y3], -1)


class S3D(nn.Module):
  """S3D without its classifier.

  Layers are named as in the paper, `Conv_1a` to `Mixed_5c`; the branches of an inception block as
  in torchvision, `branch1_0` for its `branch1.0`. Padding is symmetric, as there. Clips of any
  length and size go through: the last pool leaves out an axis that has shrunk to one element.

  Attributes:
    width: factor of all channel counts, which are rounded to multiples of 8; 1 is the paper's.
    conv: 'folded' or 'plain', see `conv3d`: the same numbers, at other speeds.
    momentum: of batch norm's running statistics; torchvision's is 0.999, far too slow for the few
      thousand steps that a small dataset gives.
    dropout: rate, of whole channels of the last feature map.
    dtype: of the computation; parameters and batch statistics are float32.
  """

  fine_tuned: ClassVar[tuple[str, ...]] = ('Mixed_4c', 'Mixed_5c')
  """What a second stage trains (Choi et al., Section 3.3)."""

  width: Annotated[float, Number(0, 16, above=True)] = 1.0
  conv: Form = 'folded'
  momentum: Rate = 0.9
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """Encodes a batch of clips.

    Args:
      x: float `[B, T, H, W, C]`, normalised.
      mask: must be None: clips are not padded in time.
      mode: what runs in training mode.

    Returns:
      `Features` whose sequence `[B, T', D]` is the mean over the pixels and whose pooled vector
      the mean over the clip; D = 1024 at width 1, T' = T / 8.

    Raises:
      UserError: `x` is not a batch of clips.
    """
    check_clips('S3D', x, mask)
    rest = {'form': self.conv, 'momentum': self.momentum, 'dtype': self.dtype}
    units = unit_channels(self.width)

    def mixed(x, stage):
      for name in (n for n in MIXED if n.startswith(f'Mixed_{stage}')):
        features = tuple(count for path, count in units.items() if path.startswith(f'{name}/'))
        x = Mixed(features, **rest, name=name)(x, mode)
      return x

    def separable(x, name, size, stride=1):
      features = units[f'{name}/spatial'], units[f'{name}/temporal']
      return SeparableUnit(features, size, stride, **rest, name=name)(x, mode)

    def pool(x, window, strides, pads):
      return max_pool3d(x, window, strides, pads, self.conv)

    x = x.astype(self.dtype)
    x = separable(x, 'Conv_1a', 7, 2)
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = ConvUnit(units['Conv_2b'], **rest, name='Conv_2b')(x, mode)
    x = separable(x, 'Conv_2c', 3)
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = mixed(x, 3)
    x = pool(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    x = mixed(x, 4)
    time, height, width = (min(2, n) for n in x.shape[1:4])
    x = pool(x, (time, height, width), (time, height, width), (0, 0, 0))
    x = mixed(x, 5)
    x = dropout(x, self.dropout, mode, name='dropout', broadcast=(1, 2, 3))
    sequence = x.mean((2, 3))
    return Features(sequence, sequence.mean(1))


def check_clips(name: str, x: jax.Array, mask: jax.Array | None) -> None:
  """Raises UserError if `x` is not a batch of clips for the encoder of that name."""
  if x.ndim != 5 or 0 in x.shape:
    raise UserError(f'{name} needs clips [B, T, H, W, C], but got an array of shape {x.shape}')
  if mask is not None:
    raise UserError(f'{name} takes no mask: choose frames of the recorded clip instead of padding')


def scaled(channels: int, width: float) -> int:
  """`channels` times `width`, as the nearest multiple of 8 that is at least 8."""
  return max(8, round(channels * width / 8) * 8)


def unit_channels(width: float) -> dict[str, int]:
  """Output channels of every convolution unit by its path, in the order of computation."""
  counts = {path: scaled(count, width) for path, count in _STEM.items()}
  for block, sizes in MIXED.items():
    f0, f10, f11, f20, f21, f31 = (scaled(c, width) for c in sizes)
    branches = {
      'branch0': f0,
      'branch1_0': f10,
      'branch1_1/spatial': f11,
      'branch1_1/temporal': f11,
      'branch2_0': f20,
      'branch2_1/spatial': f21,
      'branch2_1/temporal': f21,
      'branch3_1': f31,
    }
    counts |= {f'{block}/{branch}': count for branch, count in branches.items()}
  return counts
