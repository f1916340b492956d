"""Files appear whole or not at all."""

import os

import pytest

from har.errors import UserError
from har.evaluate import files


def test_folders_are_made_and_old_content_replaced(tmp_path):
  path = tmp_path / 'a' / 'b.txt'
  assert files.write_text(path, 'one\r\n') == path
  files.write_text(path, 'zwei ü\n')
  assert path.read_bytes() == 'zwei ü\n'.encode()
  assert os.listdir(path.parent) == ['b.txt']


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
  path = tmp_path / 'results.json'
  files.write_text(path, 'old')

  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(files.os, call, full)
  with pytest.raises(UserError, match=r'cannot write .*results\.json: No space left on device'):
    files.write_text(path, 'new')
  assert path.read_text() == 'old'
  assert os.listdir(tmp_path) == ['results.json']


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
  path = tmp_path / 'results.json'
  files.write_text(path, 'old')

  def interrupt(*args):
    raise KeyboardInterrupt

  monkeypatch.setattr(files.os, 'fsync', interrupt)
  with pytest.raises(KeyboardInterrupt):
    files.write_text(path, 'new')
  assert path.read_text() == 'old'
  assert os.listdir(tmp_path) == ['results.json']


def test_a_folder_that_is_a_file_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot write .*file/a\.txt'):
    files.write_text(tmp_path / 'file' / 'a.txt', '')


@pytest.mark.parametrize(
  ('count', 'text'), [(12, '12 B'), (592_492, '592 kB'), (33_280_192, '33.3 MB'), (2e9, '2 GB')]
)
def test_file_size(count, text):
  assert files.file_size(count) == text
