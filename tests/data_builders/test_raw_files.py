import dataclasses
import zipfile

import pytest

from data_builders.layout import Trial
from data_builders.raw_files import Collection
from har.errors import UserError
from tests.data_builders.raw_trees import LAYOUT, content, litter_beside, write_folder, zip_folder

FIRST = Trial(1, 1, 1)
NAME = 'a1_s1_t1_inertial.mat'


def collect(raw_dir, modalities=('imu',), require_complete=True) -> Collection:
  return Collection(raw_dir, LAYOUT, modalities, require_complete)


def test_folders_and_archives_hold_the_same(tmp_path):
  write_folder(tmp_path, 'imu')
  zip_folder(write_folder(tmp_path, 'skeleton'))
  with collect(tmp_path, ('imu', 'skeleton')) as collection:
    assert collection.trials == LAYOUT.expected()
    assert collection.missing == {}
    for modality in ('imu', 'skeleton'):
      assert collection.read(modality, FIRST) == content(modality, FIRST)
    assert collection.where('imu', FIRST) == str(tmp_path / 'Inertial' / NAME)
    archived = f'{tmp_path / "Skeleton.zip"}: a1_s1_t1_skeleton.mat'
    assert collection.where('skeleton', FIRST) == archived


def test_the_folder_goes_before_the_archive(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  folder.with_name('Inertial.zip').write_bytes(b'unfinished')
  assert len(collect(tmp_path).trials) == 7


@pytest.mark.parametrize('archived', [False, True])
def test_litter_is_ignored(archived, tmp_path):
  folder = write_folder(tmp_path, 'imu')
  for name in litter_beside(NAME):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b'x')
  if archived:
    with zipfile.ZipFile(zip_folder(folder), 'a') as target:
      target.writestr(f'__MACOSX/Inertial/._{NAME}', b'x')
      target.writestr('.DS_Store', b'x')
  with collect(tmp_path) as collection:
    assert collection.trials == LAYOUT.expected()
    assert collection.read('imu', FIRST) == content('imu', FIRST)


@pytest.mark.parametrize('archived', [False, True])
@pytest.mark.parametrize(
  'name', [f'{NAME}.part', f'{NAME}.crdownload', f'.{NAME}.Ab3dE7', f'.syncthing.{NAME}.tmp']
)
def test_a_half_download_is_not_litter(archived, name, tmp_path):
  folder = write_folder(tmp_path, 'imu')
  (folder / NAME).rename(folder / name)
  if archived:
    zip_folder(folder)
  refuse(tmp_path, f'{name}: {NAME} has not arrived yet', require_complete=False)


def test_an_archive_that_has_not_arrived_is_named(tmp_path):
  (tmp_path / 'Inertial.zip.part').write_bytes(b'PK')
  refuse(tmp_path, 'Inertial.zip.part: Inertial.zip has not arrived yet')


