"""Folders of videos become datasets: frames, rates, parts, groups; every fault is named."""

import io
import sys
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from data_builders.clips.clips_dataset_builder import at_rate
from har.data import dataset, protocols
from har.errors import UserError
from tests.data_builders import raw_trees


def video(seconds=2.0, size=(36, 48)):
  """15 frames a second, each brighter than the one before."""
  frames = range(round(15 * seconds))
  return raw_trees.avi([np.full((*size, 3), 5 * i, np.uint8) for i in frames])


@pytest.fixture(scope='module')
def two_seconds():
  return video()


@pytest.fixture
def raw_dir(tmp_path, two_seconds):
  for name in ('fight/1.avi', 'fight/2.avi', 'no fight/1.avi', 'no fight/10.AVI'):
    path = tmp_path / 'raw' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(two_seconds)
  return tmp_path / 'raw'


def load(tmp_path, raw_dir, title='toy', **options):
  options = {'title': title, 'short_side': 24, **options}
  return dataset.load(
    'clips', ('rgb',), data_dir=str(tmp_path / 'data'), raw_dir=raw_dir, builder_options=options
  )


def brightness(record):
  """Of each frame, in the steps that `video` has."""
  pictures = [np.asarray(Image.open(io.BytesIO(frame))) for frame in record['rgb']]
  return [round(picture.mean() / 5) for picture in pictures]


def test_class_folders(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir)
  assert data.class_names == ('fight', 'no fight')
  assert data.index.key.tolist() == ['fight/1', 'fight/2', 'no fight/1', 'no fight/10']
  assert data.index.label.tolist() == [0, 0, 1, 1]
  record = data.records(('rgb',))[0]
  assert brightness(record) == list(range(30))
  assert Image.open(io.BytesIO(record['rgb'][0])).size == (32, 24)
  assert data.metadata['rates'] == {'rgb': 15.0}
  assert data.channels['rgb'][0][0] == 'red'


def test_a_list_gives_parts_groups_and_subjects(tmp_path, raw_dir):
  rows = [
    'file,label,start,end,group,subject',
    'fight/1.avi,fall,0.2,1,a,1',
    'fight/1.avi,sit,1,,a,1',
  ]
  (raw_dir / 'labels.csv').write_text('\n'.join([*rows, 'fight/2.avi,sit,,,,2']))
  data = load(tmp_path, raw_dir)
  assert [brightness(r) for r in data.records(('rgb',))] == [
    list(range(3, 15)),
    list(range(15, 30)),
    list(range(30)),
  ]
  assert data.index.group.tolist() == ['a', 'a', 'fight/2.avi']
  assert data.index.subject.tolist() == [1, 1, 2]


def test_folds_keep_groups_apart(tmp_path, raw_dir):
  names = ('fight/1.avi', 'fight/2.avi', 'no fight/1.avi', 'no fight/10.AVI')
  rows = [f'{name},{name[:2]},{g}' for name, g in zip(names, 'abab', strict=True)]
  (raw_dir / 'labels.csv').write_text('\n'.join(['file,label,group', *rows]))
  data = load(tmp_path, raw_dir)
  for fold in (1, 2):
    options = protocols.SplitOptions(protocol='folds', fold=fold, folds=2, group='group')
    splits = protocols.make_splits(data.index, data.metadata, options)
    groups = [set(data.index.group[at].tolist()) for at in (splits.train, splits.test)]
    assert sorted(map(sorted, groups)) == [['a'], ['b']]


def test_archives_are_read_in_place(tmp_path, raw_dir, two_seconds):
  with zipfile.ZipFile(raw_dir / 'more.zip', 'w') as archive:
    archive.writestr('more/fight/3.avi', two_seconds)
  data = load(tmp_path, raw_dir)
  assert data.index.key.tolist()[:3] == ['fight/1', 'fight/2', 'fight/3']
  assert brightness(data.records(('rgb',))[2]) == list(range(30))


def test_a_fixed_rate(tmp_path, raw_dir):
  data = load(tmp_path, raw_dir, rate=5.0)
  assert data.metadata['rates'] == {'rgb': 5.0}
  assert [brightness(r) for r in data.records(('rgb',))] == [list(range(1, 30, 3))] * 4


@pytest.mark.parametrize(
  ('count', 'rate', 'wanted', 'expected'),
  [
    (4, 10.0, 0, [0, 1, 2, 3]),
    (4, 10.0, 10.0, [0, 1, 2, 3]),
    (4, 10.0, 5.0, [1, 3]),
    (2, 10.0, 20.0, [0, 0, 1, 1]),
    (1, 10.0, 1.0, [0]),
  ],
)
def test_frames_at_a_rate(count, rate, wanted, expected):
  frames = [bytes([i]) for i in range(count)]
  assert at_rate(frames, rate, wanted) == ([bytes([i]) for i in expected], wanted or rate)


