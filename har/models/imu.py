"""1-D convolutional encoders of inertial signals."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import Pooling, batch_norm, dropout, masked_pool, shrink_mask
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Rate, SizeOrSizes, Sizes


class Conv1dNet(nn.Module):
  """Blocks of convolution, optional batch norm, ReLU, optional max pool and dropout over time.

  The defaults are the paper's 1D-CNN: three blocks with kernels of 24, 16 and 8 samples, no batch
  norm, and one maximum over time. Samples that `mask` calls padding are kept at zero after every
  block and take no part in batch statistics or in the pooling.

  Attributes:
    channels: of each block's convolution.
    kernels: width of each block's convolution, in samples.
    strides: of each block's convolution; one number stands for all blocks.
    pools: window and stride of the max pool after each block, 1 for none; one number for all.
    padding: 'VALID' or 'SAME' convolutions.
    norm: batch norm between convolution and ReLU.
    momentum: of the batch norm's running statistics.
    dropout: rate after each block.
    pooling: 'max', 'mean' or 'mean_max' over time.
    dtype: of the computation; parameters are float32.
  """

  channels: Sizes = (32, 64, 96)
  kernels: Sizes = (24, 16, 8)
  strides: SizeOrSizes = 1
  pools: SizeOrSizes = 1
  padding: Literal['SAME', 'VALID'] = 'VALID'
  norm: bool = False
  momentum: Rate = 0.9
  dropout: Rate = 0.1
  pooling: Pooling = 'max'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """Encodes a batch of signals.

    Args:
      x: float `[B, T, C]`, normalised.
      mask: bool `[B, T]`, false for padding; None if there is none.
      mode: what runs in training mode.

    Returns:
      `Features` with D = channels[-1] (2 channels[-1] pooled by 'mean_max').

    Raises:
      UserError: the options do not fit each other, or the signal is shorter than the kernels.
    """
    blocks = self._blocks()
    x = x.astype(self.dtype)
    for i, (channels, kernel, stride, pool) in enumerate(blocks):
      if self.padding == 'VALID' and x.shape[1] < kernel:
        raise UserError(
          f'the signal has {x.shape[1]} samples left at convolution {i} of {self.path}, whose '
          f"kernel is {kernel}: raise the input's length, or set padding='SAME'"
        )
      x = nn.Conv(
        channels,
        (kernel,),
        (stride,),
        padding=self.padding,
        use_bias=not self.norm,
        kernel_init=nn.initializers.he_normal(),
        dtype=self.dtype,
        name=f'conv_{i}',
      )(x)
      if mask is not None:
        window = kernel if self.padding == 'VALID' else stride
        mask = shrink_mask(mask, window, stride, self.padding)
      if self.norm:
        seen = None if mask is None else mask[..., None]
        x = batch_norm(x, mode, name=f'bn_{i}', momentum=self.momentum, dtype=self.dtype, mask=seen)
      x = nn.relu(x)
      if mask is not None:
        x = jnp.where(mask[..., None], x, 0)
      if pool > 1:
        x = nn.max_pool(x, (pool,), (pool,), 'SAME')
        mask = None if mask is None else shrink_mask(mask, pool, pool, 'SAME')
      x = dropout(x, self.dropout, mode, name=f'dropout_{i}')
    return Features(x, masked_pool(x, mask, self.pooling), mask)

  def _blocks(self) -> list[tuple[int, int, int, int]]:
    count = len(self.channels)
    each = [
      tuple(self.channels),
      tuple(self.kernels),
      *((v,) * count if isinstance(v, int) else tuple(v) for v in (self.strides, self.pools)),
    ]
    if not count or len({len(v) for v in each}) != 1:
      raise UserError(
        'channels, kernels, strides and pools of an IMU encoder must have one number per block, '
        f'but are {", ".join(map(str, each))}'
      )
    return list(zip(*each, strict=True))


class Conv1dNetBN(Conv1dNet):
  """The stronger one of the family: four blocks with batch norm and halving, mean and max pool."""

  channels: Sizes = (64, 128, 128, 256)
  kernels: Sizes = (9, 7, 5, 5)
  pools: SizeOrSizes = (2, 2, 2, 1)
  padding: Literal['SAME', 'VALID'] = 'SAME'
  norm: bool = True
  pooling: Pooling = 'mean_max'
