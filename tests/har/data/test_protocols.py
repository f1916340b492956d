import itertools
import pickle

import numpy as np
import pytest

from har.data.protocols import (
  PARTS,
  Index,
  SplitOptions,
  cautions,
  class_counts,
  make_splits,
)
from har.errors import UserError

METADATA = {'train_subjects': (1, 3, 5, 7)}
# UTD-MHAD's trials: 27 actions, 8 subjects, 4 trials, less the three that do not exist.
ABSENT = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}


def make_index(subjects=range(1, 9), **more):
  trials = [
    (a, s, t)
    for s in subjects
    for a in range(1, 28)
    for t in range(1, 5)
    if (a, s, t) not in ABSENT
  ]
  action, subject, trial = np.array(trials, np.int32).T
  columns = {
    'key': np.array([f'a{a}_s{s}_t{t}' for a, s, t in trials]),
    'label': action - 1,
    'subject': subject,
    'trial': trial,
    'split': np.where(subject % 2 == 1, 'train', 'test'),
  }
  return Index(columns | {name: make(columns) for name, make in more.items()})


def without(index, *names):
  return Index({name: column for name, column in index.columns.items() if name not in names})


def split(index, metadata=METADATA, seed=0, **options):
  splits = make_splits(index, metadata, SplitOptions(**options), seed)
  together = np.concatenate([getattr(splits, part) for part in PARTS])
  assert sorted(together.tolist()) == list(range(len(index)))
  assert together.dtype == np.int64
  assert all((np.diff(getattr(splits, part)) > 0).all() for part in PARTS)
  return splits


def test_columns_are_attributes():
  index = make_index()
  assert index.subject is index.columns['subject'] is index.column('subject')
  assert not hasattr(index, 'cam')
  again = pickle.loads(pickle.dumps(index))
  np.testing.assert_array_equal(again.key, index.key)
  assert len(again) == 861


def counts(splits):
  return tuple(len(getattr(splits, part)) for part in PARTS)


def people(index, splits, column='subject'):
  """By part, who is in it; nobody is in two."""
  found = [set(index.columns[column][getattr(splits, part)].tolist()) for part in PARTS]
  assert not any(a & b for a, b in itertools.combinations(found[:3], 2))
  return found


def test_cross_subject_halves():
  index = make_index()
  splits = split(index)
  assert counts(splits) == (431, 0, 430, 0)
  assert people(index, splits) == [{1, 3, 5, 7}, set(), {2, 4, 6, 8}, set()]
  assert 'a8_s1_t3' in index.key[splits.train]
  assert 'a1_s2_t1' in index.key[splits.test]


def test_validation_is_cut_from_the_training_subjects():
  index = make_index()
  splits = split(index, validation_subjects=(3, 7))
  assert counts(splits) == (215, 216, 430, 0)
  assert people(index, splits)[:2] == [{1, 5}, {3, 7}]


@pytest.mark.parametrize(('subject', 'count'), [(1, 107), (2, 108), (8, 107)])
def test_leave_one_subject_out(subject, count):
  index = make_index()
  splits = split(index, protocol='leave_one_subject_out', test_subject=subject)
  assert counts(splits) == (861 - count, 0, count, 0)
  assert people(index, splits)[2] == {subject}


def test_subject_0_is_as_good_as_any():
  index = make_index(subjects=(0, 1, 2))
  splits = split(index, protocol='leave_one_subject_out', test_subject=0)
  assert people(index, splits) == [{1, 2}, set(), {0}, set()]
  splits = split(index, protocol='leave_one_subject_out', test_subject=1, validation_subjects=(0,))
  assert people(index, splits) == [{2}, {0}, {1}, set()]


def test_people_may_have_names():
  index = make_index(subjects=(1, 2, 3))
  names = np.array(['', 'ada', 'bob', 'cy'])[index.columns['subject']]
  index = Index({**index.columns, 'subject': names})
  splits = split(
    index, protocol='leave_one_subject_out', test_subject='bob', validation_subjects=['ada']
  )
  assert people(index, splits) == [{'cy'}, {'ada'}, {'bob'}, set()]
  splits = split(index, {'train_subjects': ['ada', 'cy']})
  assert people(index, splits) == [{'ada', 'cy'}, set(), {'bob'}, set()]


