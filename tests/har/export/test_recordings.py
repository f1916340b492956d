"""The JSON beside a file is enough to feed it from recordings: nothing else of ours is read here.

`OPERATIONS` is what somebody would write who has only the descriptions, in NumPy and Pillow.
"""

import io
import itertools
import json
import math
import types

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import base
from data_builders import flow as coding
from har.data import inputs as inputs_lib
from har.data import loader, protocols, windows
from har.data.depth import decode_depth
from har.export import describe, exportable
from tests import fakes


def window(x, given):
  name = 'frames' if 'frames' in x else 'x'
  first = math.floor(x['window'] * given['step'] * given['rate'] + 0.5)
  count = math.floor(given['seconds'] * given['rate'] + 0.5)
  part = list(x[name][first : first + count])
  part += [x[name][-1]] * (count - len(part))
  x[name] = part if name == 'frames' else np.stack(part)


def resample(x, given):
  at = np.linspace(0, len(x['x']) - 1, given['length'])
  flat = x['x'].reshape(len(x['x']), -1)
  columns = [np.interp(at, np.arange(len(flat)), column) for column in flat.T]
  x['recorded'] = len(x['x'])
  x['x'] = np.stack(columns, -1).reshape(-1, *x['x'].shape[1:])
  x['mask'] = np.ones(given['length'])


def pad(x, given):
  count, length = len(x['x']), given['length']
  first = max(0, (count - length) // 2)
  kept = x['x'][first : first + length]
  x['recorded'] = count
  x['mask'] = (np.arange(length) < len(kept)).astype(float)
  x['x'] = np.zeros((length, *kept.shape[1:]))
  x['x'][: len(kept)] = kept


def scale_by_torso(x, given):
  torso = np.linalg.norm(x['x'][:, given['neck_joint']] - x['x'][:, given['centre_joint']], axis=-1)
  x['x'] = x['x'] / torso[x['mask'] == 1].mean()


def centre(x, given):
  joint = x['x'][:, given['joint'], None]
  x['x'] = x['x'] - (joint[:1] if given['of'] == 'first' else joint)


def normalise(x, given):
  x['x'] = (x['x'] - np.array(given['mean'])) / np.array(given['std'])


def mask(x, given):
  x['x'] = np.where(x['mask'].reshape(-1, *(1,) * (x['x'].ndim - 1)) == 1, x['x'], 0)


def velocities(x, given):
  real = int(x['mask'].sum())
  moved = np.zeros_like(x['x'])
  if real > 1:
    moved[:real] = np.gradient(x['x'][:real], axis=0)
  if given['fit'] == 'resample':
    moved = moved / ((x['recorded'] - 1) / (given['length'] - 1))
  x['x'] = np.concatenate([x['x'], moved], -1)


def choose_frames(x, given):
  count, frames = given['count'], x['frames']
  x['all'] = frames
  x['chosen'] = [int((i + 0.5) * len(frames) / count) for i in range(count)]
  x['pictures'] = [[frames[i]] for i in x['chosen']]


def neighbours(x, given):
  last = len(x['all']) - 1
  reach = (-given['apart'], 0, given['apart'])
  x['pictures'] = [[x['all'][min(max(i + by, 0), last)] for by in reach] for i in x['chosen']]


def square(x, given, part='middle'):
  def one(picture):
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    size = (given['size'], given['size'])
    box = (left, top, left + side, top + side) if part == 'middle' else None
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))

  clips = [[one(p) for p in group] for group in x['pictures']]
  if len(clips[0]) == 1:
    x['x'] = np.stack([group[0] for group in clips])
  elif clips[0][0].ndim == 2:
    x['x'] = np.stack([np.stack(group, -1) for group in clips])
  else:
    grey = [[p.astype(float).mean(-1) for p in group] for group in clips]
    x['x'] = np.round(np.stack([np.stack(group, -1) for group in grey]))


def whole(x, given):
  square(x, given, 'whole')


def crop_centre(x, given):
  start = (x['x'].shape[1] - given['size']) // 2
  end = start + given['size']
  x['x'] = x['x'][:, start:end, start:end] / 255


def motion(x, given):
  before, now, after = np.moveaxis(x['x'], -1, 0)
  x['x'] = np.stack([now, 0.5 + after - now, 0.5 + now - before], -1)


def person_box(x, given):
  """The recordings here are cut already."""


