"""What lies beside recordings, or in their place."""

import time

import pytest

from data_builders import litter
from har.errors import UserError
from tests.data_builders import raw_trees


@pytest.mark.parametrize('path', raw_trees.litter_beside('a1.avi'))
def test_what_systems_leave_is_litter(path):
  assert litter.is_litter(path)


@pytest.mark.parametrize(
  'path',
  [
    *('a1.avi', 'RGB/_a1.avi', 'nfs/a.mp4', 'thumbs/db.csv', '.hidden', 'a1.avi~', 'trash/a.csv'),
    *('a1.avi.part', 'a1.avi.crdownload', '.a1.avi.Ab3dE7', '.syncthing.a1.avi.tmp', 'a1:2.avi'),
  ],
)
def test_recordings_and_half_downloads_are_not(path):
  assert not litter.is_litter(path)


@pytest.mark.parametrize(
  'name',
  [
    *('a.avi.part', 'a.avi.PART', 'a.avi.crdownload', 'a.avi.download', 'a.avi.aria2'),
    *('.a.avi.Ab3dE7', '.a.avi.icloud', '.syncthing.a.avi.tmp', '~syncthing~a.avi.tmp'),
  ],
)
def test_a_half_download_tells_its_name(name):
  assert litter.unfinished(name) == 'a.avi'
  with pytest.raises(UserError, match=r'^raw/x: a.avi has not arrived yet'):
    litter.check_arrived('raw/x', name)


@pytest.mark.parametrize(
  'name', ['a.avi', 'part', '.part', '.labels.csv.backup', 'a.tmp', 'a.parts']
)
def test_other_files_have_arrived(name):
  assert litter.unfinished(name) == ''
  litter.check_arrived(name, name)


@pytest.mark.parametrize(
  ('data', 'word'),
  [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n', 'Git LFS'),
    (b'<!DOCTYPE html>\n<html>', 'web page'),
    (b'\xef\xbb\xbf  <!-- saved --> <HTML lang="en">', 'web page'),
    (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "">', 'web page'),
    (b'/annex/objects/SHA256E-s5--00.avi\n', 'git-annex'),
    (b'../../.git/annex/objects/a/b/SHA256E-s5--00.avi', 'git-annex'),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>', 'error message'),
    (b'{"error": "not found"}', 'error message'),
    (bytes(3), 'zeros'),
    (bytes(10**6) + b'1', 'zeros'),
    (b'\x1f\x8b\x08\0', 'gzip'),
    (b'PK\x03\x04', 'zip'),
    (b'Rar!\x1a\x07\0', 'RAR'),
    (b'timestamp,x,y,z\n', ''),
    (b'{"samples": []}', ''),
    (bytes(1023) + b'1', ''),
    (b'<?xml version="1.0"?><gpx>', ''),
    (b'', ''),
  ],
)
def test_what_stands_in_a_files_place_is_named(data, word):
  found = litter.mistaken(data)
  assert word in found
  assert bool(word) == bool(found)


def test_what_a_file_is_packed_by_may_be_expected():
  assert litter.mistaken(b'PK\x03\x04', 'zip') == ''
  assert 'zip' in litter.mistaken(b'PK\x03\x04', 'gzip')


def test_files_are_looked_at_in_no_time():
  started = time.process_time()
  litter.mistaken(b'<!-- -->' * 500)
  litter.mistaken(b' ' * 10**6)
  assert time.process_time() - started < 1
