"""The same steps in PyTorch, channels last, as the measure of `har.train.benchmark`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from har.models.imu import Conv1dNetBN
from har.models.mobilenet import MobileNetV2
from har.models.s3d import MIXED


def _unit(inputs, outputs, kernel=(1, 1, 1), stride=(1, 1, 1), padding=(0, 0, 0)):
  return nn.Sequential(
    nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False),
    nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.1),
    nn.ReLU(inplace=True),
  )


def _separable(inputs, outputs, k, s=1):
  p = k // 2
  return nn.Sequential(
    _unit(inputs, outputs, (1, k, k), (1, s, s), (0, p, p)),
    _unit(outputs, outputs, (k, 1, 1), (s, 1, 1), (p, 0, 0)),
  )


class _Mixed(nn.Module):
  def __init__(self, inputs, c0, c10, c11, c20, c21, c31):
    super().__init__()
    self.branches = nn.ModuleList(
      [
        _unit(inputs, c0),
        nn.Sequential(_unit(inputs, c10), _separable(c10, c11, 3)),
        nn.Sequential(_unit(inputs, c20), _separable(c20, c21, 3)),
        nn.Sequential(nn.MaxPool3d(3, 1, 1), _unit(inputs, c31)),
      ]
    )

  def forward(self, x):
    return torch.cat([branch(x) for branch in self.branches], 1)


def _s3d(classes: int) -> nn.Sequential:
  layers: dict[str, nn.Module] = {
    'Conv_1a': _separable(3, 64, 7, 2),
    'pool_2a': nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    'Conv_2b': _unit(64, 64),
    'Conv_2c': _separable(64, 192, 3),
    'pool_3a': nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
  }
  channels = 192
  for name, sizes in MIXED.items():
    if name == 'Mixed_4b':
      layers['pool_4a'] = nn.MaxPool3d(3, 2, 1)
    if name == 'Mixed_5b':
      layers['pool_5a'] = nn.MaxPool3d(2, 2)
    layers[name] = _Mixed(channels, *sizes)
    channels = sum(sizes[i] for i in (0, 2, 4, 5))
  layers['pool'] = nn.AdaptiveAvgPool3d(1)
  layers['flatten'] = nn.Flatten()
  layers['head'] = nn.Linear(channels, classes)
  net = nn.Sequential()
  for name, layer in layers.items():
    net.add_module(name, layer)
  return net


class _Inverted(nn.Module):
  def __init__(self, block):
    super().__init__()
    self.residual = block.residual
    pads = block.kernel // 2
    units = [
      *(_unit2d(block.inputs, block.hidden) if block.hidden != block.inputs else ()),
      *_unit2d(block.hidden, block.hidden, block.kernel, block.stride, pads, block.hidden),
      *_unit2d(block.hidden, block.outputs)[:2],
    ]
    self.units = nn.Sequential(*units)

  def forward(self, x):
    return x + self.units(x) if self.residual else self.units(x)


def _unit2d(inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
  return [
    nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
    nn.BatchNorm2d(outputs),
    nn.ReLU6(inplace=True),
  ]


class _FrameLSTM(nn.Module):
  """MobileNetV2 on each frame, one LSTM over their features, and the mean over time."""

  def __init__(self, classes: int, features: int = 128):
    super().__init__()
    plan = MobileNetV2().layout()
    blocks = [block for blocks in plan.stages for block in blocks]
    self.cnn = nn.Sequential(
      *_unit2d(3, plan.stem, 3, 2, 1),
      *map(_Inverted, blocks),
      *_unit2d(blocks[-1].outputs, plan.head),
    )
    self.time = nn.LSTM(plan.head, features, batch_first=True)
    self.head = nn.Linear(features, classes)

  def forward(self, x):
    batch, channels, length, *size = x.shape
    frames = x.transpose(1, 2).reshape(batch * length, channels, *size)
    features = self.cnn(frames).mean((2, 3)).reshape(batch, length, -1)
    return self.head(self.time(features)[0].mean(1))


class _SignalCNN(nn.Module):
  """The blocks of our `cnn1d_bn`, and their mean and maximum over time."""

  def __init__(self, classes: int, channels: int = 6):
    super().__init__()
    blocks, layers = Conv1dNetBN(), []
    assert isinstance(blocks.pools, tuple)
    for features, kernel, pool in zip(blocks.channels, blocks.kernels, blocks.pools, strict=True):
      layers += [
        nn.Conv1d(channels, features, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(features),
        nn.ReLU(inplace=True),
        nn.MaxPool1d(pool, ceil_mode=True),
      ]
      channels = features
    self.cnn = nn.Sequential(*layers)
    self.head = nn.Linear(2 * channels, classes)

  def forward(self, x):
    y = self.cnn(x.transpose(1, 2))
    return self.head(torch.cat([y.mean(2), y.amax(2)], 1))


class _SignalLSTM(nn.Module):
  """One LSTM, and the mean over time."""

  def __init__(self, classes: int, channels: int = 6, features: int = 64):
    super().__init__()
    self.time = nn.LSTM(channels, features, batch_first=True)
    self.head = nn.Linear(features, classes)

  def forward(self, x):
    return self.head(self.time(x)[0].mean(1))


NETS: dict[str, tuple[Callable[[int], nn.Module], torch.memory_format]] = {
  's3d': (_s3d, torch.channels_last_3d),
  'mobilenet_v2': (_FrameLSTM, torch.channels_last),
  'cnn1d_bn': (_SignalCNN, torch.contiguous_format),
  'lstm': (_SignalLSTM, torch.contiguous_format),
}


def make_steps(
  examples: np.ndarray,
  labels: np.ndarray,
  classes: int,
  trained: Sequence[str],
  threads: int,
  net: str = 's3d',
) -> dict[str, Callable[[], None]]:
  """The three steps that are measured.

  Args:
    examples: float32, clips `[B, T, H, W, 3]` or signals `[B, T, 6]`.
    labels: int `[B]`.
    classes: number of classes.
    trained: names of the layers that the stage-2 step trains; the rest is frozen, in inference
      mode and without gradients.
    threads: that PyTorch may use.
    net: one of `NETS`.

  Returns:
    Functions without arguments by name: 'forward', 'train step', 'stage-2 step'.
  """
  torch.set_num_threads(threads)
  x = torch.from_numpy(examples)
  if x.ndim == 5:
    x = x.permute(0, 4, 1, 2, 3)  # channels last in memory
  y = torch.from_numpy(labels)

  new, memory = NETS[net]

  def new_net():
    torch.manual_seed(0)
    return new(classes).to(memory_format=memory)

  def new_step(net):
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.01, 0.9)

    def step():
      optimizer.zero_grad(set_to_none=True)
      nn.functional.cross_entropy(net(x), y).backward()
      optimizer.step()

    return step

  inference, full, partial = new_net().eval(), new_net().train(), new_net().train()
  for name, layer in partial.named_children():
    if name not in trained:
      layer.eval().requires_grad_(False)

  def forward():
    with torch.inference_mode():
      inference(x)

  return {'forward': forward, 'train step': new_step(full), 'stage-2 step': new_step(partial)}
