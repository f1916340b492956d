"""C3D: 3 x 3 x 3 convolutions throughout (Tran et al., ICCV 2015)."""

from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.models import s3d
from har.models.conv3d import Form, max_pool3d, same_pads
from har.models.i3d import Unit
from har.models.layers import dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Number, Rate

# Channels of the convolutions before each of the five pools, by name.
LAYERS = (
  {'conv1a': 64},
  {'conv2a': 128},
  {'conv3a': 256, 'conv3b': 256},
  {'conv4a': 512, 'conv4b': 512},
  {'conv5a': 512, 'conv5b': 512},
)


class C3D(nn.Module):
  """C3D's eight convolutions and five pools (Section 3.2), the first pool in space alone.

  Two things differ from the paper. Its two layers of 4096, which make up two thirds of its
  parameters and fix the clip at 16 x 112 x 112, are left out: the last feature map is averaged, so
  clips of any length and size go through, as pools keep what is left at an edge. And batch norm
  follows each convolution in place of its bias, because it is trained here from random values, on
  far fewer clips than Sports-1M has.

  Attributes:
    width: factor of all channel counts, which are rounded to multiples of 8; 1 is the paper's.
    conv: 'folded' or 'plain', see `har.models.conv3d`: the same numbers, at other speeds.
    momentum: share of the old running statistics that batch norm keeps at each step.
    dropout: rate, of whole channels of the last feature map.
    dtype: of the computation; parameters and batch statistics are float32.
  """

  fine_tuned: ClassVar[tuple[str, ...]] = ('conv5a', 'conv5b')
  """What a second stage trains: the convolutions before the last pool."""

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
      the mean over the clip; D = 512 at width 1, T' = T / 16 rounded up.

    Raises:
      UserError: `x` is not a batch of clips.
    """
    s3d.check_clips('C3D', x, mask)
    rest = {'form': self.conv, 'momentum': self.momentum, 'scale': True, 'dtype': self.dtype}
    x = x.astype(self.dtype)
    for number, layers in enumerate(LAYERS):
      for name, channels in layers.items():
        x = Unit(s3d.scaled(channels, self.width), (3, 3, 3), **rest, name=name)(x, mode)
      window = (2, 2, 2) if number else (1, 2, 2)
      x = max_pool3d(x, window, window, same_pads(x.shape, window, window), self.conv)
    x = dropout(x, self.dropout, mode, name='dropout', broadcast=(1, 2, 3))
    sequence = x.mean((2, 3))
    return Features(sequence, sequence.mean(1))
