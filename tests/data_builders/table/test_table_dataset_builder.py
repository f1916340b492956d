"""Folders of CSV recordings become datasets; every fault is named, and nothing is guessed."""

import csv
import os
import pickle
import shutil

import numpy as np
import pytest

from data_builders.table.table_dataset_builder import Builder
from har.data import dataset, protocols
from har.errors import UserError

RATE = 20.0
PATTERN = '{label}/U{subject}_R{trial}_{sensor}.csv'
TWO = {'sensors': ('accel', 'gyro'), 'rates': (20, 10), 'pattern': PATTERN}


def write(path, value, *, rate=RATE, seconds=2.0, start=100.0, header='time,x,y,z'):
  """A ramp from `value` on three channels: x grows by 1 a second, y is its negative, z 10."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('w', newline='') as file:
    lines = csv.writer(file)
    lines.writerow(header.split(','))
    for i in range(round(seconds * rate) + 1):
      x = value + i / rate
      lines.writerow([start + i / rate, x, -x, 10])


@pytest.fixture
def raw_dir(tmp_path):
  """Two labels by two people, accelerometers at 20 Hz and gyroscopes at 10 Hz 0.5 s later."""
  for label, subject, value in (('D1', 1, 0), ('D1', 2, 1), ('F1', 1, 2), ('F2', 2, 3)):
    stem = tmp_path / 'raw' / label / f'U{subject:02d}_R1'
    write(stem.with_name(f'{stem.name}_accel.csv'), value)
    write(stem.with_name(f'{stem.name}_gyro.csv'), value, rate=10, seconds=1.5, start=100.5)
  return tmp_path / 'raw'


def load(tmp_path, raw_dir, title='toy', *, require_complete=True, **options):
  return dataset.load(
    'table',
    ('imu',),
    data_dir=str(tmp_path / 'data'),
    raw_dir=raw_dir,
    require_complete=require_complete,
    builder_options={'title': title, 'rates': RATE, **options},
  )


def listed(raw_dir, *rows):
  (raw_dir / 'labels.csv').write_text('\n'.join(rows))
  return raw_dir


def test_sensors_of_different_rates_by_a_pattern(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir, **TWO, units=('m/s^2', 'rad/s'))
  assert data.class_names == ('D1', 'F1', 'F2')
  assert data.index.key.tolist() == ['D1/U01_R1', 'D1/U02_R1', 'F1/U01_R1', 'F2/U02_R1']
  assert data.index.label.tolist() == [0, 0, 1, 2]
  assert data.index.subject.tolist() == [1, 2, 1, 2]
  record = data.records(('imu',))[1]
  x, mask = record['imu'], record['imu_mask']
  assert (x.shape, mask.shape) == ((41, 6), (41, 2))
  np.testing.assert_allclose(x[:, 0], 1 + np.arange(41) / 20, atol=1e-5)
  np.testing.assert_allclose(x[:, :3] @ [1, 1, 1], 10, atol=1e-5)
  # The gyroscope fills half the rows, and starts half a second later.
  assert mask[:, 0].all()
  assert np.flatnonzero(mask[:, 1]).tolist() == list(range(5, 21))
  np.testing.assert_allclose(x[5:21, 3], 1 + np.arange(16) / 10, atol=1e-5)
  assert not x[~mask[:, 1], 3:].any()
  assert data.metadata['rates'] == {'imu': 20.0}
  assert data.metadata['stream_rates'] == {'accel': 20.0, 'gyro': 10.0}
  assert [list(pair) for pair in data.channels['imu']] == [
    *(['accel ' + axis, 'm/s^2'] for axis in 'xyz'),
    *(['gyro ' + axis, 'rad/s'] for axis in 'xyz'),
  ]


def test_units_of_each_channel(tmp_path, raw_dir):
  units = ('g', 'g', 'g', 'deg/s', 'deg/s', 'rad/s')
  data = load(tmp_path, raw_dir, **TWO, units=units)
  assert [unit for _, unit in data.channels['imu']] == list(units)


def test_classes_gather_labels_in_the_order_given(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir, **TWO, classes=(('fall', 'F*'), ('daily', 'D*')))
  assert data.class_names == ('fall', 'daily')
  assert data.index.label.tolist() == [1, 1, 0, 0]
  assert data.index.action.tolist() == ['D1', 'D1', 'F1', 'F2']


@pytest.mark.parametrize(
  ('classes', 'message'),
  [
    ((('fall', 'F*'),), "'D1' fits none"),
    ((('fall', 'F*'), ('daily', 'D*'), ('run', 'R*')), "no label is of the class 'run'"),
  ],
)
def test_wrong_classes(tmp_path, raw_dir, classes, message):
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir, **TWO, classes=classes)


def test_parts_of_a_recording_by_a_list(tmp_path):
  raw_dir = tmp_path / 'raw'
  write(raw_dir / 'day.csv', 0, seconds=10)
  rows = ('file,label,start,end,subject', 'day.csv,sit,101,102,ada', 'day.csv,run,105.5,,ada')
  data = load(tmp_path, listed(raw_dir, *rows), columns=('x',))
  assert data.index.key.tolist() == ['day@101-102', 'day@105.5-']
  sit, run = (record['imu'] for record in data.records(('imu',)))
  np.testing.assert_allclose(sit[:, 0], 1 + np.arange(20) / 20, atol=1e-5)
  np.testing.assert_allclose(run[:, 0], 5.5 + np.arange(91) / 20, atol=1e-5)
  assert data.index.subject.tolist() == ['ada', 'ada']


def test_class_folders_without_time_stamps(tmp_path):
  for label, rows in (('walk', '1;2\n3;4\n'), ('sit', '5;6\n')):
    (tmp_path / 'raw' / label).mkdir(parents=True)
    (tmp_path / 'raw' / label / '1.csv').write_text(rows)
  data = load(tmp_path, tmp_path / 'raw', time='')
  assert data.class_names == ('sit', 'walk')
  assert [r['imu'].tolist() for r in data.records(('imu',))] == [[[5, 6]], [[1, 2], [3, 4]]]


def test_columns_are_numbers_only_where_all_are(tmp_path):
  raw_dir = tmp_path / 'raw'
  for i in range(3):
    write(raw_dir / f'{i}.csv', i)
  rows = ('file,label,subject,room,phone', '0.csv,a,01,1,00123', '1.csv,a,2,hall,0123')
  data = load(tmp_path, listed(raw_dir, *rows, '2.csv,b,10,2,7'))
  assert data.index.subject.tolist() == [1, 2, 10]
  assert data.index.room.tolist() == ['1', 'hall', '2']
  # As numbers two of them would be the same.
  assert data.index.phone.tolist() == ['00123', '0123', '7']


@pytest.mark.parametrize(
  ('columns', 'values', 'groups'),
  [
    ('group', ('x', '', 'x', ''), ['x', '1.csv', 'x', '3.csv']),
    ('subject', ('7', '8', '7', '9'), [7, 8, 7, 9]),
    ('subject,group', ('1,5', '2,5', '3,6', '4,6'), [5, 5, 6, 6]),
    ('trial', ('1', '2', '1', '2'), ['0.csv', '1.csv', '2.csv', '3.csv']),
  ],
)
def test_records_have_groups_that_folds_do_not_part(tmp_path, columns, values, groups):
  raw_dir = tmp_path / 'raw'
  for i in range(4):
    write(raw_dir / f'{i}.csv', i)
  rows = (f'{i}.csv,a,{value}' for i, value in enumerate(values))
  data = load(tmp_path, listed(raw_dir, f'file,label,{columns}', *rows))
  assert data.index.group.tolist() == groups
  options = protocols.SplitOptions(protocol='folds', fold=1, folds=2, group='group')
  splits = protocols.make_splits(data.index, data.metadata, options)
  assert not {groups[i] for i in splits.train} & {groups[i] for i in splits.test}


def test_parts_of_one_recording_are_one_group(tmp_path, capfd):
  raw_dir = tmp_path / 'raw'
  for i in range(2):
    write(raw_dir / f'{i}.csv', i)
  rows = ('0.csv,a,100,101', '0.csv,b,101,102', '1.csv,a,100,101', '1.csv,b,101,102')
  data = load(tmp_path, listed(raw_dir, 'file,label,start,end', *rows))
  assert data.index.group.tolist() == ['0.csv', '0.csv', '1.csv', '1.csv']
  assert 'folds may part recordings of one person' in capfd.readouterr().err


def test_a_prepared_dataset_opens_by_its_title(tmp_path, raw_dir):
  first = load(tmp_path, raw_dir, **TWO)
  shutil.rmtree(raw_dir)
  again = load(tmp_path, None, **TWO)
  assert again.class_names == first.class_names
  assert [list(c) for c in again.channels['imu']] == [list(c) for c in first.channels['imu']]
  np.testing.assert_array_equal(
    again.records(('imu',))[3]['imu'], first.records(('imu',))[3]['imu']
  )
  clone = pickle.loads(pickle.dumps(again.source))
  assert clone.info.features['label'].names == ['D1', 'F1', 'F2']
  with pytest.raises(UserError, match=r"no dataset 'other' has been prepared in .* as --raw_dir"):
    load(tmp_path, None, title='other', **TWO)


def test_options_that_change_records_are_noticed(tmp_path, raw_dir):
  load(tmp_path, raw_dir, **TWO)
  for place in (raw_dir, None):
    with pytest.raises(UserError, match='was built'):
      load(tmp_path, place, **{**TWO, 'rates': (10, 10)})


def test_an_edited_list_is_noticed(tmp_path, raw_dir):
  rows = ['file,label', 'D1/U01_R1_accel.csv,sit', 'F1/U01_R1_accel.csv,fall']
  load(tmp_path, listed(raw_dir, *rows))
  rows[1] = rows[1].replace('sit', 'fall')
  rows[2] = rows[2].replace('fall', 'sit')
  with pytest.raises(UserError, match='was built'):
    load(tmp_path, listed(raw_dir, *rows))


def test_a_list_whose_file_is_gone_names_it(tmp_path, raw_dir):
  listed(raw_dir, 'file,label', 'D1/U01_R1_accel.csv,a', 'D1/U02_R1_accel.csv,b')
  load(tmp_path, raw_dir)
  (raw_dir / 'D1' / 'U02_R1_accel.csv').unlink()
  with pytest.raises(
    UserError, match=r"line 3: 'D1/U02_R1_accel\.csv': there is no such file.* 2 "
  ):
    load(tmp_path, raw_dir)


def test_one_rate_may_be_written_alone(tmp_path, raw_dir):
  listed(raw_dir, 'file,label', 'D1/U01_R1_accel.csv,a')
  load(tmp_path, raw_dir, rates=20)
  assert load(tmp_path, raw_dir, rates=(20.0,)).metadata['rates'] == {'imu': 20.0}


def test_a_recording_that_was_edited_is_noticed_and_a_moved_folder_used(tmp_path, raw_dir):
  load(tmp_path, raw_dir, **TWO)
  moved = raw_dir.rename(tmp_path / 'elsewhere')
  (moved / 'notes.txt').write_text('of no record')
  assert len(load(tmp_path, moved, **TWO, allow_corrupt=3).index) == 4
  path = moved / 'F2' / 'U02_R1_gyro.csv'
  path.write_text(path.read_text().replace('10\n', '11\n'))
  with pytest.raises(UserError, match=r'U02_R1_gyro\.csv'):
    load(tmp_path, moved, **TWO)


def test_a_moved_list_is_the_same(tmp_path, raw_dir):
  rows = ['file,label', 'D1/U01_R1_accel.csv,sit', 'F1/U01_R1_accel.csv,fall']
  (tmp_path / 'a.csv').write_text('\n'.join(rows))
  load(tmp_path, raw_dir, labels=str(tmp_path / 'a.csv'))
  (tmp_path / 'a.csv').rename(tmp_path / 'b.csv')
  assert len(load(tmp_path, raw_dir, labels=str(tmp_path / 'b.csv')).index) == 2


def test_folders_at_home(tmp_path, raw_dir, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  builder = Builder(title='t', data_dir='~/data', raw_dir='~/raw', **TWO)
  assert builder.data_dir == f'{tmp_path}/data/table/t/1.0.0'
  builder.download_and_prepare()
  assert builder.info.splits['train'].num_examples == 4


def test_titles_keep_datasets_apart(tmp_path, raw_dir):
  load(tmp_path, raw_dir, 'both', **TWO)
  one = load(tmp_path, raw_dir, 'one', sensors=('accel',), pattern=PATTERN)
  assert [r['imu'].shape for r in one.records(('imu',))] == [(41, 3)] * 4
  assert load(tmp_path, None, 'both', **TWO).records(('imu',))[0]['imu'].shape == (41, 6)


@pytest.mark.parametrize('title', ['', '../x', 'a b', '1.0.0', 7])
def test_titles_are_names_of_folders(tmp_path, raw_dir, title):
  with pytest.raises(UserError, match=r'title=.*--config\.dataset\.options\.title'):
    load(tmp_path, raw_dir, title, **TWO)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'rates': ()}, r'rates=\(\): must be above 0'),
    ({'rates': -1.0}, 'rates=-1.0: must be above 0'),
    ({'rates': (20, 20, 20)}, 'one for each of 2 sensors'),
    ({'rates': ('20', '10')}, 'must be above 0'),
    ({'units': ('g', 'g', 'g')}, 'one for each of 2 sensors or of 6 channels'),
    ({'units': 'g'}, "units='g': must be a tuple of texts"),
    ({'columns': 'xyz'}, "columns='xyz': must be a tuple of names or positions"),
    ({'sensors': 'accel'}, "sensors='accel': must be a tuple"),
    ({'sensors': ('gyro', 'gyro')}, "'gyro' is there twice"),
    ({'classes': ('fall', 'F*')}, 'must be a tuple of pairs'),
    ({'train_subjects': 3}, 'must be a tuple of numbers or names'),
    ({'time_unit': 'h'}, 'not one of s, ms, us, ns'),
    ({'time_unit': 'ms'}, 'give 2e.04 samples a second, not 20; .*time_unit'),
    ({'time': 'stamp'}, "no column 'stamp'"),
    ({'labels': 'labels.csv'}, 'give one of them'),
    ({'pattern': ''}, 'has no labels.csv; files of several sensors need one'),
    ({'sensors': ('accel', 'mag')}, 'no record has a file of mag'),
  ],
)
def test_wrong_options(tmp_path, raw_dir, options, message):
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir, **{**TWO, **options})
  assert not list((tmp_path / 'data').glob('table/*'))


def test_labels_that_differ_in_capitals(tmp_path, raw_dir):
  rows = ('file,label', 'D1/U01_R1_accel.csv,Fall', 'F1/U01_R1_accel.csv,fall')
  with pytest.raises(UserError, match=r"line 3: the label 'fall' is 'Fall' in .* line 2"):
    load(tmp_path, listed(raw_dir, *rows))


def test_faults_are_all_named_and_left_out_only_when_allowed(tmp_path, raw_dir, capfd):
  (raw_dir / 'D1' / 'U01_R1_accel.csv').write_text('time,x,y,z\n0,1,2,3\n0.1,1e999,2,3\n')
  (raw_dir / 'F1' / 'U01_R1_gyro.csv').unlink()
  with pytest.raises(UserError, match=r'2 records in all.*--allow_corrupt=2'):
    load(tmp_path, raw_dir, **TWO)
  named = [line for line in capfd.readouterr().err.splitlines() if line.startswith('fault')]
  assert len(named) == 2
  assert 'line 3: 1e999 is too large' in named[0]
  assert 'has no file of gyro' in named[1]
  data = load(tmp_path, raw_dir, **TWO, allow_corrupt=2)
  assert data.index.key.tolist() == ['D1/U02_R1', 'F2/U02_R1']
  assert data.missing == {'imu': ['D1/U01_R1', 'F1/U01_R1']}


def test_faults_of_a_list_come_before_anything_is_read(tmp_path, raw_dir, capfd):
  rows = ('file,label', 'D1/U01_R1_accel.csv,a', 'D1/U01_R1_accel.csv,b', 'none.csv,a')
  with pytest.raises(UserError, match=r'line 4: .*no such file.*2 records in all'):
    load(tmp_path, listed(raw_dir, *rows))
  assert "the record 'D1/U01_R1_accel' is also in" in capfd.readouterr().err
  assert load(tmp_path, raw_dir, allow_corrupt=2).index.key.tolist() == ['D1/U01_R1_accel']


def test_a_pipe_in_place_of_a_file(tmp_path, raw_dir):
  path = raw_dir / 'F2' / 'U02_R1_gyro.csv'
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(UserError, match=r'U02_R1_gyro\.csv: neither a file nor a link to one'):
    load(tmp_path, raw_dir, **TWO)


def test_an_absent_sensor_is_masked(tmp_path, raw_dir):
  (raw_dir / 'F1' / 'U01_R1_gyro.csv').unlink()
  data = load(tmp_path, raw_dir, **TWO, require_complete=False)
  record = data.records(('imu',))[2]
  assert record['imu_mask'].any(0).tolist() == [True, False]
  assert not record['imu'][:, 3:].any()


def test_what_was_amiss_is_counted(tmp_path, raw_dir):
  path = raw_dir / 'D1' / 'U01_R1_accel.csv'
  path.write_text(path.read_text() + '103,1,2')
  rows = ('file,label', 'D1/U01_R1_accel.csv,a', 'D1/U02_R1_accel.csv,b')
  assert load(tmp_path, listed(raw_dir, *rows)).metadata['oddities'] == {'cut_line': 1}


@pytest.mark.parametrize('jump', [3600.0, -3600.0, 1e9])
def test_a_clock_that_was_set_is_no_other_rate(tmp_path, jump):
  for label in 'ab':
    write(tmp_path / 'raw' / label / '1.csv', 0, seconds=4.0)
  path = tmp_path / 'raw' / 'a' / '1.csv'
  header, *lines = path.read_text().split()
  rows = [line.split(',') for line in lines]
  for row in rows[40:]:
    row[0] = str(float(row[0]) + jump)
  path.write_text('\n'.join([header, *(','.join(row) for row in rows)]))
  x = load(tmp_path, tmp_path / 'raw').records(('imu',))[0]['imu']
  np.testing.assert_allclose(x[:, 0], np.arange(81) / 20, atol=1e-4)


@pytest.mark.parametrize(
  ('stamps', 'message'),
  [
    (np.sin(np.arange(60.0)), r'time stamps go back in 49% of the lines; set the option time'),
    (np.zeros(60), 'time stamps are all the same; set the option time'),
    (np.arange(60.0) * 1e9, 'give 1e-09 samples a second, not 20'),
    (np.repeat(np.arange(6.0), 10) * 1e3, r'give 0\.0118 samples a second'),
  ],
)
def test_what_is_no_time_is_not_taken_for_it(tmp_path, stamps, message):
  path = tmp_path / 'raw' / 'a' / '1.csv'
  path.parent.mkdir(parents=True)
  path.write_text('\n'.join(f'{stamp},{i}' for i, stamp in enumerate(stamps)))
  with pytest.raises(UserError, match=message):
    load(tmp_path, tmp_path / 'raw')


def test_the_newest_sample_may_come_first(tmp_path):
  write(tmp_path / 'raw' / 'a' / '1.csv', 0)
  path = tmp_path / 'raw' / 'a' / '1.csv'
  header, *lines = path.read_text().split()
  path.write_text('\n'.join([header, *reversed(lines)]) + '\n')
  x = load(tmp_path, tmp_path / 'raw').records(('imu',))[0]['imu']
  np.testing.assert_allclose(x[:, 0], np.arange(41) / 20, atol=1e-5)


@pytest.mark.parametrize(
  ('header', 'options', 'message'),
  [
    ('time,z,y,x', {}, "its column 0 of values is 'z', and of other files 'x'"),
    ('time,x,y,w', {}, "its column 2 of values is 'w', and of other files 'z'"),
    ('time,x (mg),y (g),z (g)', {}, "gives 'x' in mg, and other files in g"),
    ('time,x (mg),y (g),z (g)', {'columns': (1,)}, "gives 'x' in mg, and other files in g"),
  ],
)
def test_columns_of_files_mean_the_same(tmp_path, header, options, message):
  write(tmp_path / 'raw' / 'a' / '1.csv', 0, header='time,x (g),y (g),z (g)')
  write(tmp_path / 'raw' / 'a' / '2.csv', 0, header=header)
  with pytest.raises(UserError, match=rf'2\.csv: {message}'):
    load(tmp_path, tmp_path / 'raw', **options)


@pytest.mark.parametrize(
  ('columns', 'second'), [(('z', 'y'), [0.25, -0.25]), ((3, 2), [10, -0.25])]
)
def test_columns_that_are_chosen_may_stand_anywhere(tmp_path, columns, second):
  write(tmp_path / 'raw' / 'a' / '1.csv', 0)
  write(tmp_path / 'raw' / 'a' / '2.csv', 0, header='time,z,y,x')
  found = load(tmp_path, tmp_path / 'raw', columns=columns).records(('imu',))
  assert [found[i]['imu'][5].tolist() for i in (0, 1)] == [[10, -0.25], second]


def test_sensors_of_different_clocks(tmp_path, raw_dir):
  write(raw_dir / 'D1' / 'U01_R1_gyro.csv', 0, rate=10, start=1.6e9)
  with pytest.raises(
    UserError, match=r'accel ends at 102 s, and gyro begins at 1600000000 s; .* of one clock'
  ):
    load(tmp_path, raw_dir, **TWO)


@pytest.mark.parametrize(
  ('start', 'end', 'message'),
  [
    ('100', '103.5', 'ends at 103.5 s, and what was recorded is from 100 to 102 s'),
    ('0', '101', 'starts at 0 s, and what was recorded is from 100 to 102 s'),
    ('', '99', 'nothing was recorded'),
  ],
)
def test_parts_lie_in_the_recording(tmp_path, raw_dir, start, end, message):
  rows = ('file,label,start,end', f'D1/U01_R1_accel.csv,a,{start},{end}')
  with pytest.raises(UserError, match=f'line 2: {message}'):
    load(tmp_path, listed(raw_dir, *rows))


def test_what_was_taken_and_left_is_described(tmp_path, raw_dir, capfd):
  (raw_dir / 'D1' / 'U03_R1_accel.csv.gz').write_bytes(b'x')
  (raw_dir / 'D1' / 'notes.csv').write_text('x')
  load(tmp_path, raw_dir, **TWO, units=('g', 'rad/s'))
  printed = capfd.readouterr().err
  assert 'channels: accel x (g), accel y (g), accel z (g), gyro x (rad/s), gyro y' in printed
  assert 'belong to no record: .gz (1), .csv (1), the first D1/U03_R1_accel.csv.gz' in printed


def test_files_of_other_columns(tmp_path, raw_dir):
  path = raw_dir / 'D1' / 'U02_R1_accel.csv'
  path.write_text('time,x\n0,1\n1,2\n')
  with pytest.raises(
    UserError, match=r'U02_R1_accel\.csv: has 1 columns of values and other files 3'
  ):
    load(tmp_path, raw_dir, **TWO)


@pytest.mark.parametrize(('rate', 'oddities'), [(22, {}), (40, {'faster': 1})])
def test_files_that_are_faster_than_what_is_stored_are_counted(tmp_path, raw_dir, rate, oddities):
  write(raw_dir / 'fast.csv', 5, rate=rate)
  raw = listed(raw_dir, 'file,label,subject', 'fast.csv,D1,1')
  assert load(tmp_path, raw).metadata['oddities'] == oddities
