import numpy as np
import pytest

from har.data.protocols import Index, make_splits
from har.errors import UserError

METADATA = {'train_subjects': (1, 3, 5, 7)}
# UTD-MHAD's trials: 27 actions, 8 subjects, 4 trials, less the three that do not exist.
ABSENT = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}


def make_index(subjects=range(1, 9)):
  trials = [
    (a, s, t)
    for s in subjects
    for a in range(1, 28)
    for t in range(1, 5)
    if (a, s, t) not in ABSENT
  ]
  action, subject, trial = np.array(trials, np.int32).T
  return Index(
    key=np.array([f'a{a}_s{s}_t{t}' for a, s, t in trials]),
    label=action - 1,
    subject=subject,
    trial=trial,
    split=np.where(subject % 2 == 1, 'train', 'test'),
  )


def assert_partition(splits, index):
  together = np.concatenate([splits.train, splits.validation, splits.test])
  assert sorted(together.tolist()) == list(range(len(index)))
  subjects = [
    set(index.subject[s].tolist()) for s in (splits.train, splits.validation, splits.test)
  ]
  assert not subjects[0] & subjects[1]
  assert not subjects[0] & subjects[2]
  assert not subjects[1] & subjects[2]
  return subjects


def test_cross_subject_halves():
  index = make_index()
  splits = make_splits(index, METADATA)
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (431, 0, 430)
  train, _, test = assert_partition(splits, index)
  assert train == {1, 3, 5, 7}
  assert test == {2, 4, 6, 8}
  assert 'a8_s1_t3' in index.key[splits.train]
  assert 'a1_s2_t1' in index.key[splits.test]


def test_validation_is_cut_from_the_training_subjects():
  index = make_index()
  splits = make_splits(index, METADATA, validation_subjects=(3, 7))
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (215, 216, 430)
  train, validation, _ = assert_partition(splits, index)
  assert train == {1, 5}
  assert validation == {3, 7}


@pytest.mark.parametrize(('subject', 'count'), [(1, 107), (2, 108), (8, 107)])
def test_leave_one_subject_out(subject, count):
  index = make_index()
  splits = make_splits(index, METADATA, 'leave_one_subject_out', test_subject=subject)
  assert len(splits.test) == count
  assert len(splits.train) == 861 - count
  assert_partition(splits, index)
  assert set(index.subject[splits.test].tolist()) == {subject}


def test_leave_one_subject_out_with_validation():
  index = make_index()
  splits = make_splits(
    index, METADATA, 'leave_one_subject_out', test_subject=1, validation_subjects=[2]
  )
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (646, 108, 107)
  assert_partition(splits, index)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'protocol': 'cross_view'}, "protocol='cross_view': not one of cross_subject"),
    ({'protocol': 'leave_one_subject_out'}, 'test_subject=None: not one of the subjects'),
    ({'protocol': 'leave_one_subject_out', 'test_subject': 9}, 'test_subject=9'),
    ({'test_subject': 1}, 'only the protocol leave_one_subject_out'),
    ({'validation_subjects': (2,)}, r'validation_subjects: \[2\] not among'),
    ({'validation_subjects': (1, 3, 5, 7)}, 'no trial is left in the train split'),
  ],
)
def test_wrong_requests(arguments, message):
  with pytest.raises(UserError, match=message):
    make_splits(make_index(), METADATA, **arguments)


def test_a_half_without_trials_is_named():
  with pytest.raises(UserError, match='no trial is left in the test split'):
    make_splits(make_index(subjects=(1, 3)), METADATA)


PLACES = METADATA | {
  'protocols': {
    'cross_view': {'field': 'cam', 'test': [4]},
    'cross_scene': {'field': 'scene', 'test': [2]},
    'cross_session': {'field': 'session', 'test': [5]},
  }
}


def make_places():
  """Subjects 1 to 4 in three scenes and five sessions before four cameras."""
  grid = np.meshgrid(range(1, 5), range(1, 5), range(1, 4), range(1, 6), indexing='ij')
  subject, cam, scene, session = (axis.reshape(-1).astype(np.int32) for axis in grid)
  return Index(
    key=np.array([f'{i}' for i in range(len(subject))]),
    label=np.zeros(len(subject), np.int32),
    subject=subject,
    trial=session,
    split=np.where(subject < 4, 'train', 'test'),
    cam=cam,
    scene=scene,
    session=session,
  )


@pytest.mark.parametrize(
  ('protocol', 'field', 'tested', 'count'),
  [
    ('cross_view', 'cam', {4}, 60),
    ('cross_scene', 'scene', {2}, 80),
    ('cross_session', 'session', {5}, 48),
  ],
)
def test_a_dataset_s_own_protocols(protocol, field, tested, count):
  index = make_places()
  splits = make_splits(index, PLACES, protocol, validation_subjects=(2,))
  values = getattr(index, field)
  assert set(values[splits.test].tolist()) == tested
  assert not set(values[np.concatenate([splits.train, splits.validation])].tolist()) & tested
  assert len(splits.test) == count
  together = np.concatenate([splits.train, splits.validation, splits.test])
  assert sorted(together.tolist()) == list(range(240))
  assert set(index.subject[splits.validation].tolist()) == {2}
  assert set(index.subject[splits.train].tolist()) == {1, 3, 4}
  assert set(index.subject[splits.test].tolist()) == {1, 2, 3, 4}


def test_protocols_that_the_dataset_has_not():
  with pytest.raises(UserError, match=r"'cross_place': not one of .*, cross_view, cross_scene"):
    make_splits(make_places(), PLACES, 'cross_place')
