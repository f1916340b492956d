"""Alarms are counted against the times of events that are known."""

import csv
import json

import numpy as np
import pytest

from har.errors import UserError
from har.stream import delays
from har.stream.delays import Streamed
from har.stream.exported import open_model
from har.stream.options import Options, Rule
from har.stream.windows import Windows
from tests.har.stream import exports


def refused(argv, capsys):
  with pytest.raises(SystemExit) as e:
    delays.main(argv)
  assert e.value.code == 2
  return capsys.readouterr().err


def test_an_alarm_is_of_an_event_until_a_while_after_it():
  raised = [1.0, 3.5, 4.0, 9.0, 9.1]
  assert delays.assign(raised, None, 5.0) == (None, 5)
  assert delays.assign(raised, (3.0, 4.0), 5.0) == (3.5, 2)
  assert delays.assign(raised, (1.5, 2.5), 0.5) == (None, 5)
  assert delays.assign([], (1.0, 2.0), 5.0) == (None, 0)


def test_figures_by_hand():
  streamed = [
    Streamed('a', 10.0, (2.0, 4.0), 3.5, 0),
    Streamed('b', 10.0, (2.0, 4.0), 5.0, 2),
    Streamed('c', 10.0, (2.0, 4.0), 6.5, 0),
    Streamed('d', 10.0, (2.0, 4.0), None, 1),
    Streamed('e', 1200.0, None, None, 3),
    Streamed('f', 600.0, None, None, 0),
  ]
  found = delays.summary(streamed)
  assert found == {
    'events': 4,
    'found': 0.75,
    'delay': {'p5': pytest.approx(-0.35), 'median': 1.0, 'p95': pytest.approx(2.35)},
    'within_1s': 0.5,
    'normal': 2,
    'normal_alarmed': 0.5,
    'hours': 0.5,
    'false_per_hour': 6.0,
    'false_beside': 3,
  }
  rows = list(csv.DictReader(delays.table(streamed).splitlines()))
  assert [row['delay'] for row in rows] == ['-0.5', '1.0', '2.5', '', '', '']
  assert rows[4]['false_alarms'] == '3'
  nothing = delays.summary(streamed[4:])
  assert (nothing['found'], nothing['delay']['median'], nothing['within_1s']) == (None, None, None)
  assert delays.summary(streamed[:4])['false_per_hour'] is None


def test_figures_by_class_and_person():
  streamed = [
    Streamed('fall/p1_a', 10.0, (2.0, 4.0), 3.5, 0),
    Streamed('fall/p2_a', 10.0, (2.0, 4.0), 5.0, 2),
    Streamed('fall/p2_b', 10.0, (2.0, 4.0), None, 0),
    Streamed('rest/p1_a', 1200.0, None, None, 3),
    Streamed('trip/p3_a', 10.0, (2.0, 4.0), None, 0),
  ]
  found = delays.summaries(streamed, '{class}/p{person}_*')
  assert {part: list(own) for part, own in found.items()} == {
    **{'class': ['fall', 'rest', 'trip'], 'person': ['1', '2', '3']}
  }
  assert found['class']['fall'] == delays.summary(streamed[:3])
  assert found['person']['1'] == delays.summary([streamed[0], streamed[3]])
  rows = [line.split() for line in delays.lines('class', found['class']).splitlines()[2:]]
  assert rows == [['fall', '3', '66.7%', '0.25', '0'], ['rest', '0', '1', '20.0', '9.0']] + [
    ['trip', '1', '0.0%', '0']
  ]
  one = [line.split() for line in delays.lines('person', found['person']).splitlines()[2:]]
  assert one[0] == ['1', '1', '100.0%', '-0.50', '1', '20.0', '9.0']


def test_events_are_read_as_they_are_published(tmp_path):
  path = tmp_path / 'events.csv'
  path.write_text('\ufefffilename,start_time,end_time\nF01/U01_R01,4.7,7.7\n\nF02/U01_R01,1,2\n')
  assert delays.read_events(path) == {'F01/U01_R01': (4.7, 7.7), 'F02/U01_R01': (1.0, 2.0)}


@pytest.mark.parametrize(
  ('lines', 'message'),
  [
    ('a,1', 'line 2 is not NAME,START,END'),
    ('a,2,1', 'line 2 is not NAME,START,END'),
    ('a,1,x', 'line 2 is not NAME,START,END'),
    ('a,1,nan', 'line 2 is not NAME,START,END'),
    ('a,1,2\na,3,4', 'line 3: a has an event already'),
  ],
)
def test_tables_that_are_none_are_refused(tmp_path, lines, message):
  path = tmp_path / 'events.csv'
  path.write_text(f'name,start,end\n{lines}\n')
  with pytest.raises(UserError, match=message):
    delays.read_events(path)


