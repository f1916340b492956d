"""Values that make sense, and what is told of those that do not."""

import dataclasses

import pytest

from har import options, ranges
from har.errors import UserError

SCHEMA = {
  'length': options.size(3),
  'fit': options.choice('pad', 'resample'),
  'flip': options.flag(False),
  'rate': options.amount(0.5, below=1),
  'share': options.amount(most=1),
  'mean': options.numbers(0.0),
  'std': options.numbers(1.0, positive=True),
}


def test_defaults_are_filled_in():
  assert options.read(SCHEMA, {'length': 4, 'std': (1, 2.0)}, 'inputs.x') == {
    **{'length': 4, 'fit': 'pad', 'flip': False, 'rate': 0.5, 'share': 0.0},
    **{'mean': 0.0, 'std': (1, 2.0)},
  }
  assert options.read(SCHEMA, None, 'inputs.x')['length'] == 3


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ({'lenght': 3}, r"inputs\.x\.lenght=3: no such option; did you mean 'length'\?"),
    ({'other': 3}, r'inputs\.x\.other=3: no such option; there are length, fit, flip, rate, share'),
    ({'length': 0}, r'inputs\.x\.length=0: must be a whole number from 1 to 1000000$'),
    ({'length': 2.0}, r'length=2\.0: must be a whole number'),
    ({'fit': 'loop'}, "fit='loop': must be one of 'pad', 'resample'"),
    ({'flip': 1}, 'flip=1: must be true or false'),
    ({'rate': 1.0}, 'rate=1.0: must be a finite number, at least 0, below 1'),
    ({'rate': True}, 'rate=True: must be a finite number'),
    ({'rate': float('nan')}, 'rate=nan: must be a finite number, at least 0'),
    ({'share': 1.5}, 'share=1.5: must be a finite number from 0 to 1'),
    ({'share': -1}, 'share=-1: must be a finite number from 0 to 1'),
    ({'mean': (1, 'a')}, 'must be a finite number, or a tuple of values, each a finite number'),
    ({'std': (1, 0)}, r'std=\(1, 0\): must be a finite number, above 0, or a tuple'),
    ({'std': 'x' * 200}, r"std='x{56}\.\.\.: must be"),
    (5, r'inputs\.x=5: must be options by name'),
  ],
)
def test_wrong_values(config, message):
  with pytest.raises(UserError, match=message):
    options.read(SCHEMA, config, 'inputs.x')


def test_options_without_a_default_are_needed_and_absent_ones_are_not():
  schema = {
    'a': options.Option(options.MISSING, ranges.SIZE),
    'b': options.Option(1, ranges.SIZE),
    'c': options.Option(options.ABSENT, ranges.SIZE),
  }
  assert options.defaults(schema) == {'b': 1}
  options.check(schema, {'a': 3}, 'x')
  options.check(schema, {'a': 3, 'b': 2}, 'x', complete=True)
  for given, complete, name in (({}, False, 'a'), ({'a': 3}, True, 'b')):
    with pytest.raises(UserError, match=f'x.{name} is missing: it must be a whole number from 1'):
      options.check(schema, given, 'x', complete=complete)


def test_a_class_by_its_kind():
  @dataclasses.dataclass
  class Thing:
    size: int = 2
    parts: tuple[int, ...] = ()
    given: float = 0.0

  kinds = {'thing': Thing}
  config = {'kind': 'thing', 'parts': [1, 2]}
  assert options.build(kinds, config, 'x', {'given': 3.0, 'other': 1}, ('given',)) == Thing(
    2, (1, 2), 3.0
  )
  with pytest.raises(UserError, match=r'x\.given=1: no such option; there are kind, size, parts'):
    options.build(kinds, {'kind': 'thing', 'given': 1}, 'x', {}, ('given',))
  with pytest.raises(UserError, match=r"x\.kind='think': must be 'thing'"):
    options.build(kinds, {'kind': 'think'}, 'x', {})
  with pytest.raises(UserError, match=r'x\.kind is missing'):
    options.build(kinds, None, 'x', {})


def test_tables():
  assert options.table({'rate': options.amount(0.5, below=1, meaning='a | b')}) == (
    '| option | default | must be |  |\n| --- | --- | --- | --- |\n'
    '| `rate` | `0.5` | a finite number, at least 0, below 1 | a \\| b |'
  )
