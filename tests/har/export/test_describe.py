"""The description beside a file says what a user of it needs."""

import hashlib

import jax
import jax.numpy as jnp

from har.export import describe
from tests import fakes


def test_inputs_labels_versions_and_checksum():
  inputs = {
    'imu': jax.ShapeDtypeStruct((1, 48, 6), jnp.float32),
    'imu_mask': jax.ShapeDtypeStruct((1, 48), bool),
    'imu_present': jax.ShapeDtypeStruct((1,), bool),
    'rgb': jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32),
  }
  found = describe.describe(
    b'content',
    'stablehlo',
    stage='fusion',
    variant='float32',
    inputs=inputs,
    read=fakes.inputs_of({'imu': {'length': 48}, 'rgb': {'frames': 4, 'resize': 20, 'size': 16}}),
    dataset=fakes.FakeDataset(),
  )
  assert found['sha256'] == hashlib.sha256(b'content').hexdigest()
  assert (found['stage'], found['variant'], found['bytes']) == ('fusion', 'float32', 7)
  assert found['labels'] == ['wave', 'swipe_left', 'swipe_right']
  assert found['output'] == {'name': 'logits', 'shape': ['batch', 3]}
  assert found['inputs']['imu']['shape'] == ['batch', 48, 6]
  assert found['inputs']['imu']['rate_hz'] == 50.0
  assert 'linear interpolation' in found['inputs']['imu']['steps'][0]
  assert found['inputs']['imu']['channels'][3] == {'name': 'gyroscope x', 'unit': 'deg/s'}
  assert found['inputs']['imu_mask']['dtype'] == 'bool'
  assert found['inputs']['imu_present'] == {
    'shape': ['batch'],
    'dtype': 'bool',
    'meaning': 'false where the example has no imu at all',
  }
  assert found['inputs']['rgb']['steps'][2] == 'keep rows and columns 2 to 17, and divide by 255'
  assert found['versions']['jax'] == jax.__version__
