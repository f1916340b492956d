"""Exported models that several files of tests run; each is made once."""

import signal

import pytest

from tests import fakes
from tests.har.stream import exports


@pytest.fixture(autouse=True)
def signals_kept():
  """Commands that follow streams set handlers."""
  before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.fixture(scope='session')
def resampled(tmp_path_factory):
  """IMU, recordings resampled, no step file."""
  folder = tmp_path_factory.mktemp('resampled') / 'run'
  return exports.write(folder, {'imu': {'length': 40}}, {'imu': exports.CNN})


@pytest.fixture(scope='session')
def causal(tmp_path_factory):
  """IMU, recordings padded, an LSTM with its step file."""
  folder = tmp_path_factory.mktemp('causal') / 'run'
  return exports.write(folder, {'imu': {'length': 40, 'fit': 'pad'}}, {'imu': exports.LSTM})


@pytest.fixture(scope='session')
def film(tmp_path_factory):
  """Video, an image network and an LSTM with its step file."""
  folder = tmp_path_factory.mktemp('film') / 'run'
  return exports.write(folder, {'rgb': exports.VIDEO}, {'rgb': exports.TINY})


@pytest.fixture(scope='session')
def both(tmp_path_factory):
  """Two sensors and video, either of which may be absent."""
  folder = tmp_path_factory.mktemp('both') / 'run'
  inputs = {
    'imu': {'length': 40, 'fit': 'pad', 'rates': (50.0, 50.0)},
    'rgb': exports.VIDEO | {'optional': True},
  }
  encoders = {'imu': exports.CNN, 'rgb': {'kind': 'tiny'}}
  data = exports.Both(metadata=exports.FACTS | {'abnormal': ('swipe_left', 'swipe_right')})
  return exports.write(folder, inputs, encoders, data, {'kind': 'residual', 'hidden': 8})


@pytest.fixture(scope='session')
def anomaly(tmp_path_factory):
  """IMU, reconstructed."""
  folder = tmp_path_factory.mktemp('anomaly') / 'run'
  return exports.write(
    folder,
    {'imu': {'length': 40}},
    {'imu': exports.CNN},
    fakes.FakeDataset(metadata=exports.FACTS | {'abnormal': ('wave',)}),
    {'kind': 'decoder', 'bottleneck': 4},
    objective={'kind': 'reconstruct'},
  )