def brightness_of_depth(x, given):
  depth = np.stack([p for group in x['pictures'] for p in group]).astype(float)
  seen = depth[:, ::2, ::2]
  middle = np.sort(seen[seen > 0])[(np.count_nonzero(seen) - 1) // 2]
  grey = np.round(128 + (middle - depth) * 127 / (1000 * given['range']))
  x['x'] = np.where(depth == 0, 0, np.clip(grey, 1, 255)).astype(np.uint8)


def place(x, given):
  height, width = x['x'].shape[1:]
  scale = given['person'] / max(height, width)
  size = (max(round(width * scale), 1), max(round(height * scale), 1))
  small = [
    np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in x['x']
  ]
  apart = len(x['pictures'][0])  # 3 with neighbours
  small = np.stack(small).reshape(-1, apart, *size[::-1])
  out = np.zeros((len(small), given['size'], given['size'], 3))
  top, left = (given['size'] - size[1]) // 2, (given['size'] - size[0]) // 2
  out[:, top : top + size[1], left : left + size[0]] = np.moveaxis(small, 1, -1)
  x['x'] = out


def flow(x, given):
  grey = [np.asarray(Image.fromarray(frame).convert('L')) for frame in x['frames']]
  dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
  found = [dis.calc(a, b, None) for a, b in itertools.pairwise(grey)]
  x['moved'] = np.clip([*found, found[-1]], -given['bound'], given['bound'])


def levels(x, given):
  scale = (255 - given['still']) / given['bound']
  x['frames'] = list(np.round(given['still'] + scale * x['moved']).astype(np.uint8))


def stack(x, given):
  later = given['apart'] * np.arange(given['stack'])
  chosen = np.minimum(np.array(x['chosen'])[:, None] + later, len(x['all']) - 1)
  x['pictures'] = [[x['all'][i][..., axis] for i in row for axis in (0, 1)] for row in chosen]


def length(x, given):
  still = given['still'] / 255
  far = np.linalg.norm(x['x'] - still, axis=-1, keepdims=True)
  x['x'] = np.concatenate([x['x'], np.minimum(still + far, 1)], -1)


OPERATIONS = {
  f.__name__: f
  for f in list(globals().values())
  if isinstance(f, types.FunctionType) and f.__module__ == __name__
}


def from_recording(description, recording):
  """What the file takes, of one recording: by input, and by input and `_mask`."""
  found = {}
  for name, one in description['inputs'].items():
    if 'steps' not in one:
      continue
    given = recording[one['field']]
    x = {'frames': given} if isinstance(given, list) else {'x': np.asarray(given, np.float64)}
    x['window'] = recording.get('window')
    for each in one['steps']:
      OPERATIONS[each['operation']](x, each)
    assert list(x['x'].shape) == one['shape'][1:]
    found[name] = x['x']
    if f'{name}_mask' in description['inputs']:
      found[f'{name}_mask'] = x['mask']
  return found


def recordings(modalities):
  """As records hold them, and with frames decoded, as a camera would give them."""
  records = fakes.FakeDataset().records(modalities)
  decoded = []
  for record in records[:6]:
    one = dict(record)
    for name in set(modalities) & {'rgb', 'depth'}:
      one[name] = [_decoded(frame, name) for frame in record[name]]
    decoded.append(one)
  return records, decoded


def _decoded(frame, name):
  if name == 'depth':
    return decode_depth(frame)
  return np.asarray(Image.open(io.BytesIO(frame)).convert('RGB'))


VIDEO = {'frames': 4, 'resize': 20, 'size': 16}


def described(built, shapes, dataset=None):
  """As somebody finds it beside a file."""
  variant = exportable.Exportable('one', 'float32', dict, dict, shapes)
  runner = types.SimpleNamespace(names={name: name for name in shapes}, any_batch=True)
  found = describe.describe(
    b'',
    'stablehlo',
    variant,
    runner,
    read={built.name: built},
    dataset=dataset or fakes.FakeDataset(),
  )
  return json.loads(json.dumps(found))


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('imu', {'length': 40, 'mean': (0.1,) * 6, 'std': (1.0, 2.0, 1.0, 2.0, 1.0, 2.0)}),
    ('imu', {'length': 70, 'fit': 'pad', 'mean': 0.3}),
    ('imu', {'length': 40, 'fit': 'pad'}),
    ('skeleton', {'length': 24, 'velocity': 'frame', 'std': 0.4}),
    ('skeleton', {'length': 80, 'fit': 'pad', 'velocity': 'frame', 'scale': 'torso'}),
    ('skeleton', {'length': 24, 'centre': 'frame'}),
    ('rgb', {**VIDEO, 'mean': (0.4, 0.5, 0.6)}),
    ('rgb', {**VIDEO, 'show': 'motion', 'apart': 1, 'region': 'whole'}),
    ('depth', VIDEO),
    ('depth', {**VIDEO, 'show': 'motion', 'range': 0.3}),
  ],
)
def test_the_steps_lead_from_a_recording_to_what_the_model_sees(name, options):
  built = inputs_lib.build(name, options)
  records, decoded = recordings((name,))
  (batch,) = loader.eval_batches(records, range(6), {name: built}, 6)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={name: built}))
  shapes = {n: jax.ShapeDtypeStruct(x[:1].shape, jnp.float32) for n, x in expected.items()}
  description = described(built, shapes)
  for i, recording in enumerate(decoded):
    found = from_recording(description, recording)
    assert set(found) == set(expected)
    for key, x in found.items():
      np.testing.assert_allclose(x, expected[key][i], atol=2e-4, err_msg=f'{key} of {i}')


