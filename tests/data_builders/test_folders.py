"""Files of folders and archives are found, without litter, and never outside."""

import os
import zipfile

import pytest

from data_builders import folders
from har.errors import UserError


def fill(root, *paths, text='x'):
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
  return root


def test_files_of_folders_and_archives_without_litter(tmp_path):
  fill(tmp_path, 'b/2.csv', 'a.csv', 'Thumbs.db', '__MACOSX/a.csv', 'b/._2.csv', '@eaDir/x.csv')
  with zipfile.ZipFile(tmp_path / 'b' / 'c.zip', 'w') as archive:
    for name in ('c/1.csv', '__MACOSX/c/._1.csv', '2.csv'):
      archive.writestr(name, f'{name} inside')
  os.symlink(tmp_path, tmp_path / 'b' / 'circle')
  folder = folders.Folder(tmp_path)
  assert folder.paths == ['a.csv', 'b/2.csv', 'b/c.zip', 'b/c/1.csv']
  assert folder.read('b/2.csv', 10) == b'x'  # What is extracted counts.
  assert folder.read('b/c/1.csv', 20) == b'c/1.csv inside'
  assert folder.where('b/c/1.csv') == f'{tmp_path}/b/c.zip: c/1.csv'
  assert (folder.is_member('b/c/1.csv'), folder.is_member('a.csv')) == (True, False)
  for path in ('b/c/1.csv', 'a.csv'):
    with pytest.raises(UserError, match='too large'):
      folder.read(path, 0)
  folder.close()
  with pytest.raises(UserError, match='cannot be read'):
    folder.read('b/c/1.csv', 20)


@pytest.mark.parametrize('name', ['../a.csv', '/a.csv', 'b/../../a.csv'])
def test_archives_do_not_point_outside(tmp_path, name):
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    archive.writestr(name, 'x')
  with pytest.raises(UserError, match='points outside the archive'):
    folders.Folder(tmp_path)


@pytest.mark.parametrize('name', ['pipe.csv', 'zeros.csv', 'nowhere.csv'])
def test_what_is_no_file_is_not_listed(tmp_path, name):
  fill(tmp_path, 'folder/a.csv')
  if name == 'pipe.csv':
    os.mkfifo(tmp_path / name)
  else:
    (tmp_path / name).symlink_to('/dev/zero' if name == 'zeros.csv' else '/nowhere')
  with pytest.raises(UserError, match=f'{name}: neither a file nor a link to one'):
    folders.Folder(tmp_path)


@pytest.mark.parametrize('pipe', [False, True])
def test_what_is_no_file_any_more_is_not_read(tmp_path, pipe):
  fill(tmp_path, 'a.csv')
  folder = folders.Folder(tmp_path)
  (tmp_path / 'a.csv').unlink()
  if pipe:
    os.mkfifo(tmp_path / 'a.csv')
  with pytest.raises(UserError, match=r'a\.csv: (cannot be read|neither a file)'):
    folder.read('a.csv', 10)


def test_what_nobody_uses_is_counted_by_ending(tmp_path):
  fill(tmp_path, 'a/1.csv', 'a/2.csv.gz', 'b/3.csv.gz', 'LICENSE')
  with zipfile.ZipFile(tmp_path / 'more.zip', 'w') as archive:
    archive.writestr('b/4.csv', 'x')
    archive.writestr('b/inner.zip', 'x')
  folder = folders.Folder(tmp_path)
  found = folder.others({'a/1.csv', 'b/4.csv'})
  assert found == '.gz (2), no ending (1), .zip (1), the first LICENSE'
  assert folder.others(folder.paths) == ''


def test_folders_that_are_none(tmp_path):
  fill(tmp_path, 'b/1.MP4/2.mp4')
  with pytest.raises(UserError, match=r'1\.MP4: a folder named like a recording'):
    folders.Folder(tmp_path, ('.mp4',))
  with pytest.raises(UserError, match='no such folder'):
    folders.Folder(tmp_path / 'a')
  fill(tmp_path, 'a.zip')
  with pytest.raises(UserError, match=r'a\.zip: not a complete zip archive'):
    folders.Folder(tmp_path)


def test_a_file_that_is_in_two_archives(tmp_path):
  for name in ('a.zip', 'b.zip'):
    with zipfile.ZipFile(tmp_path / name, 'w') as archive:
      archive.writestr('1.csv', 'x')
  with pytest.raises(UserError, match=r'1\.csv is also in another archive'):
    folders.Folder(tmp_path)


def test_numbers_in_names_sort_as_numbers():
  assert sorted(['a10', 'A2', 'b1', 'a1'], key=folders.natural) == ['a1', 'A2', 'a10', 'b1']