def test_different_rates_are_told_and_left_out_of_the_metadata(
  tmp_path, raw_dir, monkeypatch, capfd
):
  (raw_dir / 'fight' / '1.avi').write_bytes(slow())
  data = load(tmp_path, raw_dir)
  assert 'rates' not in data.metadata
  assert 'different frame rates, 10 (1), 15 (3); the option rate' in capfd.readouterr().err


def slow():
  """10 frames a second."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='avi') as container:
    stream = container.add_stream('mjpeg', rate=10)
    stream.height, stream.width, stream.pix_fmt = 36, 48, 'yuvj420p'
    for _ in range(10):
      picture = np.zeros((36, 48, 3), np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
    container.mux(stream.encode())
  return buffer.getvalue()


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('fight/1.avi,fall,0,4', 'line 2: ends at 4 s, and the video at 2.00 s'),
    ('fight/1.avi,fall,2.5,', 'line 2: 0 frames are from its start to its end'),
    ('fight/1.avi,fall,-1,1', 'line 2: starts at -1 s, before the video'),
    ('fight/1.avi,fall,2,1', 'line 2: start 2 is not before end 1'),
    ('fight/3.avi,fall,,', 'line 2: .*no such file'),
  ],
)
def test_wrong_parts_are_named(tmp_path, raw_dir, row, message):
  (raw_dir / 'labels.csv').write_text(f'file,label,start,end\n{row}\nfight/2.avi,sit,,\n')
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir)
  assert load(tmp_path, raw_dir, allow_corrupt=1).index.key.tolist() == ['fight/2']


def test_a_cut_file_is_named(tmp_path, raw_dir, two_seconds):
  (raw_dir / 'fight' / '2.avi').write_bytes(two_seconds[: len(two_seconds) // 2])
  with pytest.raises(UserError, match=r'fight/2\.avi.*--allow_corrupt=1'):
    load(tmp_path, raw_dir)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'short_side': 0}, 'short_side=0: must be a whole number'),
    ({'rate': -1.0}, 'rate=-1.0: must be frames a second'),
    ({'title': ''}, 'title='),
  ],
)
def test_wrong_options(tmp_path, raw_dir, options, message):
  with pytest.raises(UserError, match=message):
    load(tmp_path, raw_dir, **options)


def test_without_its_folder(tmp_path):
  with pytest.raises(UserError, match=r"no dataset 'toy' has been prepared .* --raw_dir"):
    load(tmp_path, None)


def test_opencv_is_needed_to_prepare_flow_alone(tmp_path, raw_dir, monkeypatch):
  load(tmp_path, raw_dir, flow=0.05)
  monkeypatch.setitem(sys.modules, 'cv2', None)
  assert len(load(tmp_path, raw_dir, flow=0.05).index) == 4
  with pytest.raises(UserError, match=r'pip install -r requirements-flow.txt'):
    load(tmp_path, raw_dir, title='other', flow=0.05)
  assert not list((tmp_path / 'data' / 'clips').glob('*/other*'))


def test_flow_is_stored_beside_the_frames(tmp_path, raw_dir):
  plain = load(tmp_path, raw_dir)
  data = load(tmp_path, raw_dir, title='moving', flow=0.15)
  assert data.metadata['modalities'] == ['rgb', 'flow']
  assert data.metadata['rates'] == {'rgb': 15.0, 'flow': 15.0}
  record = data.records(('rgb', 'flow'))[0]
  assert len(record['flow']) == len(record['rgb']) == 30
  assert Image.open(io.BytesIO(record['flow'][0])).size == (32, 48)
  assert data.metadata['frames']['flow'].endswith('; 0.15 s on')
  assert data.channels['flow'][1] == ('motion along y', 'pixels')
  assert 'flow' not in plain.records(('rgb',))[0]
  assert plain.metadata['modalities'] == ['rgb']


def test_flow_is_over_the_same_time_at_any_rate(tmp_path, raw_dir):
  found = {}
  for rate in (15.0, 5.0):
    data = load(tmp_path, raw_dir, title=f'at_{rate:g}', rate=rate, flow=0.2)
    found[rate] = data.records(('rgb', 'flow'))[0]
  # Three frames on of those at 15 a second, and one at 5, which are the same pictures.
  assert found[5.0]['rgb'] == found[15.0]['rgb'][1::3]
  assert found[5.0]['flow'][:-1] == found[15.0]['flow'][1:-3:3]


def test_one_frame_has_no_flow(tmp_path, raw_dir):
  assert len(load(tmp_path, raw_dir, rate=0.5).records(('rgb',))[0]['rgb']) == 1
  with pytest.raises(
    UserError, match=r'1\.avi: at 0\.5 frames a second it is one, which has no flow'
  ):
    load(tmp_path, raw_dir, title='moving', rate=0.5, flow=0.05)
