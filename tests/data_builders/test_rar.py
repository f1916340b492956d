"""RAR archives are unpacked by an installed program, within bounds, and nothing is left."""

import pathlib
import shutil
import tempfile

import pytest

from data_builders import folders, rar
from har.errors import UserError
from tests.data_builders import rars

FILES = {'a/b (1)!.avi': b'one', 'a/[c]#~@&+;.avi': b'two', 'd.txt': b''}
INNER = rars.rar(FILES)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
  (tmp_path / 'tmp').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
  return tmp_path / 'tmp'


@pytest.fixture
def archive(tmp_path):
  """One that holds another."""
  (tmp_path / 'raw').mkdir()
  path = tmp_path / 'raw' / '-x.rar'
  path.write_bytes(rars.rar({'e/inner.RAR': INNER, 'e/f.avi': b'three'}))
  return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
  """Puts programs in the place of all others."""

  def install(*arguments):
    rars.install(tmp_path / 'bin', *arguments)
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))

  return install


EXPECTED = {'e/f.avi': b'three', **{f'e/{name}': data for name, data in FILES.items()}}


def test_archives_in_an_archive(archive, installed, temporary):
  installed()
  unpacked = rar.Unpacked(archive)
  assert {name: unpacked.file(name).read_bytes() for name in unpacked.names} == EXPECTED
  unpacked.close()
  assert list(temporary.iterdir()) == []


@pytest.mark.parametrize('program', rar.TOOLS)
def test_with_a_real_program(archive, program, monkeypatch):
  if not (path := shutil.which(program)):
    pytest.skip('not installed')
  monkeypatch.setattr(shutil, 'which', lambda name: path if name == program else None)
  unpacked = rar.Unpacked(archive)
  assert {name: unpacked.file(name).read_bytes() for name in unpacked.names} == EXPECTED


def test_its_files_count_as_if_extracted_where_it_lies(archive, installed, temporary):
  installed()
  (archive.parent / 'e').mkdir()
  (archive.parent / 'e' / 'f.avi').write_bytes(b'extracted')
  folder = folders.Folder(archive.parent, ('.avi',))
  assert folder.paths == ['-x.rar', 'e/f.avi']
  folder.unpack('-x.rar')
  assert folder.paths == sorted(['-x.rar', *EXPECTED])
  assert folder.read('e/f.avi', 100) == b'extracted'
  assert folder.read('e/a/b (1)!.avi', 3) == b'one'
  assert folder.where('e/d.txt') == f'{archive}: e/d.txt'
  assert (folder.holder('e/d.txt'), folder.is_member('e/d.txt')) == (archive, True)
  assert folder.others(['e/f.avi']) == '.avi (2), .txt (1), the first e/a/[c]#~@&+;.avi'
  with pytest.raises(UserError, match=r'-x\.rar: e/a/b \(1\)!\.avi: too large'):
    folder.read('e/a/b (1)!.avi', 2)
  folder.close()
  assert list(temporary.iterdir()) == []


def test_a_file_in_two_archives(archive, installed):
  installed()
  folder = folders.Folder(archive.parent)
  (archive.parent / 'again.rar').write_bytes(archive.read_bytes())
  folder.unpack('-x.rar')
  with pytest.raises(UserError, match=r'again\.rar: e/a/.* is also in .*-x\.rar; remove one'):
    folder.unpack('again.rar')


def test_without_a_program_it_says_what_to_install(archive, tmp_path, monkeypatch, temporary):
  monkeypatch.setenv('PATH', str(tmp_path / 'nowhere'))
  with pytest.raises(UserError, match=r'-x\.rar: install one of unrar, unar, bsdtar to'):
    rar.Unpacked(archive)
  assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
  ('program', 'message'),
  [
    ('#!/bin/sh\necho; echo CRC failed >&2; exit 3', r'cannot be unpacked \(unrar: CRC failed\)'),
    ('#!/bin/sh\nexit 3', r'cannot be unpacked \(unrar: exit status 3\)'),
    ('#!/bin/sh\nfor f; do :; done; /bin/ln -s / "$f/x"', "'x' in it is no file; do not use it"),
    (
      '#!/bin/sh\nfor f; do :; done; while :; do echo 0123456789 >>"$f/x"; done',
      r'cannot be unpacked \(unrar: more than 1\d\d\d bytes',
    ),
  ],
)
def test_what_goes_wrong_is_told(archive, installed, temporary, monkeypatch, program, message):
  monkeypatch.setattr(rar, '_MORE_BYTES', 0)
  installed(program)
  with pytest.raises(UserError, match=message):
    rar.Unpacked(archive)
  assert list(temporary.iterdir()) == []


def test_what_is_none(archive, installed, monkeypatch):
  installed()
  archive.write_bytes(b'<!doctype html>')
  with pytest.raises(UserError, match=r'-x\.rar: a web page'):
    rar.Unpacked(archive)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(1, 1, 0))
  with pytest.raises(UserError, match=r'has 15 bytes, and .* room for 0; set TMPDIR'):
    rar.Unpacked(archive)
  assert pathlib.Path(archive).exists()
