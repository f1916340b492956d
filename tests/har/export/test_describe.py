"""The description beside a file says what a user of it needs."""

import hashlib
import json
import types

import jax
import jax.numpy as jnp
import pytest

from har.errors import UserError
from har.export import describe
from har.export.exportable import Exportable
from tests import fakes


def call(_):
  return {'logits': jnp.zeros((1, 3)), 'next_carry_0': jnp.zeros((1, 8))}


def whole(inputs):
  return {'logits': call(inputs)['logits']}


def test_what_evaluations_found_of_a_stage(tmp_path):
  assert describe.measured_of(tmp_path, 'imu') == {}
  expert = {'temperature': 1.5, 'slope': 0.0, 'offset': 0.0, 'logarithm': False}
  (tmp_path / 'decision.json').write_text(json.dumps({'experts': {'imu': expert}}))
  shifts = {'imu': None, 'fusion': 0.1}
  (tmp_path / 'robustness.json').write_text(json.dumps({'harmless_shift': shifts}))
  assert describe.measured_of(tmp_path, 'imu') == {'calibration': expert}
  assert describe.measured_of(tmp_path, 'fusion') == {'harmless_shift': 0.1}
  (tmp_path / 'decision.json').write_text('{')
  with pytest.raises(UserError, match=r'decision\.json: .* evaluate the stages again'):
    describe.measured_of(tmp_path, 'imu')


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
    Exportable('fusion', 'float32', whole, whole, inputs),
    types.SimpleNamespace(names={n: f'{n}:0' for n in (*inputs, 'logits')}, any_batch=True),
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
  assert found['alarm'] is None
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


def test_the_state_of_a_step_comes_back():
  shapes = {'imu': (1, 6), 'carry_0': (1, 8)}
  inputs = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
  found = describe.describe(
    b'content',
    'onnx',
    Exportable('imu', 'int8', call, call, inputs, {'carry_0': 'next_carry_0'}),
    types.SimpleNamespace(
      names={n: f'{n}:0' for n in (*inputs, 'logits', 'next_carry_0')}, any_batch=False
    ),
    read=fakes.inputs_of({'imu': {'length': 48, 'fit': 'pad'}}),
    dataset=fakes.FakeDataset(),
  )
  assert found['open'].startswith("onnxruntime.InferenceSession('int8.step.onnx')")
  assert found['inputs']['imu']['shape'] == [1, 6]
  assert 'next sample' in found['inputs']['imu']['meaning']
  assert found['inputs']['imu']['steps'][0]['operation'] == 'pad'
  state = {'shape': [1, 8], 'dtype': 'float32'}
  meanings = [found['inputs']['carry_0'].pop('meaning')]
  meanings.append(found['outputs']['next_carry_0'].pop('meaning'))
  assert 'zeros at the start of a stream' in meanings[0]
  assert found['inputs']['carry_0'] == state | {'tensor': 'carry_0:0', 'from': 'next_carry_0'}
  assert found['outputs']['next_carry_0'] == state | {'tensor': 'next_carry_0:0', 'to': 'carry_0'}
  assert list(found['outputs']) == ['logits', 'next_carry_0']
