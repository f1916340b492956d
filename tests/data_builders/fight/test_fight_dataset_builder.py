"""Surveillance Camera Fight: folds do not part clips of one source."""

import pytest

from configs import light_video
from data_builders.fight import fight_dataset_builder as fight
from har.data import dataset, protocols
from har.errors import UserError
from tests.data_builders import films

VIDEOS = (
  'https://a?v=1\r\nfi001: 0.13.50 - 0.15.60\r\nnofi001: 2.34.70 - 2.37.80\r\n'
  'https://b?v=2 \r\nfi002: 0.0.50 - 0.11.50\r\nnofi001: 0.1.0 - 0.2.0\r\n\r\n\r\n'
  'nofi002 - nofi003 : CamNet Dataset\r\nnofi003 - nofi004 : Synopsis dataset'
)
SOURCES = {
  'fi001': 'https://a?v=1',
  'nofi001': 'https://a?v=1',
  'fi002': 'https://b?v=2',
  'nofi002': 'CamNet Dataset',
  'nofi003': 'CamNet Dataset',
  'nofi004': 'Synopsis dataset',
}


def test_each_clip_has_a_source_the_first_of_two():
  assert fight.sources(VIDEOS, 'videos.txt') == SOURCES


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('fi001: 0.1 - 0.2', r'videos\.txt, line 1: fi001 stands above the first address'),
    ('https://a\nfi001', r"videos\.txt, line 2: 'fi001' is neither an address, a clip"),
    ('https://a\nfi001 - nofi003: X', r'line 2: .* is neither an address, a clip'),
  ],
)
def test_wrong_lines_are_named(text, message):
  with pytest.raises(UserError, match=message):
    fight.sources(text, 'videos.txt')


@pytest.fixture
def raw_dir(tmp_path):
  data = films.film(times=range(3), size=(16, 24))
  for name in SOURCES:
    path = tmp_path / 'raw' / ('noFight' if name.startswith('no') else 'fight') / f'{name}.mp4'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  (tmp_path / 'raw' / 'videos.txt').write_text(VIDEOS, newline='')
  return tmp_path / 'raw'


def load(tmp_path, raw_dir, **options):
  config = light_video.get_config('dataset=fight')
  assert config.dataset.options.short_side == 256
  opened = dataset.load(
    'fight',
    ('rgb',),
    data_dir=str(tmp_path / 'data'),
    raw_dir=raw_dir,
    abnormal=config.dataset.abnormal,
    builder_options={**config.dataset.options.to_dict(), **options},
  )
  return opened, protocols.SplitOptions.of({**config.dataset.to_dict(), 'folds': 4})


def test_folds_keep_sources_together(tmp_path, raw_dir):
  data, options = load(tmp_path, raw_dir)
  assert (data.name, data.class_names) == ('fight', ('fight', 'noFight'))
  names = [key.rpartition('/')[2] for key in data.index.key]
  assert dict(zip(names, data.index.group.tolist(), strict=True)) == SOURCES
  splits = protocols.make_splits(data.index, data.metadata, options)
  # The first fold has the first of the two sources with two clips.
  assert [names[i] for i in splits.test] == ['nofi002', 'nofi003']
  assert not {*data.index.group[splits.test]} & {*data.index.group[splits.train]}


def test_what_is_missing_is_told(tmp_path, raw_dir):
  (raw_dir / 'fight' / 'fi009.mp4').write_bytes(b'')
  with pytest.raises(UserError, match=r'fi009\.mp4: .*videos\.txt does not say what it was cut'):
    load(tmp_path, raw_dir)
  with pytest.raises(UserError, match=r"pattern='x': fight has its owners' lists"):
    load(tmp_path, raw_dir, pattern='x')
  (raw_dir / 'videos.txt').unlink()
  with pytest.raises(UserError, match=r'has no videos\.txt; it is what says what clips were cut'):
    load(tmp_path, raw_dir)
