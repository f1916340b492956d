"""Records are found by list, by pattern or by class folder; what is not certain is refused."""

import pytest

from data_builders import catalogue, folders
from har.errors import UserError

WEDA = '{label}/U{subject}_R{trial}_{sensor}.csv'


def fill(root, *paths, text='x'):
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
  return root


def listed(root, rows, sensors=()):
  (root / 'labels.csv').write_text('\n'.join(rows))
  return catalogue.by_list(folders.Folder(root), 'labels.csv', sensors)


def test_a_pattern_gives_labels_columns_and_sensors(tmp_path):
  names = ('D01/U10_R1_gyro', 'D01/U10_R1_accel', 'D01/U2_R1_accel', 'F02/U2_R1_accel')
  fill(tmp_path, *(f'top/50Hz/{name}.csv' for name in names), 'top/other.csv')
  found = catalogue.by_pattern(folders.Folder(tmp_path), WEDA, ('accel', 'gyro'))
  assert [(e.key, e.label, dict(e.columns)) for e in found] == [
    ('D01/U2_R1', 'D01', {'subject': '2', 'trial': '1'}),
    ('D01/U10_R1', 'D01', {'subject': '10', 'trial': '1'}),
    ('F02/U2_R1', 'F02', {'subject': '2', 'trial': '1'}),
  ]
  assert found[1].files == {
    'accel': 'top/50Hz/D01/U10_R1_accel.csv',
    'gyro': 'top/50Hz/D01/U10_R1_gyro.csv',
  }


@pytest.mark.parametrize(
  ('pattern', 'sensors', 'message'),
  [
    ('{name}.csv', (), 'must have {label}'),
    ('{label}/{label}.csv', (), 'no name twice'),
    ('{label}_{sensor}.csv', (), 'go together'),
    ('{label}.csv', ('accel',), 'go together'),
    ('{label}/x.csv', (), 'no path ends like'),
    ('{label}_{name}.csv', (), r'a_b_c\.csv: fits pattern=.* in two ways'),
  ],
)
def test_wrong_patterns(tmp_path, pattern, sensors, message):
  fill(tmp_path, 'a_b_c.csv')
  with pytest.raises(UserError, match=message):
    catalogue.by_pattern(folders.Folder(tmp_path), pattern, sensors)


def test_two_files_for_one_record(tmp_path):
  fill(tmp_path, 'x/a/1.csv', 'y/a/1.csv')
  with pytest.raises(UserError, match=r'the same record as x/a/1\.csv'):
    catalogue.by_pattern(folders.Folder(tmp_path), '{label}/{trial}.csv', ())


def test_class_folders(tmp_path):
  fill(
    tmp_path, 'top/sit  down/10.MP4', 'top/sit  down/9.mp4', 'fall/a.b.mp4', 'x.mp4', 'fall/t.txt'
  )
  found = catalogue.by_folder(folders.Folder(tmp_path), ('.mp4',))
  assert [(e.key, e.label) for e in found] == [
    ('fall/a.b', 'fall'),
    ('sit  down/9', 'sit down'),
    ('sit  down/10', 'sit down'),
  ]
  with pytest.raises(UserError, match=r'neither a labels\.csv nor folders named by class'):
    catalogue.by_folder(folders.Folder(tmp_path), ('.csv',))


def test_class_folders_of_an_official_split(tmp_path):
  fill(tmp_path, 'Train/sit/1.mp4', 'val/sit/1.mp4', 'test/sit/1.mp4', 'test/fall/2.mp4')
  found = catalogue.by_folder(folders.Folder(tmp_path), ('.mp4',))
  assert [(e.key, e.label, e.columns['split']) for e in found] == [
    ('test/fall/2', 'fall', 'test'),
    ('test/sit/1', 'sit', 'test'),
    ('Train/sit/1', 'sit', 'train'),
    ('val/sit/1', 'sit', 'validation'),
  ]


def test_class_folders_of_which_some_only_lie_in_a_split(tmp_path):
  fill(tmp_path, 'train/sit/1.mp4', 'more/sit/2.mp4')
  found = catalogue.by_folder(folders.Folder(tmp_path), ('.mp4',))
  assert [(e.key, e.columns) for e in found] == [('sit/1', {}), ('sit/2', {})]


