"""Each dialect of CSV is read to the numbers it means; what has two meanings is refused."""

import re
import time

import numpy as np
import pytest

from data_builders import csv_file, csv_text
from har.errors import UserError

VALUES = [[0.5, -1.0], [1.25, 2000.0]]
DIALECTS = {
  'plain': b'0.5,-1\n1.25,2000\n',
  'no line end': b'0.5,-1\n1.25,2000',
  'CR LF': b'0.5,-1\r\n1.25,2000\r\n',
  'old Mac': b'0.5,-1\r1.25,2000\r',
  'header': b'x,y\n0.5,-1\n1.25,2000\n',
  'UTF-8 mark': b'\xef\xbb\xbfx,y\n0.5,-1\n1.25,2000\n',
  'UTF-8 mark, no header': b'\xef\xbb\xbf0.5,-1\n1.25,2000\n',
  'UTF-16': 'x,y\n0.5,-1\n1.25,2000\n'.encode('utf-16'),
  'UTF-16 big': b'\xfe\xff' + '0.5,-1\r\n1.25,2000\r\n'.encode('utf-16-be'),
  'UTF-32': 'x,y\n0.5,-1\n1.25,2000\n'.encode('utf-32'),
  'semicolons': b'0.5;-1\n1.25;2000\n',
  'decimal commas': b'0,5;-1\n1,25;2000\n',
  'decimal commas, tabs': b'x\ty\n0,5\t-1,0\n1,25\t2000\n',
  'decimal commas, spaces': b'0,5 -1,0\n1,25 2000,0\n',
  'decimal commas in quotes': b'"0,5","-1"\n"1,25","2000"\n',
  'tabs': b'0.5\t-1\n1.25\t2000\n',
  'spaces': b'x y\n0.5  -1\n  1.25 2e3  \n',
  'spaces after commas': b'x, y\n0.5, -1\n1.25, 2000\n',
  'quotes': b'"x, left";"y"\n"0.5";"-1"\n1.25;"2000"\n',
  'sep line': b'sep=;\r\nx;y\r\n0,5;-1\r\n1,25;2000\r\n',
  'comments and blank lines': b'# a, b; c\n\nx,y\n0.5,-1\n% more\n\n1.25,2000\n\n',
  'blank lines of a spreadsheet': b'x,y\n0.5,-1\n1.25,2000\n,\n,\n',
  'separator at the end': b'x,y,\n0.5,-1,\n1.25,2000,\n',
  'separator at the end, not of the header': b'x,y\n0.5,-1,\n1.25,2000,\n',
  'units in a line': b'x,y\nm/s^2,[rad/s]\n0.5,-1\n1.25,2000\n',
  'exponents': b'5e-1,-1.E0\n+.125e+1,2000\n',
  'cut in a line': b'0.5,-1\n1.25,2000\n1.5',
  'cut in a number': b'0.5,-1\n1.25,2000\n1.5,-',
  'cut after a separator': b'0.5,-1\n1.25,2000\n1.5,',
}


@pytest.mark.parametrize('data', DIALECTS.values(), ids=DIALECTS)
def test_a_dialect_means_the_same_numbers(data):
  table = csv_file.read(data, 'a.csv')
  assert table.values.tolist() == VALUES
  assert table.time is None


@pytest.mark.parametrize('name', DIALECTS)
def test_only_a_cut_line_is_dropped_and_it_is_counted(name):
  cut = {'cut_line': 1} if name.startswith('cut') else {}
  assert csv_file.read(DIALECTS[name], 'a.csv').oddities == cut


def test_names_and_units_are_told_apart():
  data = b'"Time (s)",Acc x [m/s^2],gyro\n0,1,2\n'
  table = csv_file.read(data, 'a.csv', time='Time')
  assert (table.names, table.units) == (('Acc x', 'gyro'), ('m/s^2', ''))
  assert csv_file.read(DIALECTS['units in a line'], 'a.csv').units == ('m/s^2', 'rad/s')


def test_columns_are_chosen_by_name_or_position_in_the_order_asked_for():
  data = b'time,label,z (g),y (g)\n0,sit,1,2\n1,sit,3,4\n'
  for columns in (('y', 'z'), ('y (g)', 'z (g)'), (3, 2), ('y', 2)):
    table = csv_file.read(data, 'a.csv', columns, 'time')
    assert table.values.tolist() == [[2, 1], [4, 3]]
    assert table.names == ('y', 'z')


