import pathlib

import numpy as np
import pytest

from data_builders.mmact import names
from har.data import protocols
from har.errors import UserError

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')
CLIP = names.Clip(1, 2, 3, 4, 'fall')


def test_actions_are_35_without_duplicates_in_alphabetical_order():
  assert len(names.ACTIONS) == len(set(names.ACTIONS)) == len(names.LABELS) == 35
  assert list(names.ACTIONS) == sorted(names.ACTIONS)
  assert [names.LABELS[name] for name in names.ACTIONS] == list(range(35))


def test_the_manifest_has_every_action_in_both_splits():
  clips = names.read_manifest(MANIFEST)
  assert len(clips) == 279
  assert clips[names.Clip(17, 1, 4, 5, 'talking')] == 240
  for split in ('train', 'test'):
    assert {clip.action for clip in clips if clip.split == split} == set(names.ACTIONS)


@pytest.mark.parametrize(
  ('protocol', 'field', 'tested', 'count'),
  [
    ('cross_subject', 'subject', {17, 18, 19, 20}, 140),
    ('cross_view', 'cam', {4}, 70),
    ('cross_scene', 'scene', {2}, 60),
    ('cross_session', 'session', {5}, 39),
  ],
)
def test_protocols_part_the_clips(protocol, field, tested, count):
  clips = list(names.read_manifest(MANIFEST))
  columns = {f: np.array([getattr(clip, f) for clip in clips]) for f in names.NUMBERS}
  index = protocols.Index(
    {
      'key': np.array([clip.key for clip in clips]),
      'label': np.array([clip.label for clip in clips]),
      'split': np.array([clip.split for clip in clips]),
      **columns,
    }
  )
  metadata = {'train_subjects': names.TRAIN_SUBJECTS, 'protocols': names.PROTOCOLS}
  splits = protocols.make_splits(index, metadata, protocols.SplitOptions(protocol))
  assert len(splits.test) == count
  assert sorted([*splits.train, *splits.test]) == list(range(279))
  assert set(columns[field][splits.test].tolist()) == tested
  assert not set(columns[field][splits.train].tolist()) & tested


def test_subject_16_is_trained_on_and_17_is_not():
  assert names.Clip(16, 1, 1, 1, 'fall').split == 'train'
  assert names.Clip(17, 1, 1, 1, 'fall').split == 'test'


def test_paths_are_those_of_the_owner():
  assert CLIP.video_path == 'subject1/cam2/scene3/session4/fall.mp4'
  assert CLIP.event.sensor_path('gyro') == 'gyro_clip/subject1/scene3/session4/fall.csv'
  assert CLIP.key == 'subject1_cam2_scene3_session4_fall'
  assert CLIP._replace(cam=0).key == CLIP.event.key == 'subject1_scene3_session4_fall'


def test_every_path_is_parsed_to_what_it_was_made_from():
  for clip in names.read_manifest(MANIFEST):
    assert names.parse_video(f'any/folder/{clip.video_path}', '') == clip
    for stream in names.STREAMS:
      assert names.parse_sensor(clip.event.sensor_path(stream), '') == (stream, clip.event)


@pytest.mark.parametrize(
  'path',
  ['subject1/cam2/scene3/session4/FALL.MP4', 'Subject01/Cam2/scene3/session4/ fall .mp4'],
)
def test_case_and_blanks_in_names_do_not_matter(path):
  assert names.parse_video(path, '') == CLIP


@pytest.mark.parametrize(
  'path',
  [
    'subject1/scene3/session4/fall.mp4',
    'subject1/cam2/scene3/session4/fall.csv',
    'subject1/cam2/scene3/session4/more/fall.mp4',
    'subject1/cam2/scene3/session4.mp4',
    'xsubject1/cam2/scene3/session4/fall.mp4',
    'wifi_clip/subject1/scene3/session4/fall.csv',
    'gyro_clip/subject1/cam2/scene3/session4/fall.csv',
  ],
)
def test_other_files_are_none_of_the_dataset(path):
  assert names.parse_video(path, '') is None
  assert names.parse_sensor(path, '') is None


@pytest.mark.parametrize(
  ('path', 'message'),
  [
    ('subject21/cam2/scene3/session4/fall.mp4', 'HERE: there is no subject 21'),
    ('subject1/cam5/scene3/session4/fall.mp4', 'no cam 5 in MMAct, only 1 to 4'),
    ('subject1/cam2/scene0/session4/fall.mp4', 'no scene 0'),
    ('subject1/cam2/scene3/session6/fall.mp4', 'no session 6'),
    ('subject1/cam2/scene3/session4/falling.mp4', "'falling' is none of the 35 actions"),
  ],
)
def test_a_clip_that_cannot_be_is_an_error(path, message):
  with pytest.raises(UserError, match=message):
    names.parse_video(path, 'HERE')


def test_mixed_case_is_told_by_the_files_own_name():
  assert names.is_mixed_case('/Users/Me/subject1/Carrying_light.mp4')
  assert not names.is_mixed_case('/Users/Me/subject1/carrying_light.MP4')


HEADER = ','.join(names.MANIFEST_COLUMNS)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'not a readable manifest'),
    ('a,b\n1,2\n', 'its columns must be subject,cam'),
    (f'{HEADER}\n1,1,1,1,fall\n', 'line 2: not a clip'),
    (f'{HEADER}\n1,1,1,1,fall,9,9\n', 'line 2: not a clip'),
    (f'{HEADER}\n1,1,1,-1,fall,9\n', 'line 2: not a clip'),
    (f'{HEADER}\n1,1,1,1,fly,9\n', "line 2: 'fly' is none of the 35"),
    (f'{HEADER}\n1,1,1,1,fall,9\n1,1,1,1,Fall,9\n', 'line 3: .*fall.mp4 occurs twice'),
  ],
)
def test_a_wrong_manifest_names_the_line(tmp_path, text, message):
  path = tmp_path / 'clips.csv'
  path.write_text(text)
  with pytest.raises(UserError, match=message):
    names.read_manifest(path)


def test_no_manifest(tmp_path):
  with pytest.raises(UserError, match=r'none.csv: not a readable manifest \(No such file'):
    names.read_manifest(tmp_path / 'none.csv')
