"""What lies beside recordings, or in their place."""

import pytest

from data_builders import litter


@pytest.mark.parametrize(
  'path',
  [
    'Thumbs.db',
    'a/THUMBS.DB',
    'desktop.ini',
    'Desktop.ini',
    '.DS_Store',
    '@eaDir/a1.avi/SYNOFILE_THUMB_M.jpg',
    'a1.avi:Zone.Identifier',
    '._a1.avi',
    '.nfs0000000001',
    '__MACOSX/RGB/._a1.avi',
  ],
)
def test_what_systems_leave_is_litter(path):
  assert litter.is_litter(path)


@pytest.mark.parametrize('path', ['a1.avi', 'RGB/_a1.avi', 'nfs/a.mp4', 'thumbs/db.csv', '.hidden'])
def test_recordings_are_not(path):
  assert not litter.is_litter(path)


@pytest.mark.parametrize(
  ('data', 'word'),
  [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n', 'Git LFS'),
    (b'<!DOCTYPE html>\n<html>', 'web page'),
    (b'\xef\xbb\xbf  <!-- saved --> <HTML lang="en">', 'web page'),
    (b'timestamp,x,y,z\n', ''),
    (b'<?xml version="1.0"?><gpx>', ''),
    (b'', ''),
  ],
)
def test_what_stands_in_a_files_place_is_named(data, word):
  found = litter.mistaken(data)
  assert word in found
  assert bool(word) == bool(found)