def test_leave_one_subject_out_with_validation():
  index = make_index()
  splits = split(index, protocol='leave_one_subject_out', test_subject=1, validation_subjects=[2])
  assert counts(splits) == (646, 108, 107, 0)
  people(index, splits)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'protocol': 'cross_view'}, "protocol='cross_view': not one of cross_subject"),
    ({'protocol': 'leave_one_subject_out'}, 'test_subject=0: not one of the subjects'),
    ({'protocol': 'leave_one_subject_out', 'test_subject': 9}, 'test_subject=9'),
    ({'protocol': 'leave_one_subject_out', 'test_subject': '1'}, 'test_subject=1: not one of'),
    ({'test_subject': 1}, 'only the protocol leave_one_subject_out'),
    ({'fold': 1}, 'fold=1: only the protocols folds, official, frac'),
    ({'protocol': 'folds'}, 'fold=0: must be 1 to 5'),
    ({'protocol': 'folds', 'fold': 6}, 'fold=6: must be 1 to 5'),
    ({'protocol': 'folds', 'fold': 1, 'folds': 9}, 'folds=9: must be 2 to 8'),
    ({'protocol': 'folds', 'fold': 1, 'folds': 1}, 'folds=1: must be 2 to 8'),
    ({'protocol': 'folds', 'fold': 1, 'group': 'house'}, "protocol=folds: .* no column 'house'"),
    ({'protocol': 'official', 'fold': 2}, "no column 'split2'; they have key, label, subject"),
    ({'protocol': 'fractions', 'group': 'house'}, "protocol=fractions: .* no column 'house'"),
    (
      {'protocol': 'by_clip', 'fractions': (0.5, 0.1, 0.1)},
      r'fractions=\(0\.5, 0\.1, 0\.1\): must add up to 1',
    ),
    ({'validation_subjects': (2,)}, r'validation_subjects: \[2\] not among the training subjects'),
    (
      {'validation_subjects': (1,), 'validation_fraction': 0.2},
      r'validation_fraction=0\.2: must be 0 beside validation_subjects',
    ),
    (
      {'protocol': 'fractions', 'validation_fraction': 0.2},
      r'validation_fraction=0\.2: must be 0 .* with the protocols fractions',
    ),
    ({'validation_fraction': 0.01}, r'validation_fraction=0\.01: no subject is as small a part'),
    ({'validation_fraction': 0.2, 'group': 'cam'}, "validation_fraction: .* no column 'cam'"),
    ({'validation_subjects': (1, 3, 5, 7)}, 'no trial is left in the train split'),
  ],
)
def test_wrong_requests(arguments, message):
  with pytest.raises(UserError, match=message):
    split(make_index(), **arguments)


def test_a_half_without_trials_is_named():
  with pytest.raises(UserError, match='no trial is left in the test split'):
    split(make_index(subjects=(1, 3)))


@pytest.mark.parametrize(
  ('arguments', 'needs'),
  [
    ({}, 'protocol=cross_subject'),
    ({'protocol': 'leave_one_subject_out', 'test_subject': 1}, 'protocol=leave_one_subject_out'),
    ({'protocol': 'folds', 'fold': 1}, 'protocol=folds'),
    ({'protocol': 'official', 'validation_subjects': (1,)}, 'validation_subjects'),
  ],
)
def test_who_needs_subjects_says_so(arguments, needs):
  index = without(make_index(), 'subject', 'trial')
  with pytest.raises(UserError, match=f"{needs}: the records have no column 'subject'"):
    split(index, **arguments)


