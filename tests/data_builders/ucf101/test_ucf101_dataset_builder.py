"""UCF101 from its owners' files: official splits as listed, every fault told."""

import os
import pathlib
import re
import shutil

import pytest

from configs import light_video
from data_builders.ucf101 import ucf101_dataset_builder as ucf101
from har.data import dataset, protocols
from har.errors import UserError
from tests.data_builders import films, rars, raw_trees

# The third is not where the alphabet has it.
CLASSES = ('Archery', 'HandstandPushups', 'Bowling')
NAMES = {'HandstandPushups': 'HandStandPushups'}
PUSHUPS = 'HandstandPushups/v_HandStandPushups_g01_c01.avi'
TESTING = {1: (1,), 2: (2,), 3: (1, 3)}  # groups by split


def paths():
  """Three groups of two videos of each class."""
  return [
    f'{name}/v_{NAMES.get(name, name)}_g{group:02}_c{clip:02}.avi'
    for name in CLASSES
    for group in (1, 2, 3)
    for clip in (1, 2)
  ]


def write(raw, *lines):
  """Lists with DOS line ends, as distributed."""
  raw.parent.mkdir(parents=True, exist_ok=True)
  raw.write_text(''.join(f'{line}\r\n' for line in lines), newline='')


@pytest.fixture
def raw_dir(tmp_path):
  lists = tmp_path / 'raw' / 'ucfTrainTestlist'
  write(lists / 'classInd.txt', *(f'{i} {name}' for i, name in enumerate(CLASSES, 1)))
  for split, groups in TESTING.items():
    tested = [path for path in paths() if int(path[-10:-8]) in groups]
    trained = [path for path in paths() if path not in tested]
    write(lists / f'testlist{split:02}.txt', *tested)
    number = {name: i for i, name in enumerate(CLASSES, 1)}
    rows = [f'{path} {number[path.partition("/")[0]]}' for path in trained]
    write(lists / f'trainlist{split:02}.txt', *rows)
  data = films.film('avi', 'mpeg4', times=range(2), size=(16, 16))
  for path in paths():
    target = tmp_path / 'raw' / 'UCF-101' / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
  return tmp_path / 'raw'


def load(tmp_path, raw_dir, **options):
  return dataset.load(
    'ucf101',
    ('rgb',),
    data_dir=str(tmp_path / 'data'),
    raw_dir=raw_dir,
    builder_options={'short_side': 16, **options},
  )


def official(data, fold):
  config = light_video.get_config('dataset=ucf101')
  assert (config.dataset.protocol, config.dataset.fold) == ('official', 1)
  options = protocols.SplitOptions.of({**config.dataset.to_dict(), 'fold': fold})
  return protocols.make_splits(data.index, data.metadata, options)


@pytest.fixture
def data(tmp_path, raw_dir):
  return load(tmp_path, raw_dir)


def test_official_splits_are_as_listed(data):
  assert (data.name, data.class_names) == ('ucf101', CLASSES)
  assert data.index.label.tolist().count(1) == 6
  for fold, groups in TESTING.items():
    splits = official(data, fold)
    tested = {f'{data.index.key[i]}.avi' for i in splits.test}
    assert tested == {path for path in paths() if int(path[-10:-8]) in groups}
    assert len(splits.train) == 18 - len(tested)
    assert (len(splits.validation), len(splits.unused)) == (0, 0)


def test_groups_are_those_of_a_class(data):
  assert len(set(data.index.group)) == 9
  at = data.index.key.tolist().index(PUSHUPS.removesuffix('.avi'))
  assert data.index.group[at] == 'HandstandPushups_g01'
  assert len(data.records(('rgb',))[at]['rgb']) == 2


def archive_videos(raw_dir):
  raw_trees.zip_folder(raw_dir / 'UCF-101')
  raw_trees.zip_folder(raw_dir / 'ucfTrainTestlist')


def pack_videos(raw_dir):
  (raw_dir / 'UCF101.rar').write_bytes(rars.folder_rar(raw_dir / 'UCF-101'))
  shutil.rmtree(raw_dir / 'UCF-101')


def extract_some(raw_dir):
  pack_videos(raw_dir)
  path = raw_dir / 'UCF-101' / PUSHUPS
  path.parent.mkdir(parents=True)
  path.write_bytes(films.film('avi', 'mpeg4', times=range(3), size=(16, 16)))


@pytest.mark.parametrize('pack', [archive_videos, pack_videos, extract_some])
def test_archives(tmp_path, raw_dir, monkeypatch, pack):
  pack(raw_dir)
  rars.install(tmp_path / 'bin')
  monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
  data = load(tmp_path, raw_dir)
  counts = [len(record['rgb']) for record in data.records(('rgb',))]
  at = data.index.key.tolist().index(PUSHUPS.removesuffix('.avi'))
  extracted = int(pack is extract_some)  # Which has a frame more.
  assert (len(counts), counts[at], sum(counts)) == (18, 2 + extracted, 36 + extracted)


