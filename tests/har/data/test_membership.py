import gzip

import numpy as np
import pytest

from har.data.membership import Membership, changes
from har.data.protocols import Index, Splits
from har.errors import UserError

NAMES = ('fallen', 'gehen 走', 'sitzen')


def of(parts='tttvsu', labels=(0, 1, 2, 0, 1, 2), people=(1, 1, 2, 3, 4, 5), keys='abcdef', **more):
  columns = {'key': np.array(list(keys)), 'label': np.array(labels, np.int32)}
  if people is not None:
    columns['subject'] = np.array(people)
  splits = Splits(*(np.array([i for i, p in enumerate(parts) if p == one], int) for one in 'tvsu'))
  names = more.get('names', NAMES)
  return Membership.of(Index(columns), splits, names, 'subject')


def test_nothing_differs_from_itself(tmp_path):
  one = of()
  one.write(tmp_path / 'x')
  again = Membership.read(tmp_path / 'x')
  assert again == one
  assert again.digests() == one.digests()
  assert changes(again, one) == []
  one.write(tmp_path / 'y')
  assert (tmp_path / 'x').read_bytes() == (tmp_path / 'y').read_bytes()


def test_digests_count_examples_and_people():
  found = of().digests()
  assert [found[part][:2] for part in ('train', 'validation', 'test', 'unused')] == [
    '3 ', '1 ', '1 ', '1 '
  ]  # fmt: skip
  assert found['people'].startswith('5 people')
  assert found['class_names'] == list(NAMES)
  assert 'people' not in of(people=None).digests()


CHANGES = {
  'leak': (
    {'parts': 'tsvvsu'},
    [
      '2 examples that it was trained on are evaluated on now (b was trained on and is now '
      'tested; c was trained on and now chooses it)'
    ],
    ('train', 'validation', 'test', 'people'),
  ),
  'moved': (
    {'parts': 'tttvst'},
    ['1 example is in another part (f was left out and is now trained on)'],
    ('train', 'unused', 'people'),
  ),
  'class': (
    {'labels': (0, 1, 1, 0, 1, 2)},
    ["1 example is of another class (c: 'sitzen' there, 'gehen 走' here)"],
    ('train',),
  ),
  'person': (
    {'people': (1, 2, 2, 3, 4, 5)},
    ['1 example is of another person (b: 1 there, 2 here)'],
    ('people',),
  ),
  'keys': (
    {'keys': 'abcdxy'},
    ['2 examples are new (x in test; y in unused)', '2 examples are gone (e in test; f in unused)'],
    ('test', 'unused'),
  ),
  'order': ({'keys': 'acbdef', 'labels': (0, 2, 1, 0, 1, 2), 'people': (1, 2, 1, 3, 4, 5)},
            ['the examples are in another order'], ('train', 'people')),
  'classes': (
    {'names': NAMES[::-1], 'labels': (2, 1, 0, 2, 1, 0)},
    ['the classes are fallen, gehen 走, sitzen there and sitzen, gehen 走, fallen here'],
    ('class_names',),
  ),
}  # fmt: skip


@pytest.mark.parametrize('case', CHANGES)
def test_what_differs_is_named_and_its_digest_is_another(case):
  edits, expected, parts = CHANGES[case]
  old, new = of(), of(**edits)
  assert changes(old, new) == expected
  before, now = old.digests(), new.digests()
  assert {key for key in before if before[key] != now[key]} == set(parts)


def test_many_examples_are_counted():
  keys = 'abcdefghij'
  old = of('t' * 10, np.zeros(10), np.ones(10), keys)
  new = of('t' * 10, np.zeros(10), np.ones(10), keys.upper())
  assert changes(old, new)[0] == '10 examples are new (A in train; B in train; C in train; 7 more)'


def test_a_damaged_list_is_named(tmp_path):
  assert Membership.read(tmp_path / 'x') is None
  for content in (b'', b'x', gzip.compress(b'{"keys": []}'), gzip.compress(b'[')):
    (tmp_path / 'x').write_bytes(content)
    with pytest.raises(UserError, match=r'x is damaged .*use another --workdir'):
      Membership.read(tmp_path / 'x')
