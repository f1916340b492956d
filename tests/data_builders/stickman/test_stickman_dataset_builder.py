import io

import numpy as np
import pytest
from PIL import Image

from data_builders.stickman import generate, scene
from data_builders.stickman.stickman_dataset_builder import LAYOUT, Builder

SMALL = dict(subjects=(1, 2), trials=(1,))


@pytest.fixture
def small(monkeypatch):
  """Makes the generator write two subjects, one trial each."""
  write_raw = generate.write_raw
  monkeypatch.setattr(generate, 'write_raw', lambda out, **k: write_raw(out, **SMALL, **k))


def prepare(**options):
  builder = Builder(require_complete=False, **options)
  builder.download_and_prepare()
  return builder


def test_it_generates_when_no_raw_files_are_given(tmp_path, small):
  builder = prepare(data_dir=tmp_path, modalities=('rgb', 'imu', 'skeleton'))
  train, test = (builder.as_data_source(split=split) for split in ('train', 'test'))
  assert [train[i]['key'] for i in range(len(train))] == [
    f'a{action}_s1_t1'.encode() for action in range(1, 7)
  ]
  assert {int(test[i]['subject']) for i in range(len(test))} == {2}
  record = train[3]
  recording = generate.record(generate.make_studio(1), 'punch', 1)
  assert record['action'] == b'punch'
  assert record['label'] == 3
  np.testing.assert_allclose(record['imu'], recording.imu.astype(np.float32))
  np.testing.assert_allclose(record['skeleton'], recording.skeleton.astype(np.float32))
  assert len(record['rgb']) == len(recording.rgb)
  # The raw files went with TFDS's temporary folder.
  assert not [*tmp_path.rglob('*.avi'), *tmp_path.rglob('*.mat')]


def test_a_stored_frame_is_the_rendered_one(tmp_path, small):
  builder = prepare(data_dir=tmp_path, modalities=('rgb',))
  stored = builder.as_data_source(split='train')[0]['rgb'][0]
  frame = np.asarray(Image.open(io.BytesIO(stored)))
  rendered = generate.record(generate.make_studio(1), 'walk', 1).rgb[0]
  assert frame.shape == (scene.HEIGHT, scene.WIDTH, 3)
  assert np.abs(frame.astype(float) - rendered).mean() < 5


def test_raw_files_are_read_as_utd_mhads_are(tmp_path):
  raw = tmp_path / 'raw'
  generate.write_raw(raw, **SMALL, seed=5, modalities=('imu',))
  builder = prepare(data_dir=tmp_path / 'data', modalities=('imu',), raw_dir=raw)
  recording = generate.record(generate.make_studio(2, seed=5), 'run', 1, film=False)
  record = builder.as_data_source(split='test')[1]
  np.testing.assert_allclose(record['imu'], recording.imu.astype(np.float32))
  assert len(list(raw.rglob('*.mat'))) == 12


def test_the_description_of_the_dataset(tmp_path):
  builder = Builder(data_dir=tmp_path)
  metadata = builder.info.metadata
  assert builder.info.features['label'].names == list(LAYOUT.actions)
  assert metadata['rates'] == {'imu': 50.0, 'rgb': 15.0}
  assert metadata['train_subjects'] == [1, 3, 5, 7]
  assert metadata['flip_sensitive'] == []
  assert metadata['abnormal'] == ['fall', 'punch', 'push', 'nod_off']