@pytest.mark.parametrize(
  'options', [{'stack': 3, 'apart': 2}, {'show': 'picture', 'region': 'whole'}]
)
def test_flow_is_found_as_described(options):
  noise = np.random.default_rng(0).integers(0, 255, (16, 60), dtype=np.uint8)
  wide = Image.fromarray(noise).convert('RGB').resize((240, 64), Image.Resampling.BICUBIC)
  frames = [wide.crop((40 - 2 * i, 0, 120 - 2 * i, 64)) for i in range(7)]
  frames = [fakes.encode(np.asarray(frame), 'JPEG') for frame in frames]
  built = inputs_lib.build('flow', {'frames': 4, 'resize': 32, 'size': 24, **options})
  batch = {'flow': built.read({'flow': coding.encode(frames)}, None)['flow'][None]}
  expected = np.asarray(inputs_lib.preprocess(batch, inputs={'flow': built})['flow'])
  spec = {'flow': jax.ShapeDtypeStruct(expected.shape, jnp.float32)}
  description = described(built, spec)
  assert [channel['unit'] for channel in description['inputs']['flow']['channels']] == 2 * [
    'pixels'
  ]
  recording = {'flow': [_decoded(frame, 'rgb') for frame in frames]}
  found = from_recording(description, recording)['flow']
  # But for JPEG, in which flow is stored.
  assert np.abs(found - expected[0]).mean() < 0.01
  assert np.abs(found).mean() > 0.1


# Recordings last 1.3 s, so that windows of 1.9 s are filled up.
@pytest.mark.parametrize(('seconds', 'step'), [(0.5, 0.25), (1.9, 0.0)])
@pytest.mark.parametrize(
  ('name', 'options'), [('imu', {'length': 40}), ('rgb', {**VIDEO, 'show': 'motion'})]
)
def test_windows_are_cut_as_described(name, options, seconds, step):
  built = inputs_lib.build(name, options)
  dataset = fakes.FakeDataset()
  splits = protocols.make_splits(dataset.index, dataset.metadata)
  config = {'seconds': seconds, 'step': step}
  windowed, _ = windows.cut(dataset, splits, config, {name: options})
  count = int((windowed.recording < 6).sum())
  (batch,) = loader.eval_batches(windowed.records((name,)), range(count), {name: built}, count)
  expected = jax.device_get(inputs_lib.preprocess(batch, inputs={name: built}))[name]
  description = described(
    built, {name: jax.ShapeDtypeStruct((1, *expected.shape[1:]), jnp.float32)}, windowed
  )
  _, decoded = recordings((name,))
  found = []
  for i, recording in enumerate(decoded):
    for k in range((windowed.recording == i).sum()):
      found.append(from_recording(description, recording | {'window': k})[name])
  np.testing.assert_allclose(found, expected, atol=2e-4)
  assert len(found) == count > (0 if step == 0 else 6)


def test_every_kind_describes_units_of_every_channel():
  for name in base.MODALITIES:
    built = inputs_lib.build(name, {})
    one = described(built, {name: jax.ShapeDtypeStruct((1, 2), jnp.float32)})['inputs'][name]
    assert len(one['channels']) == {'imu': 6, 'rgb': 3, 'depth': 1, 'skeleton': 20}[name]
    assert all(channel['unit'] for channel in one['channels'])
    assert (one['kind'], one['field']) == (built.kind, name)
    assert all(step['how'] for step in one['steps'])
