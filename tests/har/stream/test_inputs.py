"""What enters an exported file is what JAX's preprocessing gives, from recordings themselves."""

import av
import jax
import numpy as np
import pytest

from data_builders import flow as flows
from data_builders import video as films
from har.data import inputs as inputs_lib
from har.data import loader, protocols, windows
from har.errors import UserError
from har.stream.inputs import build
from tests import fakes
from tests.har.stream import exports

TOLERANCE = 1e-6  # of values of order 1, float32 on both sides


class Filmed(fakes.FakeDataset):
  """Its frames are noise, stored as the clips builder stores them."""

  def frames(self, i):
    rng = np.random.default_rng(i)
    pictures = rng.integers(0, 255, (7 + i, 36, 60, 3), np.uint8)
    return [av.VideoFrame.from_ndarray(one, format='rgb24') for one in pictures]

  def records(self, modalities):
    records = super().records(modalities)
    for i, one in enumerate(records[:4]):
      one['rgb'] = [films.shrink(frame, 20) for frame in self.frames(i)]
      one['flow'] = flows.encode(one['rgb'], 2)
    return records[:4]


def from_recording(about, name, record, sensors=1, frames=None):
  """What an input makes of a whole recording."""
  one = build(name, about, 0.0)
  rate = max(one.rates)
  if frames is not None:
    for t, frame in enumerate(frames):
      one.push(t / rate, frame)
  elif sensors == 1:
    for t, sample in enumerate(record['imu']):
      one.push(t / rate, sample)
  else:
    width = record['imu'].shape[1] // sensors
    for s, own in enumerate(one.rates):
      for t in np.flatnonzero(record['imu_mask'][:, s]):
        one.push(t / own, record['imu'][t, s * width : (s + 1) * width], s)
  one.end()
  assert one.unordered == 0
  count = len(frames) if frames is not None else len(record['imu'])
  return one.window(0.0, count / rate)


@pytest.mark.parametrize(
  'options',
  [
    {'length': 40, 'mean': (0.1,) * 6, 'std': (1.0, 2.0, 1.0, 2.0, 1.0, 2.0)},
    {'length': 70, 'fit': 'pad', 'mean': 0.3},
    {'length': 40, 'fit': 'pad'},
  ],
)
def test_one_sensor(options):
  data, built = fakes.FakeDataset(), inputs_lib.build('imu', options)
  records = data.records(('imu',))[:6]
  (batch,) = loader.eval_batches(records, range(6), {'imu': built}, 6)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={'imu': built}))
  about = exports.described(built, {n: x.shape for n, x in expected.items()}, data)
  for i, record in enumerate(records):
    found = from_recording(about, 'imu', record)
    assert set(found) == set(expected) == {'imu', 'imu_mask'}
    for name, x in found.items():
      np.testing.assert_allclose(x[0], expected[name][i], atol=TOLERANCE)


class Apart(fakes.FakeDataset):
  """Two sensors, one of half the rate and silent for a while."""

  def records(self, modalities):
    records = super().records(modalities)
    for one in records:
      mask = np.ones((len(one['imu']), 2), bool)
      mask[len(mask) // 2 + len(mask) % 2 :, 1] = False
      mask[8:45, 0] = False
      one['imu_mask'] = mask
      one['imu'] = one['imu'] * np.repeat(mask, 3, 1)
    return records


@pytest.mark.parametrize('smooth', [0.0, 0.2], ids=['sharp', 'smooth'])
@pytest.mark.parametrize('fit', ['resample', 'pad'])
def test_sensors_of_their_own_rates(fit, smooth):
  data = Apart()
  options = {'length': 48, 'fit': fit, 'rates': (50.0, 25.0), 'std': 2.0, 'smooth': smooth}
  built = inputs_lib.build('imu', options)
  records = data.records(('imu',))[:6]
  (batch,) = loader.eval_batches(records, range(6), {'imu': built}, 6)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={'imu': built}))
  about = exports.described(built, {'imu': expected['imu'].shape}, data)
  for i, record in enumerate(records):
    found = from_recording(about, 'imu', record, sensors=2)
    for name, x in found.items():
      np.testing.assert_allclose(x[0], expected[name][i], atol=TOLERANCE, err_msg=f'{name} {i}')
    assert (found['imu'][0, :, :3] == 0).all(1).any()


