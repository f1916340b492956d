"""Values that make sense, and what is told of those that do not."""

import pytest

from har.data import options
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
    ({'lenght': 3}, r'inputs\.x\.lenght: unknown option; known: length, fit'),
    ({'length': 0}, r'inputs\.x\.length=0: must be a whole number above 0'),
    ({'length': 2.0}, 'must be a whole number'),
    ({'fit': 'loop'}, "fit='loop': not one of pad, resample"),
    ({'flip': 1}, 'flip=1: must be true or false'),
    ({'rate': 1.0}, 'rate=1.0: must be below 1'),
    ({'rate': True}, 'rate=True: must be a number'),
    ({'rate': float('nan')}, 'rate=nan: must not be negative'),
    ({'share': 1.5}, 'share=1.5: must be at most 1'),
    ({'share': -1}, 'share=-1: must not be negative'),
    ({'mean': (1, 'a')}, 'must be a number, or a tuple of numbers'),
    ({'std': (1, 0)}, r'std=\(1, 0\): must be above 0'),
  ],
)
def test_wrong_values(config, message):
  with pytest.raises(UserError, match=message):
    options.read(SCHEMA, config, 'inputs.x')
