"""Image networks of inverted residuals, applied to each frame of a video, and a model of time."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models import sequence
from har.models.conv2d import Pads, conv2d
from har.models.layers import batch_norm
from har.models.mode import INFERENCE, Mode
from har.models.shift import SHIFTS, Shift, moving
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

  @property
  def residual(self) -> bool:
    """Whether it adds what comes in."""
    return self.stride == 1 and self.inputs == self.outputs

  @property
  def shifts(self) -> bool:
    """Whether its first convolution can read other frames, as in the authors' MobileNetV2."""
    return self.residual and self.hidden != self.inputs


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
  shift: str = 'none'

  @nn.compact
  def __call__(
    self, x: jax.Array, mode: Mode, length: int, before: jax.Array | None
  ) -> tuple[jax.Array | None, jax.Array]:
    """What a `Shift` leaves for the next frame, and the output."""
    b, y, after = self.block, x, None
    if self.shift != 'none' and b.shifts:
      after, y = Shift(self.shift == 'causal', name='shift')(y, length, before)
    rest = {k: getattr(self, k) for k in ('same', 'epsilon', 'momentum', 'dtype')}
    if b.hidden != b.inputs:
      y = Unit(b.hidden, **rest, name='expand')(y, mode)
    y = Unit(b.hidden, b.kernel, b.stride, depthwise=True, **rest, name='depthwise')(y, mode)
    y = Unit(b.outputs, linear=True, **rest, name='project')(y, mode)
    return after, x + y if b.residual else y


class FrameCNN(nn.Module):
  """A network for pictures, without its classifier; parts are named `stem`, `stage2_0`, `head`."""

  plan: Plan
  momentum: float = 0.9
  dtype: Any = jnp.float32
  shift: str = 'none'

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    mode: Mode = INFERENCE,
    length: int = 1,
    carry: Sequence[jax.Array] | None = None,
  ) -> Any:
    """`[N, H, W, 3]` -> `[N, D]`, the mean over the pixels.

    Args:
      x: pictures, or the frames of clips.
      mode: what runs in training mode.
      length: frames of a clip, for shifts.
      carry: of a stream, what each shift keeps of the frame before; a tuple of that of this one and
        `[N, D]` is returned then.
    """
    same, epsilon = self.plan.same, self.plan.epsilon
    rest = {'same': same, 'epsilon': epsilon, 'momentum': self.momentum, 'dtype': self.dtype}
    x = Unit(self.plan.stem, 3, 2, **rest, name='stem')(x, mode)
    past, after = list(carry or ()), []
    for i, blocks in enumerate(self.plan.stages):
      for j, block in enumerate(blocks):
        layer = InvertedResidual(block, **rest, shift=self.shift, name=f'stage{i}_{j}')
        kept, x = layer(x, mode, length, past.pop(0) if past and block.shifts else None)
        after += [] if kept is None else [kept]
    x = Unit(self.plan.head, **rest, name='head')(x, mode).mean((1, 2))
    return x if carry is None else (after, x)


class FrameEncoder(nn.Module):
  """An image network on each frame, then a model of time over the frames' features.

  Attributes:
    temporal: 'mean' (which trains nothing), 'lstm', 'bilstm' (both directions), 'gru' or 'tcn'; all
      but 'bilstm' are causal.
    shift: temporal shift inside the image network (see `har.models.shift`): 'none', 'both' ways, or
      'causal', from the past only. With the temporal 'mean' it is the paper's TSM.
    features: of the state of each direction, or channels of each block of the 'tcn'.
    layers: how many, above each other, or blocks of the 'tcn'.
    kernel: width of the 'tcn', in frames.
    pooling: of the model of time: 'last', 'mean', 'max' or 'mean_max' over the frames.
    dropout: rate, of what the model of time gives.
    momentum: of the batch norms' running statistics.
    dtype: of the computation; parameters and batch statistics are float32.
  """

  temporal: Literal['mean', 'lstm', 'bilstm', 'gru', 'tcn'] = 'mean'
  shift: Literal['none', 'both', 'causal'] = 'none'
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
    return self.temporal == 'bilstm' or self.shift == 'both'

  def setup(self):
    if self.shift not in SHIFTS:
      raise UserError(f'shift must be one of {", ".join(SHIFTS)}, not {self.shift!r}')
    self.cnn = FrameCNN(self.layout(), self.momentum, self.dtype, self.shift)
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
    rest['bidirectional'] = self.temporal == 'bilstm'
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
    frames = self.cnn(x.reshape(-1, *x.shape[2:]), mode, x.shape[1])
    return self.time(frames.reshape(*x.shape[:2], -1), None, mode)

  def initial_carry(self, batch: int, shape: Sequence[int] = ()) -> Any:
    """Zeros, for `step`.

    Args:
      batch: streams.
      shape: of a frame, `(H, W, 3)`; only shifts ask for it.
    """
    variables, frames = self.variables, []
    head = variables['params']['cnn']['head']['conv']['kernel'].shape[-1]
    for name, block, size in self._blocks(shape):
      if self.shift != 'none' and block.shifts:
        channels = variables['batch_stats']['cnn'][name]['shift']['offset'].shape[0]
        kept = min(channels, moving(block.inputs))
        frames.append(jnp.zeros((batch, *size, kept), self.dtype))
    return {'frames': frames, 'time': self.time.initial_carry(batch, (head,))}

  def _blocks(self, shape: Sequence[int]) -> Iterator[tuple[str, Block, tuple[int, ...]]]:
    """Name of each block, its layout, and height and width of what comes in."""
    size = tuple(-(-n // 2) for n in shape[:2])
    for i, blocks in enumerate(self.layout().stages):
      for j, block in enumerate(blocks):
        yield f'stage{i}_{j}', block, size
        size = tuple(-(-n // block.stride) for n in size)

  def step(self, carry: Any, x: jax.Array) -> tuple[Any, Features]:
    """Takes one frame more, `[B, H, W, 3]`; see `har.models.sequence`."""
    frames, features = self.cnn(x, carry=carry['frames'])
    time, features = self.time.step(carry['time'], features)
    return {'frames': frames, 'time': time}, features
