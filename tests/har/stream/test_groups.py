"""Recordings are grouped by what their names say."""

import re

import pytest

from har.errors import UserError
from har.stream import groups

NAMES = ['F01/U02_R01', 'D01/U01_R01', 'F01/U01_R02']


def test_parts_of_names():
  assert groups.by_names('{class}/U{person}_*', NAMES) == {
    'class': {'D01': [1], 'F01': [0, 2]},
    'person': {'01': [1, 2], '02': [0]},
  }
  assert groups.by_names('{kind}0*', NAMES) == {'kind': {'D': [1], 'F': [0, 2]}}
  # What is no part is as it stands there.
  assert groups.by_names('a.b/{x}', ['a.b/1']) == {'x': {'1': [0]}}
  with pytest.raises(UserError, match='a_b/1 does not fit'):
    groups.by_names('a.b/{x}', ['a_b/1'])


@pytest.mark.parametrize(
  ('pattern', 'message'),
  [
    ('F01/*', '--by=F01/*: needs parts in braces'),
    ('{a}/{a}_*', 'needs parts in braces, each once'),
    ('{1}/*', 'needs parts in braces'),
    ('{class}/V{person}_*', '--by={class}/V{person}_*: F01/U02_R01 does not fit'),
    ('{class}', 'F01/U02_R01 does not fit'),
    ('{class}/{person}0*', 'F01/U02_R01 fits in two ways'),
  ],
)
def test_patterns_that_do_not_say_it_are_refused(pattern, message):
  with pytest.raises(UserError, match=re.escape(message)):
    groups.by_names(pattern, NAMES)