def test_a_dataset_without_people_or_metadata():
  index = without(make_index(), 'subject')
  with pytest.raises(UserError, match='no train_subjects; protocol=official takes the splits'):
    split(index, {})
  assert counts(split(index, {}, protocol='official')) == (431, 0, 430, 0)
  # Another column validates, and classes alone are drawn from.
  options = {'group': 'trial', 'validation_subjects': (4,), 'train_fraction': 0.5}
  splits = split(index, {}, protocol='official', **options)
  assert counts(splits) == (27 * 6, 107, 430, 27 * 6)
  splits = split(index, {}, protocol='official', train_fraction=0.25)
  assert len(splits.train) == 27 * 4
  assert (class_counts(index.label[splits.train], 27) == 4).all()


PLACES = METADATA | {
  'protocols': {
    'cross_view': {'field': 'cam', 'test': [4]},
    'cross_scene': {'field': 'scene', 'test': [2]},
    'cross_session': {'field': 'session', 'test': [5]},
    'morning': {'field': 'session', 'train': [1, 2], 'validation': [3], 'test': [4]},
  }
}


def make_places():
  """Subjects 1 to 4 in three scenes and five sessions before four cameras."""
  grid = np.meshgrid(range(1, 5), range(1, 5), range(1, 4), range(1, 6), indexing='ij')
  subject, cam, scene, session = (axis.reshape(-1).astype(np.int32) for axis in grid)
  return Index(
    {
      'key': np.array([f'{i}' for i in range(len(subject))]),
      'label': np.zeros(len(subject), np.int32),
      'subject': subject,
      'split': np.where(subject < 4, 'train', 'test'),
      'cam': cam,
      'scene': scene,
      'session': session,
    }
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
  splits = split(index, PLACES, protocol=protocol, validation_subjects=(2,))
  values = index.columns[field]
  assert set(values[splits.test].tolist()) == tested
  assert not set(values[np.concatenate([splits.train, splits.validation])].tolist()) & tested
  assert len(splits.test) == count
  subject = index.columns['subject']
  assert set(subject[splits.validation].tolist()) == {2}
  assert set(subject[splits.train].tolist()) == {1, 3, 4}
  assert set(subject[splits.test].tolist()) == {1, 2, 3, 4}


def test_a_dataset_s_own_protocol_may_leave_records_alone():
  index = make_places()
  splits = split(index, PLACES, protocol='morning')
  assert people(index, splits, 'session') == [{1, 2}, {3}, {4}, {5}]


def test_protocols_that_the_dataset_has_not():
  with pytest.raises(UserError, match=r"'cross_place': not one of .*, cross_view, cross_scene"):
    split(make_places(), PLACES, protocol='cross_place')


def test_official_lists():
  def lists(*shares):
    return lambda columns: np.array(shares)[np.arange(len(columns['key'])) % len(shares)]

  index = make_index(
    split=lists('train', 'validation', 'test', 'unused'),
    split1=lists('train', 'train', 'test'),
    split2=lists('test', 'train', 'unused'),
  )
  assert counts(split(index, protocol='official')) == (216, 215, 215, 215)
  assert counts(split(index, protocol='official', fold=1)) == (574, 0, 287, 0)
  second = split(index, protocol='official', fold=2)
  assert second.test.tolist() == list(range(0, 861, 3))
  assert second.unused.tolist() == list(range(2, 861, 3))
  wrong = make_index(split1=lists('train', 'dev', 'test'))
  with pytest.raises(UserError, match=r"official: split1 has \['dev'\], not only train, valid"):
    split(wrong, protocol='official', fold=1)


def test_every_person_is_tested_in_one_fold():
  index = make_index()
  tested = []
  for fold in (1, 2, 3):
    splits = split(index, protocol='folds', fold=fold, folds=3)
    train, _, test, _ = people(index, splits)
    assert train | test == set(range(1, 9))
    tested += [*splits.test.tolist()]
  assert sorted(tested) == list(range(861))


def test_folds_keep_source_groups_together_and_validate():
  index = make_places()
  splits = split(
    index, {}, protocol='folds', fold=2, folds=3, group='scene', validation_subjects=(1,)
  )
  assert people(index, splits, 'scene') == [{3}, {1}, {2}, set()]


@pytest.mark.parametrize('fold', [1, 2, 3])
def test_a_fraction_of_each_fold_s_training_groups_validates(fold):
  index = make_index(subjects=range(1, 13), scene=lambda columns: columns['subject'])
  options = {'protocol': 'folds', 'fold': fold, 'folds': 3, 'group': 'scene'}
  whole = split(index, {}, **options)
  splits = split(index, {}, **options, validation_fraction=0.25)
  np.testing.assert_array_equal(splits.test, whole.test)
  held = {part: set(index.scene[getattr(splits, part)].tolist()) for part in PARTS[:3]}
  # 8 scenes of as many examples each are left to train and to validate.
  assert [len(held[part]) for part in PARTS[:3]] == [6, 2, 4]
  assert len(set.union(*held.values())) == 12
  counts = class_counts(index.label[splits.validation], 27)
  assert set(counts.tolist()) <= {7, 8}
  again = split(index, {}, **options, validation_fraction=0.25)
  np.testing.assert_array_equal(again.validation, splits.validation)
  others = [split(index, {}, seed, **options, validation_fraction=0.25) for seed in range(1, 6)]
  assert any(set(index.scene[o.validation].tolist()) != held['validation'] for o in others)


def test_drawn_parts_keep_groups_apart_and_draws_differ():
  index = make_index(range(1, 21))
  first, second = (split(index, {}, protocol='fractions', fold=k) for k in (1, 2))
  # Of 20 people with as many trials 14, 3 and 3.
  assert [len(people(index, one)[i]) for one in (first, second) for i in range(4)] == [
    *(14, 3, 3, 0),
    *(14, 3, 3, 0),
  ]
  assert people(index, first) != people(index, second)
  halves = split(index, {}, protocol='fractions', fractions=(0.5, 0.0, 0.5))
  assert [len(part) for part in people(index, halves)] == [10, 0, 10, 0]
  assert cautions(index, first, SplitOptions(protocol='fractions')) == []


def test_parts_drawn_by_clip_are_told_to_leak():
  index, options = make_index(), SplitOptions(protocol='by_clip', fold=3)
  splits = split(index, {}, protocol='by_clip', fold=3)
  assert counts(splits) == (591, 135, 135, 0)  # 22, 5 and 5 of 32
  assert cautions(index, splits, options) == [
    '8 of the 8 tested values of subject are in training, too (protocol=by_clip), which flatters '
    'the figures; protocol=fractions parts none.'
  ]
  (said,) = cautions(without(index, 'subject'), splits, options)
  assert said.startswith('Clips of one source may be both in training and in the test')


def test_a_fraction_is_drawn_by_class_and_person():
  index = make_index()
  splits = split(index, train_fraction=0.25)
  assert counts(splits) == (108, 0, 430, 323)
  drawn = set(zip(index.label[splits.train], index.columns['subject'][splits.train], strict=True))
  assert len(drawn) == 27 * 4  # One trial of each action by each of the four.
  assert set(splits.test.tolist()) == set(split(index).test.tolist())


def test_a_draw_is_its_seed_s():
  index = make_index()
  first, again = (split(index, train_fraction=0.1, seed=1).train for _ in range(2))
  np.testing.assert_array_equal(first, again)
  other = split(index, train_fraction=0.1, seed=2).train
  assert len(other) == len(first)
  assert set(other.tolist()) != set(first.tolist())


def test_validation_is_not_drawn_from():
  index = make_index()
  splits = split(index, train_fraction=0.5, validation_subjects=(3,))
  assert counts(splits)[1:3] == (108, 430)
  assert len(splits.train) + len(splits.unused) == 431 - 108


def test_class_counts():
  counted = class_counts(np.array([3, 0, 3], np.int32), 5)
  assert counted.tolist() == [1, 0, 0, 2, 0]
  assert counted.dtype == np.int64
