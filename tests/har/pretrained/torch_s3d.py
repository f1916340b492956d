"""S3D in PyTorch with the module names of its two publishers, as the reference of our own."""

import torch
from torch import nn

BLOCKS = (
  (192, 64, 96, 128, 16, 32, 32),
  (256, 128, 128, 192, 32, 96, 64),
  (480, 192, 96, 208, 16, 48, 64),
  (512, 160, 112, 224, 24, 64, 64),
  (512, 128, 128, 256, 24, 64, 64),
  (512, 112, 144, 288, 32, 64, 64),
  (528, 256, 160, 320, 32, 128, 128),
  (832, 256, 160, 320, 32, 128, 128),
  (832, 384, 192, 384, 48, 128, 128),
)


def conv(i, o, k, s=(1, 1, 1), p=(0, 0, 0)):
  return nn.Conv3d(i, o, k, s, p, bias=False)


def norm(channels):
  return nn.BatchNorm3d(channels, eps=1e-3, momentum=1e-3)


def torchvision_plain(i, o, *rest):
  return nn.Sequential(conv(i, o, *(rest or (1,))), norm(o), nn.ReLU())


def torchvision_separable(i, o, k, s):
  p = k // 2
  return nn.Sequential(
    torchvision_plain(i, o, (1, k, k), (1, s, s), (0, p, p)),
    torchvision_plain(o, o, (k, 1, 1), (s, 1, 1), (p, 0, 0)),
  )


class KyleminPlain(nn.Module):
  def __init__(self, i, o):
    super().__init__()
    self.conv, self.bn = conv(i, o, 1), norm(o)

  def forward(self, x):
    return self.bn(self.conv(x)).relu()


class KyleminSeparable(nn.Module):
  def __init__(self, i, o, k, s):
    super().__init__()
    p = k // 2
    self.conv_s, self.bn_s = conv(i, o, (1, k, k), (1, s, s), (0, p, p)), norm(o)
    self.conv_t, self.bn_t = conv(o, o, (k, 1, 1), (s, 1, 1), (p, 0, 0)), norm(o)

  def forward(self, x):
    x = self.bn_s(self.conv_s(x)).relu()
    return self.bn_t(self.conv_t(x)).relu()


class Block(nn.Module):
  def __init__(self, plain, separable, nested, i, c0, c10, c11, c20, c21, c3):
    super().__init__()
    self.branch0 = nn.Sequential(plain(i, c0)) if nested else plain(i, c0)
    self.branch1 = nn.Sequential(plain(i, c10), separable(c10, c11, 3, 1))
    self.branch2 = nn.Sequential(plain(i, c20), separable(c20, c21, 3, 1))
    self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), plain(i, c3))

  def forward(self, x):
    return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class S3D(nn.Module):
  def __init__(self, naming, classes=400):
    super().__init__()
    kylemin = naming == 'kylemin'
    plain = KyleminPlain if kylemin else torchvision_plain
    separable = KyleminSeparable if kylemin else torchvision_separable
    blocks = [Block(plain, separable, kylemin, *sizes) for sizes in BLOCKS]
    layers = nn.Sequential(
      separable(3, 64, 7, 2),
      nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
      plain(64, 64),
      separable(64, 192, 3, 1),
      nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
      *blocks[:2],
      nn.MaxPool3d(3, 2, 1),
      *blocks[2:7],
      nn.MaxPool3d(2, 2),
      *blocks[7:],
    )
    if kylemin:
      self.base = layers
      self.fc = nn.Sequential(nn.Conv3d(1024, classes, 1))
    else:
      self.features = layers
      self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Conv3d(1024, classes, 1))

  def forward(self, x):
    layers, head = list(self.children())
    x = layers(x)
    # Both publishers average over windows of two frames and all pixels, then over the rest.
    x = nn.functional.avg_pool3d(x, (2, x.shape[3], x.shape[4]), stride=1)
    return head(x).mean((2, 3, 4))


def random_s3d(naming, seed=0):
  """An S3D in evaluation mode whose every tensor is random."""
  torch.manual_seed(seed)
  net = S3D(naming).eval()
  with torch.no_grad():
    for module in net.modules():
      if isinstance(module, nn.BatchNorm3d):
        module.weight.uniform_(0.5, 1.5)
        module.bias.normal_(0, 0.2)
        module.running_mean.normal_(0, 0.2)
        module.running_var.uniform_(0.5, 1.5)
        module.num_batches_tracked.fill_(7)
      elif isinstance(module, nn.Conv3d) and module.bias is None:
        nn.init.kaiming_normal_(module.weight)
  return net
