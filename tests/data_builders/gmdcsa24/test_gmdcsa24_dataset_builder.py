"""GMDCSA24's activities become records, malformed lines as published included."""

import pytest

from configs import light_video
from har.data import dataset, protocols
from har.errors import UserError
from tests.data_builders import films

HEAD = 'File Name,Length (seconds),Time of Recording,Attire,Description, Classes'
LISTS = {
  'Subject 1/Fall': [
    '01.mp4,02,Day,Shirt, Side fall, head, Falling (SW)[0.5 to 1]:; Walking[0 to 0.5]',
    '02.mp4,02,Day,Shirt,Falling, Falling (BW[0.2 to 1]; Eating[0 0.2]',
    '03.mp4,02,Day,Shirt,Falling, Falling (FW); Sitting [ 0 to 0.7]',
  ],
  'Subject 1/ADL': [
    '01.mp4,02,Day,Shirt; Jeans,Going, Standing[0 to 0.2; 0.4 to 0.6; Walking[0.6 to 1] ',
    '02.mp4,02,Day,Shirt,Sitting, Sitting[0.9 to 0.3]; Standing[0 to 0.5];Walking[0.5 to 1]; ',
  ],
  'Subject 2/Fall': ['01.mp4,02,Day,Shirt,falling, Fall (FW)[0 to 1]'],
  'Subject 2/ADL': ['01.mp4,02,Day,Shirt,reading,Reading; Sitting[0 to 1]'],
}
FOUND = [
  ('Subject 1/ADL/01@0-0.2 Standing', 6),
  ('Subject 1/ADL/01@0.4-0.6 Standing', 6),
  ('Subject 1/ADL/01@0.6-1 Walking', 12),
  ('Subject 1/ADL/02@0-0.5 Standing', 15),
  ('Subject 1/ADL/02@0.5-1 Walking', 15),
  ('Subject 1/Fall/01@0.5-1 Falling (SW)', 15),
  ('Subject 1/Fall/01@0-0.5 Walking', 15),
  ('Subject 1/Fall/02@0.2-1 Falling (BW)', 24),
  ('Subject 1/Fall/02@0-0.2 Eating', 6),
  ('Subject 1/Fall/03@0-0.7 Sitting', 21),
  ('Subject 2/ADL/01@0-1 Sitting', 30),
  ('Subject 2/Fall/01@0-1 Falling (FW)', 30),
]


@pytest.fixture
def raw_dir(tmp_path):
  data = films.film(times=range(30), size=(16, 16))
  for path, rows in LISTS.items():
    folder = tmp_path / 'raw' / path
    folder.mkdir(parents=True)
    (tmp_path / 'raw' / f'{path}.csv').write_text('\n'.join([HEAD, *rows]))
    for row in rows:
      (folder / row[:6]).write_bytes(data)
  return tmp_path / 'raw'


def load(tmp_path, raw_dir):
  config = light_video.get_config('dataset=gmdcsa24')
  data = dataset.load(
    'gmdcsa24',
    ('rgb',),
    data_dir=str(tmp_path / 'data'),
    raw_dir=raw_dir,
    abnormal=config.dataset.abnormal,
    builder_options={**config.dataset.options.to_dict(), 'short_side': 16},
  )
  return data, protocols.SplitOptions.of({**config.dataset.to_dict(), 'folds': 2})


def test_each_activity_is_a_record(tmp_path, raw_dir, capfd):
  data, options = load(tmp_path, raw_dir)
  counts = [len(record['rgb']) for record in data.records(('rgb',))]
  assert list(zip(data.index.key.tolist(), counts, strict=True)) == FOUND
  assert data.class_names == ('fall', 'daily')
  assert data.index.label.tolist() == [int('Falling' not in key) for key, _ in FOUND]
  assert data.index.action.tolist() == [key.partition(' ')[2].partition(' ')[2] for key, _ in FOUND]
  splits = protocols.make_splits(data.index, data.metadata, options)
  assert set(data.index.subject[splits.test].tolist()) == {1}
  assert set(data.index.subject[splits.train].tolist()) == {2}
  told = capfd.readouterr().err
  for fault in (
    'ADL.csv, line 3: Sitting ends before it starts (0.9 to 0.3) and is left out',
    'Fall.csv, line 4: Falling (FW) has no time and is left out',
    'ADL.csv, line 2: Reading has no time and is left out',
  ):
    assert fault in told
  assert told.count('is left out') == 3


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    ('Fall (FW)[0 to 1]', '?', r"Fall\.csv, line 2: '\?' is no activity with its times"),
    ('[0 to 1]', '[0 or 1]', r"line 2: '0 or 1' of Falling \(FW\) is no time"),
    ('01.mp4', '07.mp4', r'Subject 2/Fall/07\.mp4; 2 records in all cannot be made'),
  ],
)
def test_other_lines_are_errors(tmp_path, raw_dir, old, new, message):
  path = raw_dir / 'Subject 2' / 'Fall.csv'
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir)


def test_without_lists(tmp_path, raw_dir):
  for path in raw_dir.glob('*/*.csv'):
    path.unlink()
  with pytest.raises(UserError, match=r'Subject 1/ADL/01\.mp4: is in no list; no record can be'):
    load(tmp_path, raw_dir)
