import io
import tarfile
import zipfile

import pytest

from data_builders.mmact import names, sources
from har.errors import UserError
from tests.data_builders import raw_trees

CLIPS = [names.Clip(s, 1, 1, 1, 'fall') for s in (1, 2)]
FILES = {
  **{clip.video_path: b'video %d' % clip.subject for clip in CLIPS},
  **{clip.event.sensor_path('gyro'): b'gyro %d' % clip.subject for clip in CLIPS},
}


def folder(path, files=FILES):
  for name, data in files.items():
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)
  return path


def zipped(path, files=FILES):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in files.items():
      archive.writestr(name, data)
  return path.parent


def tarred(path, files=FILES, mode='w:gz'):
  with tarfile.open(path, mode) as archive:
    for name, data in files.items():
      info = tarfile.TarInfo(name)
      info.size, info.mtime = len(data), 5
      archive.addfile(info, io.BytesIO(data))
  return path.parent


def content(found):
  files = {clip.video_path: file for clip, file in found.videos.items()}
  files |= {event.sensor_path(s): file for (s, event), file in found.sensors.items()}
  return {name: file.read() for name, file in files.items()}


WRITERS = {
  'folder': lambda path, files=FILES: folder(path / 'some' / 'where', files) and path,
  'zip': lambda path, files=FILES: zipped(path / 'MMAct.zip', files),
  'tar': lambda path, files=FILES: tarred(path / 'MMAct.tar', files, mode='w'),
  'tar.gz': lambda path, files=FILES: tarred(path / 'MMAct.tar.gz', files),
  'tar.xz': lambda path, files=FILES: tarred(path / 'MMAct.tar.xz', files, mode='w:xz'),
}


@pytest.mark.parametrize('form', WRITERS)
def test_files_are_found_and_read_however_they_are_kept(form, tmp_path):
  raw = tmp_path / 'raw'
  raw.mkdir()
  found = sources.find(WRITERS[form](raw), tmp_path / 'scratch')
  assert content(found) == FILES
  assert found.ignored == found.empty == []
  for clip in CLIPS:
    assert found.videos[clip].where.endswith(clip.video_path)
    assert str(raw) in found.videos[clip].where
    assert found.videos[clip].size == 7


def test_the_owners_archives_tell_the_stream_by_their_name(tmp_path):
  inside = {'subject1/scene1/session1/fall.csv': b'1'}
  raw = tarred(tmp_path / 'gyro_clip.tar.gz', inside)
  tarred(tmp_path / 'acc_phone_clip.tar.gz', {f'acc_phone_clip/{n}': b for n, b in inside.items()})
  found = sources.find(raw, tmp_path / 'scratch')
  assert set(found.sensors) == {('gyro', CLIPS[0].event), ('acc_phone', CLIPS[0].event)}


def test_a_compressed_tar_is_unpacked_once(tmp_path):
  (tmp_path / 'raw').mkdir()
  raw = tarred(tmp_path / 'raw' / 'MMAct.tar.gz')
  first = sources.find(raw, tmp_path / 'scratch')
  place = tmp_path / 'scratch'
  before = {p: p.stat().st_mtime_ns for p in place.rglob('*')}
  assert sources.find(raw, place) == first
  assert {p: p.stat().st_mtime_ns for p in place.rglob('*')} == before
  # An unpacking that was stopped is not taken for a whole one.
  next(place.glob('*/members.json')).unlink()
  assert content(sources.find(raw, place)) == FILES


def test_only_what_matters_is_unpacked(tmp_path):
  raw = tarred(tmp_path / 'MMAct.tar.gz')
  found = sources.find(raw, tmp_path / 'scratch', ('.csv',))
  assert not found.videos
  assert len(found.sensors) == 2
  assert len(list((tmp_path / 'scratch').rglob('*.mp4'))) == 0


def test_what_is_extracted_is_taken_before_an_archive(tmp_path):
  zipped(tmp_path / 'a.zip', {**FILES, CLIPS[0].video_path: b'other'})
  folder(tmp_path, {CLIPS[0].video_path: b'extracted'})
  read = content(sources.find(tmp_path, tmp_path / 'scratch'))
  assert read[CLIPS[0].video_path] == b'extracted'
  assert read[CLIPS[1].video_path] == b'video 2'