def test_links_to_files_that_are_not_there_are_named(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  (folder / NAME).unlink()
  (folder / NAME).symlink_to('../.git/annex/objects/a/b/SHA256E-s5--00.mat')
  refuse(tmp_path, f'{NAME}: a file of git-annex that is not here', require_complete=False)
  (folder / NAME).unlink()
  (folder / NAME).symlink_to('nowhere')
  refuse(tmp_path, f'{NAME}: neither a file nor a link to one', require_complete=False)


def refuse(raw_dir, fault: str, modalities=('imu',), require_complete=True) -> str:
  with pytest.raises(UserError, match=fault) as caught:
    collect(raw_dir, modalities, require_complete)
  assert '\n' not in str(caught.value)
  return str(caught.value)


def test_a_raw_dir_that_is_not_there(tmp_path):
  assert refuse(tmp_path / 'no', 'no such folder').startswith(str(tmp_path / 'no'))
  (tmp_path / 'file').write_bytes(b'')
  refuse(tmp_path / 'file', 'no such folder')


def test_a_raw_dir_of_something_else(tmp_path):
  write_folder(tmp_path, 'skeleton')
  message = refuse(tmp_path, 'neither Inertial.zip nor a folder Inertial', ('imu', 'skeleton'))
  assert message.startswith(str(tmp_path))


def test_a_missing_file_is_named(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  (folder / 'a1_s2_t1_inertial.mat').unlink()
  message = refuse(tmp_path, 'missing; ')
  assert message.startswith(f'{folder / "a1_s2_t1_inertial.mat"}: missing')
  assert 'require_complete=false' in message
  (folder / 'a2_s1_t1_inertial.mat').unlink()
  refuse(tmp_path, r'a1_s2_t1_inertial.mat: missing and 1 more of 7;')


@pytest.mark.parametrize(
  'name',
  [
    'a1_s1_t3_inertial.mat',
    'a3_s1_t1_inertial.mat',
    'a2_s2_t2_inertial.mat',
    'a01_s1_t1_inertial.mat',
    'a1_s1_t1_skeleton.mat',
    'a1_s1_t1_inertial.mat.old',
    'a1_s1_t1',
    'readme.txt',
  ],
)
def test_a_misnamed_file_is_named(tmp_path, name):
  folder = write_folder(tmp_path, 'imu')
  (folder / name).write_bytes(b'x')
  message = refuse(tmp_path, 'not the name of a known trial', require_complete=False)
  assert message.startswith(str(folder / name))


def test_a_folder_among_the_recordings_is_named(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  (folder / 'Inertial').mkdir()
  assert refuse(tmp_path, 'a folder where').startswith(str(folder / 'Inertial'))


def test_a_folder_in_a_folder_of_its_name_is_the_archive_unpacked(tmp_path):
  folder = write_folder(tmp_path / 'Inertial', 'imu')
  (tmp_path / 'Inertial' / '.DS_Store').write_bytes(b'x')
  collection = collect(tmp_path)
  assert collection.trials == LAYOUT.expected()
  assert collection.where('imu', FIRST) == str(folder / NAME)


def test_an_empty_file_is_named(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  (folder / NAME).write_bytes(b'')
  assert refuse(tmp_path, 'empty').startswith(str(folder / NAME))


def test_members_outside_the_archives_folder_are_refused(tmp_path):
  archive = zip_folder(write_folder(tmp_path, 'imu'))
  for name in (f'../Inertial/{NAME}', f'/Inertial/{NAME}', f'Inertial/../{NAME}', NAME):
    with zipfile.ZipFile(archive, 'w') as target:
      target.writestr(name, b'x')
    assert refuse(tmp_path, 'unexpected').startswith(f'{archive}: {name}')


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_member_twice_is_refused(tmp_path):
  archive = zip_folder(write_folder(tmp_path, 'imu'))
  with zipfile.ZipFile(archive, 'a') as target:
    target.writestr(f'Inertial/{NAME}', b'x')
  assert refuse(tmp_path, 'occurs twice').startswith(f'{archive}: {NAME}')


@pytest.mark.parametrize(
  ('data', 'fault'),
  [
    (b'', 'empty'),
    (b'<html>', 'a web page, .*; fetch the file itself'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00', 'a pointer of Git LFS'),
    (b'Rar!\x1a\x07\0' + bytes(200), 'packed by RAR'),
    (bytes(2000), 'nothing but zeros'),
    (b'PK\x03\x04' + bytes(200), 'not a complete zip archive'),
    (b'anything', 'not a complete zip archive'),
  ],
)
def test_what_is_no_archive_is_named(tmp_path, data, fault):
  archive = tmp_path / 'Inertial.zip'
  archive.write_bytes(data)
  assert refuse(tmp_path, fault).startswith(f'{archive}: ')


def test_a_truncated_archive_is_named(tmp_path):
  archive = zip_folder(write_folder(tmp_path, 'imu'))
  archive.write_bytes(archive.read_bytes()[:-100])
  assert refuse(tmp_path, 'not a complete zip archive').startswith(f'{archive}: ')


def test_a_damaged_member_is_named(tmp_path):
  archive = zip_folder(write_folder(tmp_path, 'imu'))
  data = bytearray(archive.read_bytes())
  data[100] ^= 255  # Within the first member.
  archive.write_bytes(data)
  with collect(tmp_path) as collection:
    with pytest.raises(UserError, match='damaged in the archive') as caught:
      collection.read('imu', FIRST)
    assert str(caught.value).startswith(f'{archive}: {NAME}: ')


def test_an_unreadable_file_is_named(tmp_path):
  folder = write_folder(tmp_path, 'imu')
  collection = collect(tmp_path)
  (folder / NAME).unlink()
  with pytest.raises(UserError, match='cannot be read') as caught:
    collection.read('imu', FIRST)
  assert str(caught.value).startswith(str(folder / NAME))


def test_the_intersection_tells_what_is_missing(tmp_path):
  write_folder(tmp_path, 'imu', [t for t in LAYOUT.expected() if t.trial == 1])
  write_folder(tmp_path, 'skeleton', [t for t in LAYOUT.expected() if t.action == 1])
  collection = collect(tmp_path, ('imu', 'skeleton'), require_complete=False)
  assert [t.key for t in collection.trials] == ['a1_s1_t1', 'a1_s2_t1']
  assert collection.missing == {
    'imu': ['a1_s1_t2', 'a1_s2_t2', 'a2_s1_t2'],
    'skeleton': ['a2_s1_t1', 'a2_s1_t2', 'a2_s2_t1'],
  }


def test_both_splits_need_a_trial(tmp_path):
  write_folder(tmp_path, 'imu', [t for t in LAYOUT.expected() if t.subject == 1])
  refuse(tmp_path, 'no test trial has all of imu', require_complete=False)
  swapped = dataclasses.replace(LAYOUT, train_subjects=(2,))
  with pytest.raises(UserError, match='no train trial'):
    Collection(tmp_path, swapped, ('imu',), False)