@pytest.mark.parametrize(
  ('stamps', 'seconds'),
  [
    ('0.5 1.5', [0.5, 1.5]),
    ('00:00:59.25 00:01:00', [59.25, 60]),
    ('23:59:59 0:00:01.5', [86399, 86401.5]),
    ('1970-01-02T00:00:00.125Z 1970-01-02T02:00:01+02:00', [86400.125, 86401]),
    ('1970-01-01_00:00:01,5 1970-01-01_00:00:02,000001', [1.5, 2.000001]),
  ],
)
def test_time_stamps(stamps, seconds):
  rows = '\n'.join(f'{stamp};1' for stamp in stamps.split())
  table = csv_file.read(f'time;x\n{rows}\n'.encode(), 'a.csv', time='time')
  np.testing.assert_allclose(table.time, seconds, rtol=0, atol=1e-9)
  assert table.oddities == ({'midnight': 1} if '23:' in stamps else {})


@pytest.mark.parametrize(
  ('header', 'option', 'scale'),
  [
    ('time', '', 1.0),
    ('time', 'ms', 1e-3),
    ('timestamp_ms', '', 1e-3),
    ('Time (us)', '', 1e-6),
    ('seconds_elapsed', '', 1.0),
    ('t [ns]', 'ns', 1e-9),
  ],
)
def test_units_of_numeric_time_stamps(header, option, scale):
  table = csv_file.read(f'{header},x\n4,1\n'.encode(), 'a.csv', time=0, time_unit=option)
  assert table.time.tolist() == [4 * scale]


REFUSED = {
  'commas for both': (b'x,y\n1,5,2,3\n', 'line 2: 4 fields, .* 2 names.*part the fields by semi'),
  'a short line': (b'1,2\n3\n5,6\n', 'line 2: 1 fields'),
  'a short last line with its end': (b'1,2\n3,4\n5\n', 'line 3: 1 fields'),
  'a long last line': (b'1,2\n3,4\n5,6,7', 'line 3: 3 fields'),
  'NaN': (b'x,y\n1,2\nNaN,4\n', "line 3: 'NaN' where a number should be"),
  'NaN at first': (b'nan,nan\n1,2\n', "line 1: 'nan' where a number"),
  'nothing': (b'1,2\n,4\n5,6\n', 'line 2: a field is empty'),
  'infinity': (b'1,2\n1,-inf\n', "line 2: '-inf'"),
  '1e999': (b'1,2\n1,1e999\n', 'line 2: 1e999 is too large'),
  'beyond float32': (b'1,2\n3.5e38,1\n', 'line 2: 3.5e38 is too large'),
  'hexadecimal': (b'1,2\n0x1F,1\n', "line 2: '0x1F' is not a number"),
  'underscores': (b'1,2\n1_000,1\n', "line 2: '1_000' is not a number"),
  'other digits': ('1,2\n\u0661,1\n'.encode(), 'line 2: .* is not a number'),
  'a word': (b'1,2\noff,1\n', "line 2: 'off' is not a number"),
  'thousands': (b'1;2\n1,234,567;1\n', 'line 2: .* thousands separators'),
  'thousands and decimals': (b'1;2\n1.234,5;1\n', 'line 2: .* thousands separators'),
  'thousands and decimals, English': (b'"1,234.5","1"\n', 'line 1: .* thousands separators'),
  'perhaps thousands': (b'1;2\n1,234;1\n', "line 2: '1,234' may be 1.234 or 1234"),
  'points and commas': (b'1,5;2\n1.5;1\n', "line 2: '1.5' has a decimal point"),
  'an open quote': (b'1,2\n"3,4\n5,6\n', 'not CSV .*quote'),
  'another encoding': ('x°,y\n1,2\n'.encode('latin-1'), 'line 1: not UTF-8'),
  'no text': (b'1,2\n\0\0,4\n', 'not a text file'),
  'a picture': (b'\xff\xd8\xff\xe0\x00\x10JFIF', 'not UTF-8'),
  'a web page': (b'<!DOCTYPE html><html></html>', 'a web page'),
  'a pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git lfs pull'),
  'no sample': (b'x,y\n', 'has no samples'),
  'no byte': (b'', 'has no samples'),
  'another separator': (b'sep=|\n1|2\n', 'line 1: fields parted by'),
}


@pytest.mark.parametrize(('data', 'message'), REFUSED.values(), ids=REFUSED)
def test_what_has_no_certain_meaning_is_refused(data, message):
  with pytest.raises(UserError, match=r'^a\.csv(, |: )') as raised:
    csv_file.read(data, 'a.csv')
  assert re.search(message, str(raised.value)), str(raised.value)


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'time,seconds_elapsed,x\n1,1,5\n2,2,5\n3,3,5\n', "'seconds_elapsed' .position 1. counts"),
    (b',t (ms),x\n1,0,5\n2,1,5\n3,2,5\n', "'t' .position 1. counts"),
    (b't,x,\n0,5,0\n1,5,1\n2,5,2\n', "'' .position 2. counts"),
    (b't,x,Label\n0,5,1\n', r"'Label' is hardly a measurement; .*columns=\('x',\)"),
    (b't,x,y,timestamp\n0,5,1,9\n', r"'timestamp' is hardly .*columns=\('x', 'y'\)"),
    (b't,x,activity\n0,5,walking\n', "'activity' is hardly"),
  ],
)
def test_what_gives_samples_away_is_no_channel_unless_chosen(data, message):
  with pytest.raises(UserError, match=message):
    csv_file.read(data, 'a.csv', time=0)
  if b'walking' not in data:
    assert csv_file.read(data, 'a.csv', columns=(1, 2), time=0).values.shape[1] == 2