@pytest.mark.parametrize('form', WRITERS)
def test_litter_is_ignored_however_files_are_kept(form, tmp_path):
  with_litter = dict(FILES)
  for name in FILES:
    place, _, last = name.rpartition('/')
    with_litter |= {f'{place}/{one}': b'x' for one in raw_trees.litter_beside(last)}
  raw = tmp_path / 'raw'
  raw.mkdir()
  WRITERS[form](raw, with_litter)
  found = sources.find(raw, tmp_path / 'scratch')
  assert content(found) == FILES
  assert found.ignored == found.empty == []


@pytest.mark.parametrize('form', ['folder', 'zip', 'tar', 'tar.gz'])
@pytest.mark.parametrize('name', ['fall.mp4.part', 'fall.csv.crdownload', '.fall.mp4.Ab3dE7'])
def test_a_half_download_is_not_litter(form, name, tmp_path):
  files = {**FILES, f'subject3/cam1/scene1/session1/{name}': b'x'}
  WRITERS[form](tmp_path, files)
  with pytest.raises(UserError, match=rf'{name}: fall.* has not arrived yet'):
    sources.find(tmp_path, tmp_path / 'scratch')


def test_a_half_download_of_what_is_not_asked_for_does_not_matter(tmp_path):
  folder(
    tmp_path, {**FILES, 'subject3/cam1/scene1/session1/fall.mp4.part': b'x', 'a.txt.part': b''}
  )
  assert len(sources.find(tmp_path, tmp_path / 'scratch', ('.csv',)).sensors) == 2
  (tmp_path / 'MMAct.zip.download').mkdir()  # As Safari does.
  with pytest.raises(UserError, match=r'MMAct.zip has not arrived yet'):
    sources.find(tmp_path, tmp_path / 'scratch', ('.csv',))


@pytest.mark.parametrize('form', ['zip', 'tar', 'tar.gz'])
def test_an_archive_in_an_archive_is_named(form, tmp_path):
  WRITERS[form](tmp_path, {**FILES, 'parts/gyro_clip.tar.gz': b'x'})
  with pytest.raises(UserError, match=rf'MMAct.{form}: parts/gyro_clip.tar.gz: an archive in an'):
    sources.find(tmp_path, tmp_path / 'scratch')


def test_links_to_files_that_are_not_there_are_named(tmp_path):
  folder(tmp_path)
  path = tmp_path / 'subject1/cam1/scene1/session1/walking.mp4'
  path.symlink_to('../.git/annex/objects/a/b/SHA256E-s5--00.mp4')
  with pytest.raises(UserError, match=r'walking.mp4: a file of git-annex that is not here'):
    sources.find(tmp_path, tmp_path / 'scratch')
  path.unlink()
  (tmp_path / 'MMAct.zip').symlink_to('nowhere')
  with pytest.raises(UserError, match=r'MMAct.zip: neither a file nor a link to one'):
    sources.find(tmp_path, tmp_path / 'scratch')


def test_empty_folders_and_other_files_are_listed(tmp_path):
  folder(tmp_path, {**FILES, 'untrimmed/day1.mp4': b'x', '__MACOSX/._a.mp4': b'', 'read.me': b''})
  (tmp_path / 'subject8' / 'cam1' / 'scene2' / 'session5').mkdir(parents=True)
  found = sources.find(tmp_path, tmp_path / 'scratch')
  assert found.ignored == [str(tmp_path / 'untrimmed/day1.mp4')]
  assert found.empty == [str(tmp_path / 'subject8' / 'cam1' / 'scene2' / 'session5')]


def test_links_in_a_circle_end(tmp_path):
  folder(tmp_path)
  (tmp_path / 'subject1' / 'again').symlink_to(tmp_path)
  assert content(sources.find(tmp_path, tmp_path / 'scratch')) == FILES


