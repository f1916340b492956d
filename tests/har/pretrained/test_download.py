"""A download is checked, cached, and leaves nothing half-written."""

import hashlib

import pytest

from har.errors import UserError
from har.pretrained import download

CONTENT = b'weights'
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def url(tmp_path):
  (tmp_path / 'site').mkdir()
  (tmp_path / 'site' / 's3d.pth').write_bytes(CONTENT)
  return (tmp_path / 'site' / 's3d.pth').as_uri()


def test_fetched_once(tmp_path, url):
  path = download.fetch(url, DIGEST, tmp_path / 'cache', '')
  assert path == tmp_path / 'cache' / 's3d.pth'
  assert path.read_bytes() == CONTENT
  (tmp_path / 'site' / 's3d.pth').unlink()
  assert download.fetch(url, DIGEST, tmp_path / 'cache', '') == path


def test_wrong_checksum_leaves_nothing(tmp_path, url):
  with pytest.raises(UserError, match='arrived with a wrong checksum'):
    download.fetch(url, '00000000', tmp_path / 'cache', '')
  assert list((tmp_path / 'cache').iterdir()) == []


def test_damaged_copy(tmp_path, url):
  download.fetch(url, DIGEST, tmp_path / 'cache', '').write_bytes(b'weigh')
  with pytest.raises(UserError, match=r's3d.pth has a wrong checksum: delete it'):
    download.fetch(url, DIGEST, tmp_path / 'cache', '')


def test_a_web_page_is_named(tmp_path):
  (tmp_path / 's3d.pth').write_bytes(b'<!DOCTYPE html><html>Please log in')
  with pytest.raises(UserError, match=r's3d.pth arrived with .*; it is a web page'):
    download.fetch((tmp_path / 's3d.pth').as_uri(), DIGEST, tmp_path / 'cache', '')


def test_unreachable(tmp_path):
  missing = (tmp_path / 'nothing.pth').as_uri()
  with pytest.raises(UserError) as error:
    download.fetch(missing, DIGEST, tmp_path / 'cache', 'pass a path')
  assert missing in str(error.value)
  assert str(tmp_path / 'cache' / 'nothing.pth') in str(error.value)
  assert str(error.value).endswith('pass a path')
  assert list((tmp_path / 'cache').iterdir()) == []
