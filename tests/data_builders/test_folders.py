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


@pytest.mark.parametrize('target', ['', '/dev/zero', '/nowhere'])
def test_what_is_no_file_is_an_error(target, tmp_path):
  fill(tmp_path, 'folder/a.csv')
  odd = tmp_path / 'odd.csv'
  odd.symlink_to(target) if target else os.mkfifo(odd)
  with pytest.raises(UserError, match=r'odd\.csv: neither a file nor a link to one'):
    folders.Folder(tmp_path)


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