def test_a_list_with_parts_of_recordings(tmp_path):
  fill(tmp_path, 'a/1.csv', 'b/2.csv')
  rows = [
    'file,label,start,end,subject',
    'a/1.csv, fall ,1.5,3,7',
    '2.csv,sit,,,8',
    'a\\1.csv,sit,3,,7',
  ]
  found, faults = listed(tmp_path, rows)
  assert faults == []
  assert [(e.key, e.label, e.start, e.end, e.files['']) for e in found] == [
    ('a/1@1.5-3', 'fall', 1.5, 3.0, 'a/1.csv'),
    ('b/2', 'sit', None, None, 'b/2.csv'),
    ('a/1@3-', 'sit', 3.0, None, 'a/1.csv'),
  ]
  assert [e.columns for e in found] == [{'subject': s} for s in '787']


def test_a_list_of_several_sensors(tmp_path):
  fill(tmp_path, 'r1/Accelerometer.csv', 'r1/Gyroscope.csv', 'r2/Accelerometer.csv')
  sensors = ('Accelerometer', 'Gyroscope')
  rows = ['file,label', 'r1/{sensor}.csv,a', 'r2/{sensor}.csv,b']
  found, faults = listed(tmp_path, rows, sensors)
  assert [(e.key, sorted(e.files)) for e in found] == [('r1', [*sensors]), ('r2', [sensors[0]])]
  rows = ['Gyroscope,Accelerometer,label,key', 'r1/Gyroscope.csv,r1/Accelerometer.csv,a,first']
  (entry,), faults = listed(tmp_path, rows, sensors)
  assert faults == []
  assert (entry.key, entry.files['Gyroscope']) == ('first', 'r1/Gyroscope.csv')


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('c.csv,fall,,', "'c.csv': there is no such file"),
    ('../a/1.csv,fall,,', 'is not a path inside the folder'),
    ('/etc/passwd,fall,,', 'is not a path inside the folder'),
    ('C:\\1.csv,fall,,', 'is not a path inside the folder'),
    ('1.csv,fall,,', 'several files end so, a/1.csv and b/1.csv'),
    (',fall,,', 'names no file'),
    ('a/1.csv, ,,', 'the label is empty'),
    ('a/1.csv,fall,9.7,3', 'start 9.7 is not before end 3'),
    ('a/1.csv,fall,0.9 4.6,', "start '0.9 4.6' is no time"),
    ('a/1.csv,fall,,inf', "end 'inf' is no time"),
    ('a/1.csv,fall,"1,234",', 'it may be 1.234 or 1234'),
  ],
)
def test_faults_of_a_list_are_named_one_by_one(tmp_path, row, message):
  fill(tmp_path, 'a/1.csv', 'b/1.csv')
  found, (fault,) = listed(tmp_path, ['file,label,start,end', row, 'a/1.csv,sit,,'])
  assert fault.startswith(f'{tmp_path}/labels.csv, line 2: ')
  assert message in fault
  assert [entry.label for entry in found] == ['sit']


def test_decimal_commas_of_a_list(tmp_path):
  fill(tmp_path, 'a/1.csv')
  (entry,), _ = listed(tmp_path, ['\ufefffile;label;start;end', 'a/1.csv;fall;0,5;12,25'])
  assert (entry.start, entry.end) == (0.5, 12.25)


def test_a_list_of_nothing_but_faults(tmp_path):
  with pytest.raises(UserError, match=r"line 2: 'x\.csv': there is no .*; none of the 2 rows"):
    listed(tmp_path, ['file,label', 'x.csv,fall', 'y.csv,fall'])


def test_what_is_there_instead_is_named(tmp_path):
  folder = folders.Folder(fill(tmp_path, 'a/1.csv.gz', 'a/2.csv.gz', 'README'))
  there = r'; there is \.gz \(2\), no ending \(1\), the first README'
  with pytest.raises(UserError, match=there):
    catalogue.by_folder(folder, ('.csv',))
  with pytest.raises(UserError, match=there):
    catalogue.by_pattern(folder, '{label}/{trial}.csv', ())


def test_a_list_elsewhere(tmp_path):
  folder = folders.Folder(fill(tmp_path / 'data', 'a/1.csv'))
  fill(tmp_path, 'mine.csv', text='file,label\na/1.csv,fall\n')
  (entry,), _ = catalogue.by_list(folder, str(tmp_path / 'mine.csv'), ())
  assert entry.files == {'': 'a/1.csv'}
  with pytest.raises(UserError, match='set the option labels'):
    catalogue.by_list(folder, str(tmp_path / 'other.csv'), ())


def test_a_list_without_rows(tmp_path):
  with pytest.raises(UserError, match='no row below its header'):
    listed(tmp_path, ['file,label'])
