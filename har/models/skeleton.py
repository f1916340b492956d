"""A temporal convolutional encoder of skeleton sequences."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import POOLINGS, batch_norm, dropout, masked_pool, shrink_mask
from har.models.mode import INFERENCE, Mode
from har.models.types import Features

# Kinect v1's 20 joints in UTD-MHAD's order: head, shoulder centre, spine, hip centre, then left
# shoulder, elbow, wrist, hand, the same on the right, then left hip, knee, ankle, foot, and right.
KINECT_PARENTS = (1, 2, 3, 3, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18)
KINECT_HIP = 3


class SkeletonTCN(nn.Module):
  """Residual 1-D convolutions over joint positions, bones and velocities.

  Attributes:
    channels: of each residual block.
    strides: of each block, over time; one number stands for all blocks.
    kernel: width of the convolutions, in frames.
    parents: index of each joint's neighbour towards the root; the root is its own.
    root: index of the joint that positions are measured from.
    momentum: of the batch norms' running statistics.
    dropout: rate inside each block.
    joint_dropout: rate at which whole joints are hidden for a whole clip in training.
    pooling: 'max', 'mean' or 'mean_max' over time.
    dtype: of the computation; parameters are float32.
  """

  channels: tuple[int, ...] = (128, 128, 256, 256)
  strides: int | tuple[int, ...] = (1, 2, 2, 2)
  kernel: int = 5
  parents: tuple[int, ...] = KINECT_PARENTS
  root: int = KINECT_HIP
  momentum: float = 0.9
  dropout: float = 0.2
  joint_dropout: float = 0.0
  pooling: str = 'mean_max'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """Encodes a batch of skeleton sequences.

    Args:
      x: float `[B, T, J, 3]`, metres.
      mask: bool `[B, T]`, false for padding; None if there is none.
      mode: what runs in training mode.

    Returns:
      `Features` with D = channels[-1] (2 channels[-1] pooled by 'mean_max').

    Raises:
      UserError: the options do not fit each other or the input.
    """
    strides = (
      (self.strides,) * len(self.channels) if isinstance(self.strides, int) else self.strides
    )
    self._check(x, strides)
    joints = motion_features(x, mask, tuple(self.parents), self.root)
    joints = dropout(joints, self.joint_dropout, mode, name='joint_dropout', broadcast=(1, 3))
    x = joints.reshape(*joints.shape[:2], -1).astype(self.dtype)
    x = self._norm(x, mask, mode, 'bn_input')
    for i, (channels, stride) in enumerate(zip(self.channels, strides, strict=True)):
      x, mask = self._block(x, mask, mode, channels, stride, f'block_{i}')
    return Features(x, masked_pool(x, mask, self.pooling), mask)

  def _block(self, x, mask, mode, channels, stride, name):
    shortcut = x
    x = self._conv(x, channels, self.kernel, stride, f'{name}_conv_0')
    if mask is not None:
      mask = shrink_mask(mask, stride, stride, 'SAME')
    x = nn.relu(self._norm(x, mask, mode, f'{name}_bn_0'))
    x = dropout(x, self.dropout, mode, name=f'{name}_dropout')
    x = self._conv(x, channels, self.kernel, 1, f'{name}_conv_1')
    x = self._norm(x, mask, mode, f'{name}_bn_1')
    if stride > 1 or shortcut.shape[-1] != channels:
      shortcut = self._conv(shortcut, channels, 1, stride, f'{name}_shortcut')
      shortcut = self._norm(shortcut, mask, mode, f'{name}_shortcut_bn')
    return nn.relu(x + shortcut), mask

  def _conv(self, x, channels, kernel, stride, name):
    init = nn.initializers.he_normal()
    return nn.Conv(
      channels, (kernel,), (stride,), use_bias=False, kernel_init=init, dtype=self.dtype, name=name
    )(x)

  def _norm(self, x, mask, mode, name):
    seen = None if mask is None else mask[..., None]
    x = batch_norm(x, mode, name=name, momentum=self.momentum, dtype=self.dtype, mask=seen)
    return x if mask is None else jnp.where(seen, x, 0)

  def _check(self, x: jax.Array, strides: tuple[int, ...]) -> None:
    if x.ndim != 4 or x.shape[2] != len(self.parents):
      raise UserError(
        f'the skeleton encoder has {len(self.parents)} parents, one per joint, but its input has '
        f'the shape {x.shape} instead of [B, T, {len(self.parents)}, 3]: set its parents and root'
      )
    if len(strides) != len(self.channels):
      raise UserError(
        'channels and strides of the skeleton encoder must be equally many, but are '
        f'{tuple(self.channels)} and {tuple(strides)}'
      )
    if self.pooling not in POOLINGS:
      raise UserError(f'pooling must be one of {", ".join(POOLINGS)}, not {self.pooling!r}')


def motion_features(
  x: jax.Array, mask: jax.Array | None, parents: tuple[int, ...], root: int
) -> jax.Array:
  """Positions from the root, bones, velocities, and the root's way from its mean position.

  Args:
    x: `[B, T, J, 3]`, metres.
    mask: bool `[B, T]`, false for padding; None if there is none.
    parents: index of each joint's neighbour towards the root.
    root: index of the root joint.

  Returns:
    `[B, T, J, 9]`, zero in padding: position from the root (for the root itself, from its mean over
    the clip), position from the parent, and difference to the frame before. All in metres.
  """
  x = jnp.asarray(x)
  seen = jnp.ones(x.shape[:2], bool) if mask is None else mask
  weight = seen[..., None].astype(x.dtype)
  path = x[:, :, root]
  centre = (path * weight).sum(1, keepdims=True) / jnp.maximum(weight.sum(1, keepdims=True), 1)
  position = (x - path[:, :, None]).at[:, :, root].set(path - centre)
  bones = x - x[:, :, jnp.asarray(parents)]
  steps = jnp.where((seen[:, 1:] & seen[:, :-1])[..., None, None], x[:, 1:] - x[:, :-1], 0)
  velocity = jnp.pad(steps, ((0, 0), (1, 0), (0, 0), (0, 0)))
  return jnp.concatenate([position, bones, velocity], -1) * weight[..., None]