@pytest.mark.parametrize('stored', [True, False], ids=['as stored', 'as it is'])
@pytest.mark.parametrize(
  'options',
  [{'mean': (0.4, 0.5, 0.6)}, {'show': 'motion', 'apart': 1}, {'region': 'whole'}],
  ids=['colour', 'motion', 'whole'],
)
def test_video(options, stored):
  data = Filmed(metadata=exports.FACTS if stored else fakes.METADATA)
  built = inputs_lib.build('rgb', exports.VIDEO | options)
  records = data.records(('rgb',))
  if not stored:  # Without loss.
    for i, one in enumerate(records):
      one['rgb'] = [fakes.encode(frame.to_ndarray(), 'PNG') for frame in data.frames(i)]
  (batch,) = loader.eval_batches(records, range(4), {'rgb': built}, 4)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={'rgb': built}))['rgb']
  about = exports.described(built, {'rgb': expected.shape}, data)
  for i in range(4):
    found = from_recording(about, 'rgb', None, frames=data.frames(i))
    np.testing.assert_allclose(found['rgb'][0], expected[i], atol=TOLERANCE)


@pytest.mark.parametrize(
  ('options', 'later'),
  [
    ({'show': 'picture'}, '2 frames on'),
    ({'stack': 3, 'apart': 2, 'region': 'whole'}, '0.14 s on'),
  ],
)
def test_flow(options, later):
  notes = exports.STORED | {'flow': f'{flows.NOTE}; {later}'}
  rates = fakes.METADATA['rates'] | {'flow': 15.0}
  data = Filmed(metadata=fakes.METADATA | {'frames': notes, 'rates': rates})
  built = inputs_lib.build('flow', exports.VIDEO | options)
  (batch,) = loader.eval_batches(data.records(('rgb',)), range(4), {'flow': built}, 4)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={'flow': built}))['flow']
  about = exports.described(built, {'flow': expected.shape}, data)
  for i in range(4):
    found = from_recording(about, 'flow', None, frames=data.frames(i))
    np.testing.assert_allclose(found['flow'][0], expected[i], atol=TOLERANCE)
  assert expected.std() > 0.03
  about['stored'] = about['stored'].replace('DIS', 'TV-L1')
  with pytest.raises(
    UserError, match='does not say of which frames its flow is, or names another method'
  ):
    build('flow', about, 0.0)


@pytest.mark.parametrize(('seconds', 'step'), [(0.5, 0.25), (1.9, 0.0)])
@pytest.mark.parametrize('fit', ['resample', 'pad'])
def test_windows_are_those_of_training(seconds, step, fit):
  data, options = fakes.FakeDataset(), {'length': 95, 'fit': fit}
  built = inputs_lib.build('imu', options)
  splits = protocols.make_splits(data.index, data.metadata)
  cut, _ = windows.cut(data, splits, {'seconds': seconds, 'step': step}, {'imu': options})
  mine = np.flatnonzero(cut.recording == 0)
  batch = next(iter(loader.eval_batches(cut.records(('imu',)), mine, {'imu': built}, len(mine))))
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={'imu': built}))
  about = exports.described(built, {'imu': expected['imu'].shape}, cut)
  one = build('imu', about, 0.0)
  assert one.seconds == seconds
  for t, sample in enumerate(data.records(('imu',))[0]['imu']):
    one.push(t / 50, sample)
  for k in range(len(mine)):
    found = one.window(k * (step or seconds), seconds)
    for name, x in found.items():
      np.testing.assert_allclose(x[0], expected[name][k], atol=TOLERANCE)
