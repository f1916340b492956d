"""Image networks of inverted residuals, applied to each frame of a video, and a model of time."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models import sequence
from har.models.conv2d import Pads, conv2d
from har.models.layers import batch_norm
from har.models.mode import INFERENCE, Mode
from har.models.types import Features
from har.ranges import Rate, Size

TEMPORAL = ('mean', 'lstm', 'bilstm', 'gru', 'tcn')


@dataclasses.dataclass(frozen=True)
class Block:
  """An inverted residual (Sandler et al., CVPR 2018, Section 3.3).

  Attributes:
    inputs: channels.
    hidden: channels between the 1x1 convolutions; as many as `inputs` if there is no first one.
    outputs: channels.
    kernel: size of the depthwise convolution.
    stride: of the same.
  """

  inputs: int
  hidden: int
  outputs: int
  kernel: int
  stride: int


@dataclasses.dataclass(frozen=True)
class Plan:
  """A network for pictures.

  Attributes:
    stem: channels of the first convolution, 3x3 with stride 2.
    stages: blocks, in groups of one size each.
    head: channels of the last convolution, 1x1.
    same: padding as TensorFlow's SAME, which depends on the size; else symmetric.
    epsilon: of the batch norms.
  """

  stem: int
  stages: tuple[tuple[Block, ...], ...]
  head: int
  same: bool
  epsilon: float


def plan(
  stages: Sequence[Sequence[int]],
  *,
  stem: int,
  head: int,
  same: bool,
  epsilon: float,
) -> Plan:
  """Lays out a network.

  Args:
    stages: of each its expansion factor, channels, number of blocks, first stride, kernel size.
    stem: see `Plan` for this and the rest.
    head: see above.
    same: see above.
    epsilon: see above.
  """
  groups, inputs = [], stem
  for expansion, channels, count, stride, kernel in stages:
    blocks = []
    for i in range(count):
      blocks.append(Block(inputs, inputs * expansion, channels, kernel, 1 if i else stride))
      inputs = channels
    groups.append(tuple(blocks))
  return Plan(stem, tuple(groups), head, same, epsilon)


def divisible(channels: float) -> int:
  """The nearest multiple of 8 that is at least 8 and not below 90% of `channels`."""
  rounded = max(8, int(channels + 4) // 8 * 8)
  return rounded if rounded >= 0.9 * channels else rounded + 8


def padding(shape: Sequence[int], kernel: int, stride: int, same: bool) -> Pads:
  """Zeros before and after height and width `shape`."""

  def along(n: int) -> tuple[int, int]:
    if not same:
      return kernel // 2, kernel // 2
    total = max(0, (-(-n // stride) - 1) * stride + kernel - n)
    return total // 2, total - total // 2

  return along(shape[0]), along(shape[1])


class Conv(nn.Module):
  """A convolution without bias, its kernel `[k, k, in, out]` or `[k, k, 1, out]` in float32."""

  features: int
  kernel: int
  stride: int = 1
  depthwise: bool = False
  same: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inputs, groups = (1, x.shape[-1]) if self.depthwise else (x.shape[-1], 1)
    shape = (self.kernel, self.kernel, inputs, self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape, jnp.float32)
    pads = padding(x.shape[1:3], self.kernel, self.stride, self.same)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    return conv2d(x, kernel, (self.stride, self.stride), pads, groups)


class Unit(nn.Module):
  """A convolution, batch norm, and ReLU6 unless it is linear."""

  features: int
  kernel: int = 1
  stride: int = 1
  depthwise: bool = False
  linear: bool = False
  same: bool = False
  epsilon: float = 1e-5
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    shape = self.features, self.kernel, self.stride, self.depthwise, self.same
    x = Conv(*shape, self.dtype, name='conv')(x)
    norm = {'momentum': self.momentum, 'epsilon': self.epsilon, 'dtype': self.dtype}
    x = batch_norm(x, mode, name='bn', **norm)
    return x if self.linear else nn.relu6(x)


class InvertedResidual(nn.Module):
  """Widens, convolves each channel, narrows; and adds what came in if it has the same shape."""

  block: Block
  same: bool
  epsilon: float
  momentum: float
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
    b, y = self.block, x
    rest = {k: getattr(self, k) for k in ('same', 'epsilon', 'momentum', 'dtype')}
    if b.hidden != b.inputs:
      y = Unit(b.hidden, **rest, name='expand')(y, mode)
    y = Unit(b.hidden, b.kernel, b.stride, depthwise=True, **rest, name='depthwise')(y, mode)
    y = Unit(b.outputs, linear=True, **rest, name='project')(y, mode)
    return x + y if b.stride == 1 and b.inputs == b.outputs else y


class FrameCNN(nn.Module):
  """A network for pictures, without its classifier; parts are named `stem`, `stage2_0`, `head`."""

  plan: Plan
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: Mode = INFERENCE) -> jax.Array:
    """`[N, H, W, 3]` -> `[N, D]`, the mean over the pixels."""
    same, epsilon = self.plan.same, self.plan.epsilon
    rest = {'same': same, 'epsilon': epsilon, 'momentum': self.momentum, 'dtype': self.dtype}
    x = Unit(self.plan.stem, 3, 2, **rest, name='stem')(x, mode)
    for i, blocks in enumerate(self.plan.stages):
      for j, block in enumerate(blocks):
        x = InvertedResidual(block, **rest, name=f'stage{i}_{j}')(x, mode)
    x = Unit(self.plan.head, **rest, name='head')(x, mode)
    return x.mean((1, 2))


class FrameEncoder(nn.Module):
  """An image network on each frame, then a model of time over the frames' features.

  Attributes:
    temporal: 'mean' (which trains nothing), 'lstm', 'bilstm' (both directions), 'gru' or 'tcn'; all
      but 'bilstm' are causal.
    features: of the state of each direction, or channels of each block of the 'tcn'.
    layers: how many, above each other, or blocks of the 'tcn'.
    kernel: width of the 'tcn', in frames.
    pooling: of the model of time: 'last', 'mean', 'max' or 'mean_max' over the frames.
    dropout: rate, of what the model of time gives.
    momentum: of the batch norms' running statistics.
    dtype: of the computation; parameters and batch statistics are float32.
  """

  temporal: Literal['mean', 'lstm', 'bilstm', 'gru', 'tcn'] = 'mean'
  features: Size = 128
  layers: Size = 1
  kernel: Size = 3
  pooling: Literal['last', 'mean', 'max', 'mean_max'] = 'mean'
  dropout: Rate = 0.1
  momentum: Rate = 0.9
  dtype: Any = jnp.float32

  @property
  def fine_tuned(self) -> tuple[str, ...]:
    """What a second stage trains: the two last groups of blocks and what comes after."""
    last = ('cnn/stage5_*', 'cnn/stage6_*', 'cnn/head')
    return last if self.temporal == 'mean' else (*last, 'time')

  def layout(self) -> Plan:
    """The image network."""
    raise NotImplementedError

  @property
  def bidirectional(self) -> bool:
    """Whether it reads the future."""
    return self.temporal == 'bilstm'

  def setup(self):
    self.cnn = FrameCNN(self.layout(), self.momentum, self.dtype)
    self.time = self._time()

  def _time(self) -> nn.Module:
    rest = {'pooling': self.pooling, 'dropout': self.dropout, 'dtype': self.dtype}
    if self.temporal == 'mean':
      return sequence.Pool(**rest)
    if self.temporal == 'tcn':
      sizes = (self.features,) * self.layers
      rest |= {'kernel': self.kernel, 'momentum': self.momentum, 'inputs': self.layout().head}
      return sequence.TCN(features=sizes, **rest)
    if self.temporal not in TEMPORAL:
      raise UserError(f'temporal must be one of {", ".join(TEMPORAL)}, not {self.temporal!r}')
    kind = sequence.GRU if self.temporal == 'gru' else sequence.LSTM
    rest['bidirectional'] = self.bidirectional
    return kind(features=self.features, layers=self.layers, **rest)

  def __call__(
    self, x: jax.Array, mask: jax.Array | None = None, mode: Mode = INFERENCE
  ) -> Features:
    """Encodes a batch of clips of any length and size.

    Args:
      x: float `[B, T, H, W, 3]`, normalised.
      mask: must be None: clips are not padded in time.
      mode: what runs in training mode.

    Returns:
      `Features` of T steps.

    Raises:
      UserError: an option is unknown, or `x` is not a batch of clips.
    """
    name = type(self).__name__
    if x.ndim != 5 or 0 in x.shape:
      raise UserError(f'{name} needs clips [B, T, H, W, C], but got an array of shape {x.shape}')
    if mask is not None:
      raise UserError(f'{name} takes no mask: choose frames of the recorded clip instead')
    frames = self.cnn(x.reshape(-1, *x.shape[2:]), mode)
    return self.time(frames.reshape(*x.shape[:2], -1), None, mode)

  def initial_carry(self, batch: int) -> Any:
    """Zeros, for `step`."""
    return self.time.initial_carry(batch, self._head().shape[-1])

  def _head(self) -> jax.Array:
    return self.variables['params']['cnn']['head']['conv']['kernel']

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, Features]:
    """Takes one frame more, `[B, H, W, 3]`; see `har.models.sequence`."""
    return self.time.step(carry, self.cnn(x))
