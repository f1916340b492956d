"""Events: hysteresis, minimum length, cool-down, by what comes out of scores written out."""

import pytest

from har.errors import UserError
from har.stream.events import Detector
from har.stream.options import Rule, of_flags


def follow(scores, rule, step=1.0, seconds=2.0):
  """What a track of scores gives; window k is from k to k + 2 s."""
  detector, found = Detector(rule, step), []
  for k, score in enumerate(scores):
    start = k * step
    found += detector.push(start, start + seconds, {'a': (score, 'a')})
  return found + list(detector.pause())


def spans(found, what='ended'):
  return [(one.start, one.end) for kind, one in found if kind == what]


def test_an_event_begins_above_on_and_goes_on_above_off():
  rule = Rule(on=0.6, off=0.4, cool_down=0.0)
  found = follow([0.1, 0.6, 0.61, 0.45, 0.9, 0.41, 0.4, 0.6], rule)
  ((what, raised), (last, event)) = found
  assert (what, last) == ('raised', 'ended')
  # Window 2 is from 2 to 4 s and stands for 2.5 to 3.5; window 5 for 5.5 to 6.5.
  assert (event.start, event.end) == (2.5, 6.5)
  assert (event.peak, event.confidence, event.raised) == (5.0, 0.9, 4.0)
  assert (raised.start, raised.end, raised.confidence) == (2.5, 3.5, 0.61)


def test_what_goes_on_at_the_end_ends():
  found = follow([0.1, 0.9, 0.9], Rule())
  assert spans(found) == [(1.5, 3.5)]


def test_what_is_too_short_is_none():
  rule = Rule(least=2.0, cool_down=0.0)
  found = follow([0.9, 0.1, 0.9, 0.9, 0.9, 0.1], rule)
  assert spans(found) == [(2.5, 5.5)]
  (raised,) = [one for kind, one in found if kind == 'raised']
  assert raised.raised == 5.0  # Window 3 is the second.
  assert raised.end == 4.5


def test_nothing_begins_while_it_cools_down():
  scores = [0.9, 0.1, 0.9, 0.9, 0.9, 0.9]
  assert spans(follow(scores, Rule(cool_down=0.0))) == [(0.5, 1.5), (2.5, 6.5)]
  assert spans(follow(scores, Rule(cool_down=2.0))) == [(0.5, 1.5), (3.5, 6.5)]
  # What was too short to be an event needs no rest.
  scores = [0.9, 0.1, 0.9, 0.9, 0.1]
  assert spans(follow(scores, Rule(least=2.0, cool_down=9.0))) == [(2.5, 4.5)]


def test_tracks_do_not_disturb_each_other():
  detector, found = Detector(Rule(cool_down=5.0), 1.0), []
  for k, (a, b) in enumerate([(0.9, 0.1), (0.1, 0.9), (0.1, 0.9), (0.1, 0.1)]):
    found += detector.push(k, k + 2, {'a': (a, 'a'), 'b': (b, 'b')})
  assert [(kind, one.name, one.start) for kind, one in found] == [
    ('raised', 'a', 0.5),
    ('ended', 'a', 0.5),
    ('raised', 'b', 1.5),
    ('ended', 'b', 1.5),
  ]


def test_an_event_is_named_after_its_peak():
  detector, found = Detector(Rule(), 1.0), []
  for k, (score, name) in enumerate([(0.7, 'push'), (0.8, 'fall'), (0.75, 'push')]):
    found += detector.push(k, k + 2, {'abnormal': (score, name)})
  found += detector.pause()
  assert [(kind, one.name) for kind, one in found] == [('raised', 'push'), ('ended', 'fall')]


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({'on': 0.3}, '--off=0.4 must be above 0 and at most --on=0.3'),
    ({'least': -1.0}, '--least=-1: must be a number, 0 or more'),
    ({'step': float('nan')}, '--step=nan: must be a number'),
  ],
)
def test_rules_that_make_no_sense_are_refused(flags, message):
  from har.stream.options import NUMBERS

  values = {name: default for name, (default, _) in NUMBERS.items()} | flags
  with pytest.raises(UserError, match=message):
    of_flags(values)
