import numpy as np
import pytest

from data_builders import raw_files
from data_builders.layout import Trial
from data_builders.utd_mhad.utd_mhad_dataset_builder import LAYOUT, Builder
from har.errors import UserError
from tests.data_builders import raw_trees


def test_the_dataset_has_its_known_counts():
  assert len(LAYOUT.expected()) == 861
  assert LAYOUT.counts() == {'train': 431, 'test': 430}
  for absent in (Trial(8, 1, 4), Trial(23, 6, 4), Trial(27, 8, 4)):
    assert absent not in LAYOUT.expected()


def test_the_actions_are_the_owners():
  assert len(LAYOUT.actions) == len(set(LAYOUT.actions)) == 27
  numbers = {1: 'swipe_left', 10: 'draw_circle_ccw', 19: 'knock', 22: 'jog', 27: 'squat'}
  assert {n: LAYOUT.actions[n - 1] for n in numbers} == numbers
  assert set(LAYOUT.flip_sensitive) < set(LAYOUT.actions)


def test_every_modality_has_an_address():
  names = {modality: url.rpartition('/')[2] for modality, url in Builder.URLS.items()}
  assert names == {
    'imu': 'Inertial.zip', 'rgb': 'RGB.zip', 'depth': 'Depth.zip', 'skeleton': 'Skeleton.zip'
  }  # fmt: skip


@pytest.fixture(scope='module')
def inertial(tmp_path_factory):
  """A complete archive of 861 short signals."""
  raw_dir = tmp_path_factory.mktemp('raw')
  raw_trees.zip_folder(raw_trees.write_folder(raw_dir, 'imu', LAYOUT.expected()))
  return raw_dir


def test_the_complete_imu_dataset(inertial, tmp_path):
  builder = Builder(modalities=['imu'], raw_dir=inertial, data_dir=tmp_path)
  builder.download_and_prepare()
  assert builder.data_dir == f'{tmp_path}/utd_mhad/imu/1.1.0'
  assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
    'train': 431,
    'test': 430,
  }
  assert 'Kehtarnavaz' in builder.info.citation
  last = builder.as_data_source(split='test')[429]
  assert (last['key'], last['label'], last['action']) == (b'a27_s8_t3', 26, b'squat')
  np.testing.assert_allclose(last['imu'], raw_trees.imu(Trial(27, 8, 3)), rtol=1e-6)
  first = builder.as_data_source(split='train')[0]
  assert (first['key'], first['label'], first['subject']) == (b'a1_s1_t1', 0, 1)


def test_one_trial_too_few(inertial, tmp_path):
  folder = raw_trees.write_folder(tmp_path / 'raw', 'imu', LAYOUT.expected()[:-1])
  with pytest.raises(UserError, match='missing') as caught:
    Builder(modalities=['imu'], raw_dir=tmp_path / 'raw', data_dir=tmp_path).download_and_prepare()
  assert str(caught.value).startswith(str(folder / 'a27_s8_t3_inertial.mat'))


def test_without_a_network_the_page_is_named(tmp_path, monkeypatch):
  def fail(*_, **__):
    raise ConnectionError('no route')

  monkeypatch.setattr('requests.get', fail)
  with pytest.raises(UserError, match=r'cannot download Depth\.zip Skeleton\.zip') as caught:
    Builder(modalities=['depth', 'skeleton'], data_dir=tmp_path).download_and_prepare()
  assert 'https://personal.utdallas.edu/~kehtar/UTD-MHAD.html' in str(caught.value)
  assert list(tmp_path.iterdir()) == []


def test_downloaded_archives_are_read(inertial, tmp_path, monkeypatch):
  cached = tmp_path / 'downloads' / 'owner_Inertial0123.zip'
  cached.parent.mkdir()
  cached.write_bytes((inertial / 'Inertial.zip').read_bytes())
  monkeypatch.setattr(
    'data_builders.preparation.download', lambda manager, urls, page: dict.fromkeys(urls, cached)
  )
  builder = Builder(modalities=['imu'], data_dir=tmp_path)
  builder.download_and_prepare()
  assert builder.info.splits['test'].num_examples == 430
  cached.write_bytes(cached.read_bytes()[:-50])
  with pytest.raises(UserError, match='not a complete zip archive') as caught:
    Builder(modalities=['imu'], require_complete=False, data_dir=tmp_path).download_and_prepare()
  assert str(caught.value).startswith(str(cached))


def test_the_raw_names_are_the_owners():
  assert raw_files.FOLDERS['imu'] + raw_files.SUFFIXES['imu'] == 'Inertial_inertial.mat'
  assert raw_files.FOLDERS['rgb'] + raw_files.SUFFIXES['rgb'] == 'RGB_color.avi'
