"""I3D: a picture network inflated to video (Carreira and Zisserman, CVPR 2017), its RGB stream."""

from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.models import s3d
from har.models.conv3d import Form, Triple, max_pool3d, same_pads
from har.models.layers import batch_norm, dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Number, Rate

STEM = {'Conv3d_1a_7x7': 64, 'Conv3d_2b_1x1': 64, 'Conv3d_2c_3x3': 192}
"""Channels of what comes before the inception blocks, which are those of S3D."""
BRANCHES = ('branch0', 'branch1_0', 'branch1_1', 'branch2_0', 'branch2_1', 'branch3_1')


class Unit(nn.Module):
  """Convolution with SAME padding, batch norm without scale (epsilon 1e-3), ReLU."""

  features: int
  kernel: Triple = (1, 1, 1)
  strides: Triple = (1, 1, 1)
  form: str = 'folded'
  momentum: float = 0.9
  scale: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    pads = same_pads(x.shape, self.kernel, self.strides)
    x = s3d.Conv3d(
      self.features, self.kernel, self.strides, pads, self.form, self.dtype, name='conv'
    )(x)
    rest = {'momentum': self.momentum, 'epsilon': 1e-3, 'dtype': self.dtype}
    return nn.relu(batch_norm(x, mode, name='bn', scale=self.scale, **rest))


class Mixed(nn.Module):
  """An inception block of four branches, concatenated in order.

  Attributes:
    features: channels of each of `BRANCHES`.
  """

  features: tuple[int, ...]
  form: str = 'folded'
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    sizes = dict(zip(BRANCHES, self.features, strict=True))
    rest = {'form': self.form, 'momentum': self.momentum, 'dtype': self.dtype}

    def unit(x, name, size=1):
      return Unit(sizes[name], (size,) * 3, **rest, name=name)(x, mode)

    y0 = unit(x, 'branch0')
    y1 = unit(unit(x, 'branch1_0'), 'branch1_1', 3)
    y2 = unit(unit(x, 'branch2_0'), 'branch2_1', 3)
    y3 = unit(max_pool3d(x, (3, 3, 3), (1, 1, 1), (1, 1, 1), self.form), 'branch3_1')
    return jnp.concatenate([y0, y1, y2, y3], -1)


class I3D(nn.Module):
  """I3D without its classifier.

  Layers are named as its authors' are, `Conv3d_1a_7x7` to `Mixed_5c`; the branches of an inception
  block as S3D's. Padding is TensorFlow's SAME, also of the pools, so clips of any length and size
  go through.

  Attributes:
    width: factor of all channel counts, which are rounded to multiples of 8; 1 is the paper's.
    conv: 'folded' or 'plain', see `har.models.conv3d`: the same numbers, at other speeds.
    momentum: of batch norm's running statistics; the authors' is 0.999, far too slow for the few
      thousand steps that a small dataset gives.
    dropout: rate, of whole channels of the last feature map.
    dtype: of the computation; parameters and batch statistics are float32.
  """

  fine_tuned: ClassVar[tuple[str, ...]] = ('Mixed_5b', 'Mixed_5c')
  """What a second stage trains: all that comes after the last pool."""

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
      x: float `[B, T, H, W, C]`; the authors' weights want [-1, 1].
      mask: must be None: clips are not padded in time.
      mode: what runs in training mode.

    Returns:
      `Features` whose sequence `[B, T', D]` is the mean over the pixels and whose pooled vector
      the mean over the clip; D = 1024 at width 1, T' = T / 8 rounded up.

    Raises:
      UserError: `x` is not a batch of clips.
    """
    s3d.check_clips('I3D', x, mask)
    rest = {'form': self.conv, 'momentum': self.momentum, 'dtype': self.dtype}

    def unit(x, name, size, stride=1):
      features = s3d.scaled(STEM[name], self.width)
      return Unit(features, (size,) * 3, (stride,) * 3, **rest, name=name)(x, mode)

    def mixed(x, stage):
      for name in (n for n in s3d.MIXED if n.startswith(f'Mixed_{stage}')):
        features = tuple(s3d.scaled(count, self.width) for count in s3d.MIXED[name])
        x = Mixed(features, **rest, name=name)(x, mode)
      return x

    def pool(x, window, strides):
      return max_pool3d(x, window, strides, same_pads(x.shape, window, strides), self.conv)

    x = unit(x.astype(self.dtype), 'Conv3d_1a_7x7', 7, 2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, 'Conv3d_2b_1x1', 1), 'Conv3d_2c_3x3', 3)
    x = mixed(pool(x, (1, 3, 3), (1, 2, 2)), 3)
    x = mixed(pool(x, (3, 3, 3), (2, 2, 2)), 4)
    x = mixed(pool(x, (2, 2, 2), (2, 2, 2)), 5)
    x = dropout(x, self.dropout, mode, name='dropout', broadcast=(1, 2, 3))
    sequence = x.mean((2, 3))
    return Features(sequence, sequence.mean(1))
