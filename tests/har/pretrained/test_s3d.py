"""Published S3D files give PyTorch's numbers here, and a wrong file is one clear error."""

import jax
import numpy as np
import pytest
import torch

from har.errors import UserError
from har.models.s3d import S3D
from har.pretrained import s3d
from tests.har.pretrained.torch_s3d import random_s3d


@pytest.fixture(scope='module')
def state_dict():
  return random_s3d('torchvision').state_dict()


@pytest.mark.parametrize(
  ('naming', 'zipped', 'prefix', 'count'),
  [('torchvision', True, '', 464), ('kylemin', False, 'module.', 464)],
)
def test_logits_equal_pytorch(tmp_path, naming, zipped, prefix, count):
  net = random_s3d(naming, seed=3)
  tensors = {prefix + name: value for name, value in net.state_dict().items()}
  assert len(tensors) == count
  path = tmp_path / 's3d.pth'
  torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
  clip = np.random.default_rng(0).standard_normal((1, 16, 64, 64, 3)).astype(np.float32)

  found = s3d.load(str(path))
  variables = {'params': found.params, 'batch_stats': found.batch_stats}
  features = jax.jit(S3D().apply)(variables, clip)
  ours = features.pooled @ found.classifier['kernel'] + found.classifier['bias']

  with torch.inference_mode():
    theirs = net(torch.from_numpy(clip).permute(0, 4, 1, 2, 3)).numpy()
  assert theirs.std() > 0.5
  np.testing.assert_allclose(ours, theirs, atol=1e-4)
  assert found.naming == naming
  assert sum(x.size for x in jax.tree.leaves((found.params, found.classifier))) == 8_320_048


def test_statistics_belong_to_the_publisher():
  assert s3d.STATISTICS['kylemin'] == ((0.5,) * 3, (0.5,) * 3)
  assert s3d.STATISTICS['torchvision'][0] == (0.43216, 0.394666, 0.37645)


def test_missing_and_misshapen_tensors_are_named(tmp_path, state_dict):
  broken = dict(state_dict)
  del broken['features.0.0.0.weight']
  broken['classifier.1.weight'] = torch.zeros(27, 1024, 1, 1, 1)
  path = tmp_path / 'broken.pth'
  torch.save(broken, path)
  with pytest.raises(UserError) as error:
    s3d.load(str(path))
  assert 'features.0.0.0.weight missing' in str(error.value)
  assert 'classifier.1.weight of shape (27, 1024, 1, 1, 1) instead of (400' in str(error.value)
  assert '2 of 387' in str(error.value)
  assert '\n' not in str(error.value)


def test_another_networks_file_is_an_error_that_counts(tmp_path):
  path = tmp_path / 'other.pt'
  torch.save({'layer.weight': torch.zeros(3)}, path)
  with pytest.raises(UserError, match=r'missing and 384 more \(387 of 387 tensors\)'):
    s3d.load(str(path))


def test_truncated_file(tmp_path, state_dict):
  path = tmp_path / 's3d.pth'
  torch.save(state_dict, path)
  path.write_bytes(path.read_bytes()[:1_000_000])
  with pytest.raises(UserError, match='truncated'):
    s3d.load(str(path))


def test_unknown_source():
  with pytest.raises(UserError, match="unknown pretrained weights 'i3d': use s3d-kinetics400"):
    s3d.load('i3d')


def test_only_the_published_size_can_be_filled():
  with pytest.raises(
    UserError, match=r'needs an S3D of width=1\.0, but the encoder has width=0\.5'
  ):
    s3d.load_encoder('s3d-kinetics400', S3D(width=0.5))