def test_a_threshold_must_be_known(resampled, anomaly):
  with pytest.raises(UserError, match='names no abnormal class'):
    delays.fitted(open_model(resampled), Options(), 0.7)
  with pytest.raises(UserError, match='give --threshold'):
    delays.fitted(open_model(anomaly), Options(), None)
  model = open_model(resampled)
  model.about['abnormal'].append('wave')
  with pytest.raises(UserError, match='give --on'):
    delays.fitted(model, Options(), None)
  model.about['alarm'] = {'value': float(np.log(0.8 / 0.2))}
  found = delays.fitted(model, Options(rule=Rule(off=0.5)), None).rule
  assert (found.on, found.off) == (pytest.approx(0.8), 0.5)
  model.about['alarm'] = {'value': 50.0}  # Whose probability is 1 in 64 bits.
  assert delays.fitted(model, Options(), None).rule.on < 1
  assert delays.fitted(model, Options(), 0.3).rule == Rule(on=0.3, off=0.3)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Somebody who rests, and moves from the third second to the sixth; and who only rests."""
  root = tmp_path_factory.mktemp('recordings')
  (root / 'x').mkdir()
  exports.table(root / 'x' / 'fall_a.csv', exports.movement(9.0))
  exports.table(root / 'x' / 'rest_a.csv', exports.movement(2.9))
  exports.table(root / 'other_a.csv', exports.movement(2.9))
  (root / 'events.csv').write_text('name,start,end\nx/fall,3.2,4.0\nx/lost,1,2\n')
  return root


def test_recordings_are_streamed(anomaly, folder, tmp_path, capsys):
  """An alarm comes with the first window whose score is above the threshold."""
  model, path = open_model(anomaly), folder / 'x' / 'fall_a.csv'
  scores = []
  for threshold in (1e-9, 1e9):  # Always, never.
    raised, seconds = delays.stream(
      model, [str(path)], Options(seconds=1.0, step=0.25, threshold=threshold)
    )
    assert seconds == pytest.approx(8.98)
    scores.append(raised)
  assert scores == [[1.0], []]
  windows = Windows(model, {'imu': 50.0}, seconds=1.0, step=0.25)
  found = [
    d
    for t, x in enumerate(np.loadtxt(path, delimiter=',', skiprows=1)[:, 1:])
    for d in windows.push('imu', t / 50, x)
  ]
  resting = max(d.score for d in found if d.end <= 3.0)
  highest = max(d.score for d in found)  # At the threshold nothing is an alarm, as in evaluation.
  for threshold, count in ((highest, 0), (np.nextafter(highest, 0), 1)):
    exactly = Options(seconds=1.0, step=0.25, threshold=float(threshold))
    assert len(delays.stream(model, [str(path)], exactly)[0]) == count
  (first, *_) = [d for d in found if d.score > 1.5 * resting]
  argv = [f'--model={anomaly}', f'--folder={folder}', f'--events={folder / "events.csv"}']
  argv += ['--files={name}_a.csv', '--only=x/*', '--seconds=1', '--step=0.25']
  argv += [f'--threshold={1.5 * resting}', f'--output={tmp_path / "out.csv"}', '--by={at}/{what}']
  assert delays.main(argv) == 0
  told = capsys.readouterr()
  figures = json.loads(told.out)
  assert (figures['events'], figures['found'], figures['normal']) == (1, 1.0, 1)
  assert figures['delay']['median'] == pytest.approx(first.end - 4.0)
  assert (figures['false_per_hour'], figures['false_beside']) == (0.0, 0)
  only = {'events': 0, 'found': None, 'normal': 1, 'false_per_hour': 0.0}
  assert only.items() <= figures['by']['what']['rest'].items()
  assert figures['by']['at']['x'] == {n: v for n, v in figures.items() if n != 'by'}
  assert 'what  Events  With alarm  Median delay (s)' in told.err
  assert '1 events are of recordings that are not there: x/lost' in told.err
  rows = list(csv.DictReader((tmp_path / 'out.csv').read_text().splitlines()))
  assert [row['name'] for row in rows] == ['x/fall', 'x/rest']
  assert float(rows[0]['raised']) == pytest.approx(first.end)


def test_what_is_not_there_is_told(anomaly, folder, capsys):
  argv = [f'--model={anomaly}', f'--folder={folder}', '--threshold=1']
  there = [f'--events={folder / "events.csv"}', '--files={name}_a.csv']
  assert 'must have {name} once' in refused([*argv, there[0], '--files=a.csv'], capsys)
  assert 'no recordings {name}_z.csv' in refused([*argv, there[0], '--files={name}_z.csv'], capsys)
  assert '--within=-1: must be' in refused([*argv, *there, '--within=-1'], capsys)
  assert 'cannot be read' in refused([*argv, '--events=nowhere.csv', there[1]], capsys)
  assert 'other does not fit' in refused([*argv, *there, '--by=x/{what}'], capsys)