def test_an_archive_is_not_unpacked_again_while_it_is_the_same(tmp_path, raw_dir, monkeypatch):
  extract_some(raw_dir)
  rars.install(tmp_path / 'bin')
  monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
  first = load(tmp_path, raw_dir)
  monkeypatch.setenv('PATH', str(tmp_path))
  again = load(tmp_path, raw_dir)
  assert again.index.key.tolist() == first.index.key.tolist()
  # Another file in place of one in the archive is noticed as ever, and so is a list.
  path = raw_dir / 'UCF-101' / 'Bowling' / 'v_Bowling_g01_c01.avi'
  path.parent.mkdir()
  path.write_bytes(b'another')
  with pytest.raises(UserError, match=r'1 new \(UCF-101/Bowling/v_Bowling_g01_c01\.avi\)'):
    load(tmp_path, raw_dir)
  path.unlink()
  archive = raw_dir / 'UCF101.rar'
  os.utime(archive, ns=(0, archive.stat().st_mtime_ns + 1))
  with pytest.raises(UserError, match=r'UCF101\.rar: install one of unrar, unar, bsdtar to'):
    load(tmp_path, raw_dir)


def test_without_a_program_for_its_archive(tmp_path, raw_dir, monkeypatch):
  pack_videos(raw_dir)
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(UserError, match=r'UCF101\.rar: install one of unrar, unar, bsdtar to'):
    load(tmp_path, raw_dir)
  assert not (tmp_path / 'data').exists()


def test_faults_are_named_and_can_be_left_out(tmp_path, raw_dir):
  for path in (raw_dir / 'UCF-101' / 'Archery').iterdir():
    path.unlink()
  (raw_dir / 'UCF-101' / 'Bowling' / 'v_Bowling_g09_c01.avi').write_bytes(b'')
  with pytest.raises(
    UserError, match=r'trainlist01\.txt, line 1: there is no file v_Archery_g02_c01\.avi; 7 records'
  ):
    load(tmp_path, raw_dir)
  data = load(tmp_path, raw_dir, allow_corrupt=7)
  # The numbers of the other classes stay what they are in the owners' list.
  assert data.class_names == CLASSES
  assert sorted(set(data.index.label.tolist())) == [1, 2]
  assert len(data.index) == 12


def test_a_file_in_no_list_and_one_that_is_there_twice(tmp_path, raw_dir):
  extra = raw_dir / 'UCF-101' / 'Bowling' / 'v_Bowling_g09_c01.avi'
  extra.write_bytes(b'')
  with pytest.raises(UserError, match=r'v_Bowling_g09_c01\.avi: is in no official list'):
    load(tmp_path, raw_dir)
  extra.rename(extra.with_name('v_bowling_g01_c01.AVI'))
  with pytest.raises(UserError, match=r'v_bowling_g01_c01\.AVI: is also .*; remove one'):
    load(tmp_path, raw_dir)


@pytest.mark.parametrize(
  ('name', 'old', 'new', 'message'),
  [
    ('trainlist02', 'g01_c01.avi 1', 'g01_c01.avi 2', 'line 1: Archery is not number 2 in class'),
    ('trainlist02', 'Archery/v_', 'Arch/v_', "trainlist02.txt, line 1: 'Arch' is no class of"),
    ('testlist03', 'Archery_g01_c01', 'Archery', 'line 1: .* is not CLASS/v_NAME_g01_c01.avi'),
    ('testlist03', 'Archery_g01_c01', 'Archery_g02_c01', 'g02_c01.avi is for training, too'),
    ('testlist01', 'Archery/v_Archery_g01_c01.avi', '', 'Archery_g01_c01.avi is in other official'),
    ('classInd', '2 Handstand', '3 Handstand', 'line 2: .* is not number 2 and a new class'),
  ],
)
def test_wrong_lists_are_told(tmp_path, raw_dir, name, old, new, message):
  path = raw_dir / 'ucfTrainTestlist' / f'{name}.txt'
  path.write_text(path.read_text().replace(old, new, 1))
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir)


def test_without_videos(tmp_path, raw_dir):
  shutil.rmtree(raw_dir / 'UCF-101')
  with pytest.raises(UserError, match=r'no file v_Archery_.*, nor any other of the 18 that are'):
    load(tmp_path, raw_dir)


def test_missing_lists_are_told(tmp_path, raw_dir):
  (raw_dir / 'ucfTrainTestlist' / 'testlist02.txt').unlink()
  with pytest.raises(UserError, match=r'has no testlist02\.txt; it is an official list'):
    load(tmp_path, raw_dir)
  shutil.rmtree(raw_dir / 'ucfTrainTestlist')
  with pytest.raises(UserError, match=re.escape(ucf101.Builder.WHERE_LISTS)):
    load(tmp_path, raw_dir)
  assert not pathlib.Path(tmp_path, 'data').exists()