@pytest.mark.parametrize(
  'name', ['/etc/fall.csv', '../../subject1/cam1/scene1/session1/fall.mp4', '..\\fall.mp4']
)
@pytest.mark.parametrize('write', [zipped, tarred])
def test_members_that_point_outside_are_refused(write, name, tmp_path):
  suffix = {zipped: 'zip', tarred: 'tar.gz'}[write]
  raw = write(tmp_path / f'bad.{suffix}', {name: b'x'})
  with pytest.raises(UserError, match=rf'bad.{suffix}: .* points outside the archive'):
    sources.find(raw, tmp_path / 'scratch')
  assert [p.name for p in tmp_path.iterdir() if p.name != 'scratch'] == [f'bad.{suffix}']


@pytest.mark.parametrize('suffix', ['zip', 'tar', 'tar.gz', 'tgz', 'tar.xz'])
@pytest.mark.parametrize(
  ('data', 'fault'),
  [
    (b'', 'empty'),
    (b'no archive at all', 'not a complete archive'),
    (b'PK\x03\x04' + bytes(40), '(not a complete archive|packed by zip)'),
    (b'Rar!\x1a\x07\x01\0' + bytes(40), 'packed by RAR'),
    (b'<!DOCTYPE html><html>', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid', 'a pointer of Git LFS'),
    (bytes(20480), 'nothing but zeros'),
  ],
)
def test_what_is_no_archive_is_named(suffix, data, fault, tmp_path):
  (tmp_path / f'bad.{suffix}').write_bytes(data)
  with pytest.raises(UserError, match=rf'bad.{suffix}: {fault}'):
    sources.find(tmp_path, tmp_path / 'scratch')


@pytest.mark.parametrize('suffix', ['zip', 'tar', 'tar.gz'])
def test_truncated_archives_are_named(suffix, tmp_path):
  WRITERS[suffix](tmp_path)
  path = tmp_path / f'MMAct.{suffix}'
  path.write_bytes(path.read_bytes()[:700] if suffix == 'tar' else path.read_bytes()[:-60])
  with pytest.raises(UserError, match=rf'MMAct.{suffix}'):
    content(sources.find(tmp_path, tmp_path / 'scratch'))


def test_a_file_damaged_in_a_zip_is_named(tmp_path):
  raw = zipped(tmp_path / 'a.zip', {CLIPS[0].video_path: b'0123456789' * 50})
  data = bytearray((tmp_path / 'a.zip').read_bytes())
  data[80] ^= 255
  (tmp_path / 'a.zip').write_bytes(data)
  file = sources.find(raw, tmp_path / 'scratch').videos[CLIPS[0]]
  with pytest.raises(UserError, match=r'a.zip: subject1.*fall.mp4: cannot be read'):
    file.read()


def test_one_clip_twice(tmp_path):
  folder(tmp_path, {CLIPS[0].video_path: b'', CLIPS[0].video_path.replace('fall', 'Fall'): b''})
  with pytest.raises(UserError, match=r'fall.mp4: the same clip as .*Fall.mp4; remove one'):
    sources.find(tmp_path, tmp_path / 'scratch')


def test_files_that_are_too_large_or_gone_are_named(tmp_path, monkeypatch):
  found = sources.find(folder(tmp_path), tmp_path / 'scratch')
  file = found.videos[CLIPS[0]]
  monkeypatch.setitem(sources.MAX_BYTES, '.mp4', 6)
  with pytest.raises(UserError, match=r'fall.mp4: too large \(7 bytes\)'):
    file.read()
  monkeypatch.undo()
  (tmp_path / CLIPS[0].video_path).write_bytes(b'short')
  with pytest.raises(UserError, match='ends after 5 of 7 bytes'):
    file.read()
  (tmp_path / CLIPS[0].video_path).unlink()
  with pytest.raises(UserError, match=r'cannot be read \(No such file'):
    file.read()


def test_no_folder(tmp_path):
  with pytest.raises(UserError, match='none: no such folder'):
    sources.find(tmp_path / 'none', tmp_path / 'scratch')
