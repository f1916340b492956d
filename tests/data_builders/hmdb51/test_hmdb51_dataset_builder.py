"""HMDB51 from its owners' files: official splits as listed, unused clips, odd names."""

import shutil
import tempfile

import pytest

from configs import light_video
from har.data import dataset, protocols
from har.errors import UserError
from tests.data_builders import films, rars

# By class and name: its parts in the three splits, 0 unused, 1 train, 2 test.
CLIPS = {
  'sword': {
    '#437_How_To_(HQ)!_sword_f_cm_np1_ba_med_0.avi': '120',
    '#437_How_To_(HQ)!_sword_f_cm_np1_ba_med_1.avi': '120',
    'A[b]c&d+e;f~g@h_sword_u_nm_np2_fr_goo_2.avi': '211',
    'RATRACE_sword_h_nm_np1_le_bad_7.avi': '012',
  },
  'sword_exercise': {
    'sword_in_sword_exercise_f_nm_np1_fr_goo_0.avi': '102',
    'RATRACE_sword_exercise_l_nm_np10_ri_bad_11.avi': '201',
  },
}
PARTS = {'0': 'unused', '1': 'train', '2': 'test'}


@pytest.fixture
def raw_dir(tmp_path):
  lists = tmp_path / 'raw' / 'testTrainMulti_7030_splits'
  lists.mkdir(parents=True)
  data = films.film('avi', 'mpeg4', times=range(2), size=(16, 16))
  for label, clips in CLIPS.items():
    for i in range(3):
      rows = (f'{name} {parts[i]} \n' for name, parts in clips.items())
      (lists / f'{label}_test_split{i + 1}.txt').write_text(''.join(rows))
    for name in clips:
      path = tmp_path / 'raw' / 'hmdb51_org' / label / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)
  return tmp_path / 'raw'


def load(tmp_path, raw_dir, **options):
  return dataset.load(
    'hmdb51',
    ('rgb',),
    data_dir=str(tmp_path / 'data'),
    raw_dir=raw_dir,
    builder_options={'short_side': 16, **options},
  )


def test_official_splits_are_as_listed(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir)
  assert (data.name, data.class_names) == ('hmdb51', ('sword', 'sword_exercise'))
  config = light_video.get_config('dataset=hmdb51')
  for fold in (1, 2, 3):
    options = protocols.SplitOptions.of({**config.dataset.to_dict(), 'fold': fold})
    splits = protocols.make_splits(data.index, data.metadata, options)
    for number, part in PARTS.items():
      expected = {
        f'{label}/{name}'
        for label, clips in CLIPS.items()
        for name, parts in clips.items()
        if parts[fold - 1] == number
      }
      assert {f'{data.index.key[i]}.avi' for i in getattr(splits, part)} == expected


def test_groups_are_what_clips_were_cut_from(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir)
  found = dict(zip(data.index.key.tolist(), data.index.group.tolist(), strict=True))
  assert sorted(found.values()) == [
    *('#437_How_To_(HQ)!', '#437_How_To_(HQ)!', 'A[b]c&d+e;f~g@h', 'RATRACE', 'RATRACE'),
    'sword_in',
  ]
  assert found['sword_exercise/RATRACE_sword_exercise_l_nm_np10_ri_bad_11'] == 'RATRACE'


def test_the_owners_archives(tmp_path, raw_dir, monkeypatch):
  videos, lists = raw_dir / 'hmdb51_org', raw_dir / 'testTrainMulti_7030_splits'
  inner = {f'{path.name}.rar': rars.folder_rar(path) for path in sorted(videos.iterdir())}
  (raw_dir / 'hmdb51_org.rar').write_bytes(rars.rar(inner))
  (raw_dir / 'test_train_splits.rar').write_bytes(rars.folder_rar(lists))
  shutil.rmtree(videos)
  shutil.rmtree(lists)
  rars.install(tmp_path / 'bin')
  (tmp_path / 'tmp').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
  monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
  data = load(tmp_path, raw_dir)
  names = {f'{label}/{name}' for label, clips in CLIPS.items() for name in clips}
  assert {f'{key}.avi' for key in data.index.key} == names
  assert [len(record['rgb']) for record in data.records(('rgb',))] == [2] * 6
  load(tmp_path, raw_dir)  # Nothing has changed.
  assert list((tmp_path / 'tmp').glob('unpacked_*')) == []


def test_faults_are_named_and_can_be_left_out(tmp_path, raw_dir):
  folder = raw_dir / 'hmdb51_org' / 'sword'
  (folder / 'RATRACE_sword_h_nm_np1_le_bad_7.avi').rename(folder / 'RATRACE_sword_8.avi')
  with pytest.raises(UserError, match=r'line 4: there is no file RATRACE_sword_h.*; 2 records'):
    load(tmp_path, raw_dir)
  assert len(load(tmp_path, raw_dir, allow_corrupt=2).index) == 5


@pytest.mark.parametrize(
  ('name', 'old', 'new', 'message'),
  [
    ('sword_test_split1', ' 0 ', ' 3 ', 'line 4: .* is not a file and 0, 1 or 2'),
    ('sword_test_split2', 'RATRACE_sword_h', 'RATRACE_wave_h', 'line 4: .* not named FILM_sword_'),
    ('sword_test_split3', 'RATRACE', 'RATS', 'sword_test_split1.txt: lacks RATS_sword_h'),
    ('sword_test_split1', 'med_1', 'med_0', 'line 2: #437_.* is there twice'),
  ],
)
def test_wrong_lists_are_told(tmp_path, raw_dir, name, old, new, message):
  path = raw_dir / 'testTrainMulti_7030_splits' / f'{name}.txt'
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir)


def test_missing_lists_are_told(tmp_path, raw_dir):
  (raw_dir / 'testTrainMulti_7030_splits' / 'sword_test_split2.txt').unlink()
  with pytest.raises(UserError, match=r'has no sword_test_split2\.txt; fetch the lists again'):
    load(tmp_path, raw_dir)
  shutil.rmtree(raw_dir / 'testTrainMulti_7030_splits')
  with pytest.raises(UserError, match=r'test_train_splits\.rar has them'):
    load(tmp_path, raw_dir)
