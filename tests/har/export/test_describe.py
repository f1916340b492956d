"""The description beside a file says what a user of it needs."""

import hashlib
import types

import jax
import jax.numpy as jnp

from har.export import describe
from tests import fakes


def test_inputs_labels_versions_and_checksum():
  inputs = {
    'imu': jax.ShapeDtypeStruct((1, 48, 6), jnp.float32),
    'imu_mask': jax.ShapeDtypeStruct((1, 48), jnp.float32),
    'imu_present': jax.ShapeDtypeStruct((1,), jnp.float32),
    'rgb': jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32),
  }
  found = describe.describe(
    b'content',
    'stablehlo',
    types.SimpleNamespace(stage='fusion', variant='float32', inputs=inputs),
    types.SimpleNamespace(names={n: f'{n}:0' for n in (*inputs, 'logits')}, any_batch=True),
    outputs={'logits': (3,)},
    read=fakes.inputs_of({'imu': {'length': 48}, 'rgb': {'frames': 4, 'resize': 20, 'size': 16}}),
    dataset=fakes.FakeDataset(),
  )
  assert found['sha256'] == hashlib.sha256(b'content').hexdigest()
  assert (found['stage'], found['variant'], found['bytes']) == ('fusion', 'float32', 7)
  assert found['labels'] == ['wave', 'swipe_left', 'swipe_right']
  assert found['outputs'] == {
    'logits': {
      'tensor': 'logits:0',
      'shape': ['batch', 3],
      'dtype': 'float32',
      'meaning': 'one per label; their softmax gives probabilities',
    }
  }
  assert found['batch'] == 'any'
  assert found['abnormal'] == []
  assert "deserialize(bytearray(open('float32.stablehlo', 'rb')" in found['open']
  assert found['open'].endswith(
    "{'imu': imu, 'imu_mask': imu_mask, 'imu_present': imu_present, 'rgb': rgb})"
  )
  assert found['inputs']['imu']['shape'] == ['batch', 48, 6]
  assert found['inputs']['imu']['rate_hz'] == 50.0
  assert found['inputs']['imu']['steps'][0]['operation'] == 'resample'
  assert found['inputs']['imu']['channels'][3] == {'name': 'gyroscope x', 'unit': 'deg/s'}
  assert found['inputs']['imu_mask']['dtype'] == 'float32'
  assert found['inputs']['imu_mask']['tensor'] == 'imu_mask:0'
  assert found['inputs']['imu_present'] == {
    'shape': ['batch'],
    'tensor': 'imu_present:0',
    'dtype': 'float32',
    'meaning': '1 where the example has imu, 0 where it has none at all',
  }
  assert found['inputs']['rgb']['steps'][2]['size'] == 16
  assert found['versions']['jax'] == jax.__version__
