"""The same S3D steps in PyTorch, channels last, as the measure of `har.train.benchmark`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

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


def make_steps(
  clips: np.ndarray, labels: np.ndarray, classes: int, trained: Sequence[str], threads: int
) -> dict[str, Callable[[], None]]:
  """The three steps that are measured.

  Args:
    clips: float32 `[B, T, H, W, 3]`.
    labels: int `[B]`.
    classes: number of classes.
    trained: names of the layers that the stage-2 step trains; the rest is frozen, in inference
      mode and without gradients.
    threads: that PyTorch may use.

  Returns:
    Functions without arguments by name: 'forward', 'train step', 'stage-2 step'.
  """
  torch.set_num_threads(threads)
  x = torch.from_numpy(clips).permute(0, 4, 1, 2, 3)  # channels last in memory
  y = torch.from_numpy(labels)

  def new_net():
    torch.manual_seed(0)
    return _s3d(classes).to(memory_format=torch.channels_last_3d)

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