def test_measurements_may_grow_and_have_any_unit():
  table = csv_file.read(b't (s),x,y (s)\n0,1,3\n1,2,1\n2,3,2\n', 'a.csv', time=0)
  assert table.values.tolist() == [[1, 3], [2, 1], [3, 2]]
  assert csv_file.read(b'0,1\n1,2\n2,3\n', 'a.csv', time=0).names == ('',)


@pytest.mark.parametrize(
  ('data', 'options', 'message'),
  [
    (b'time,x\n1,1\n02/03/2024,1\n', {}, "line 3: '02/03/2024' is not a number"),
    (b'time,x\n10:00:00,1\n25:00:00,1\n', {}, "line 3: '25:00:00' is no time like '10:00:00'"),
    (b'time,x\n2024-02-30 10:00:00,1\n', {}, 'line 2: .* is no time'),
    (b'time (ms),x\n1,1\n', {'time_unit': 's'}, 'header gives the time in ms, the option in s'),
    (b'a,x\n1,1\n', {'time': 'time'}, "no column 'time'; it has a, x"),
    (b'1,1\n', {'time': 'time'}, 'has no header; name its 2 columns from 0 on'),
    (b'1,1\n', {'time': 2}, 'has no column 2, only 0 to 1'),
    (b'x,x\n1,1\n', {'time': 'x'}, "several columns 'x'"),
    (b'x\n1\n', {}, 'no column besides the time'),
  ],
)
def test_wrong_times_and_columns_are_named(data, options, message):
  with pytest.raises(UserError, match=f'a.csv.*{message}'):
    csv_file.read(data, 'a.csv', **{'time': 0, **options})


def test_the_number_of_the_line_counts_comments_and_blank_lines():
  with pytest.raises(UserError, match='line 6:'):
    csv_file.read(b'# a\n\nx,y\n1,2\n# b\n1,b\n', 'a.csv')


def test_size_is_bounded(monkeypatch):
  monkeypatch.setattr(csv_text, 'MAX_BYTES', 8)
  with pytest.raises(UserError, match='too large'):
    csv_file.read(b'1,2\n3,4\n5,6\n', 'a.csv')
  monkeypatch.undo()
  monkeypatch.setattr(csv_text, 'MAX_FIELDS', 5)
  with pytest.raises(UserError, match='more than 5 fields'):
    csv_file.read(b'1,2\n3,4\n5,6\n', 'a.csv')
  monkeypatch.undo()
  with pytest.raises(UserError, match='2000 fields; at most 1024'):
    csv_file.read(b','.join([b'1'] * 2000), 'a.csv')
  with pytest.raises(UserError, match='line 1: not CSV'):
    csv_file.read(b'"' + b'1' * 20000 + b'",1\n', 'a.csv')


def test_long_files_take_time_in_proportion():
  data = b'time,x,y,z\n' + b''.join(b'%d,0.5,1.5,-2.5\n' % i for i in range(20000))
  start = time.process_time()
  assert len(csv_file.read(data, 'a.csv', time=0).values) == 20000
  assert time.process_time() - start < 5


def test_rows_of_texts():
  data = '\ufefffile;label;note\r\na.csv;fall;"on ice; outside"\r\nb.csv;sit;\r\n'.encode()
  assert csv_text.read_records(data, 'labels.csv', ['file', 'label']) == [
    (2, {'file': 'a.csv', 'label': 'fall', 'note': 'on ice; outside'}),
    (3, {'file': 'b.csv', 'label': 'sit', 'note': ''}),
  ]


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'name,label\na,b\n', "its first line names no column 'file'"),
    (b'', "names no column 'file'"),
    (b'file,label,label\na,b,c\n', "names the column 'label' twice"),
    (b'file,label\na,b\nc\n', 'line 3: 1 fields for 2 columns'),
    (b'file,label\na,b, c\n', 'line 2: 3 fields for 2 columns; put quotes'),
  ],
)
def test_wrong_rows_of_texts(data, message):
  with pytest.raises(UserError, match=message):
    csv_text.read_records(data, 'labels.csv', ['file', 'label'])
