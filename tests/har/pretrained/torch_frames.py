"""MobileNetV2 and EfficientNet-Lite in PyTorch with their publishers' names, as our reference."""

import math

import torch
from torch import nn
from torch.nn import functional

MOBILENET = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
EFFICIENTNET = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 40, 2, 2, 5),
  (6, 80, 3, 2, 3),
  (6, 112, 3, 1, 5),
  (6, 192, 4, 2, 5),
  (6, 320, 1, 1, 3),
)


def round8(channels):
  return max(8, int(channels + 4) // 8 * 8)


def unit(i, o, kernel=1, stride=1, groups=1):
  conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False)
  return [conv, nn.BatchNorm2d(o), nn.ReLU6()]


class Inverted(nn.Module):
  def __init__(self, old, i, o, stride, expansion):
    super().__init__()
    hidden = i * expansion
    parts = [unit(hidden, hidden, 3, stride, hidden), unit(hidden, o)[:2]]
    parts = [unit(i, hidden), *parts] if expansion != 1 else parts
    if old:
      layers = [layer for part in parts for layer in part]
    else:
      layers = [*(nn.Sequential(*part) for part in parts[:-1]), *parts[-1]]
    self.conv = nn.Sequential(*layers)
    self.added = stride == 1 and i == o

  def forward(self, x):
    return x + self.conv(x) if self.added else self.conv(x)


class MobileNetV2(nn.Module):
  """With torchvision's names, or the older ones and no classifier."""

  def __init__(self, old, width=1.0):
    super().__init__()
    i = round8(32 * width)
    layers = [nn.Sequential(*unit(3, i, 3, 2))]
    for expansion, channels, count, stride in MOBILENET:
      for n in range(count):
        o = round8(channels * width)
        layers.append(Inverted(old, i, o, 1 if n else stride, expansion))
        i = o
    layers.append(nn.Sequential(*unit(i, 1280)))
    self.features = nn.Sequential(*layers)
    if not old:
      self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

  def forward(self, x):
    x = self.features(x).mean((2, 3))
    return x, self.classifier(x) if hasattr(self, 'classifier') else None


class SameConv(nn.Conv2d):
  """Pads as TensorFlow does."""

  def forward(self, x):
    pads = []
    for n in (x.shape[3], x.shape[2]):
      k, s = self.kernel_size[0], self.stride[0]
      total = max((math.ceil(n / s) - 1) * s + k - n, 0)
      pads += [total // 2, total - total // 2]
    x = functional.pad(x, pads)
    return functional.conv2d(x, self.weight, None, self.stride, groups=self.groups)


def same(i, o, kernel=1, stride=1, groups=1):
  return SameConv(i, o, kernel, stride, groups=groups, bias=False)


def norm(channels):
  return nn.BatchNorm2d(channels, eps=1e-3)


class LiteBlock(nn.Module):
  def __init__(self, i, o, stride, expansion, kernel):
    super().__init__()
    hidden = i * expansion
    if expansion != 1:
      self._expand_conv, self._bn0 = same(i, hidden), norm(hidden)
    self._depthwise_conv = same(hidden, hidden, kernel, stride, hidden)
    self._bn1 = norm(hidden)
    self._project_conv, self._bn2 = same(hidden, o), norm(o)
    self.added = stride == 1 and i == o

  def forward(self, x):
    y = x
    if hasattr(self, '_expand_conv'):
      y = functional.relu6(self._bn0(self._expand_conv(y)))
    y = functional.relu6(self._bn1(self._depthwise_conv(y)))
    y = self._bn2(self._project_conv(y))
    return x + y if self.added else y


class EfficientNetLite(nn.Module):
  """With the names of the PyPI packages."""

  def __init__(self, width=1.0, depth=1.0):
    super().__init__()
    self._conv_stem, self._bn0 = same(3, 32, 3, 2), norm(32)
    i, blocks = 32, []
    for at, (expansion, channels, count, stride, kernel) in enumerate(EFFICIENTNET):
      count = count if at in (0, 6) else math.ceil(count * depth)
      for n in range(count):
        o = round8(channels * width)
        blocks.append(LiteBlock(i, o, 1 if n else stride, expansion, kernel))
        i = o
    self._blocks = nn.ModuleList(blocks)
    self._conv_head, self._bn1 = same(i, 1280), norm(1280)
    self._fc = nn.Linear(1280, 1000)

  def forward(self, x):
    x = functional.relu6(self._bn0(self._conv_stem(x)))
    for block in self._blocks:
      x = block(x)
    x = functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
    return x, self._fc(x)


def randomised(net, seed=0):
  """The network in evaluation mode with random values in every tensor."""
  torch.manual_seed(seed)
  with torch.no_grad():
    for module in net.modules():
      if isinstance(module, nn.BatchNorm2d):
        module.weight.uniform_(0.5, 1.5)
        module.bias.normal_(0, 0.2)
        module.running_mean.normal_(0, 0.2)
        module.running_var.uniform_(0.5, 1.5)
        module.num_batches_tracked.fill_(7)
      elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
  return net.eval()
