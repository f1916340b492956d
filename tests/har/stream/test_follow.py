"""Streams: the events of `predict`, also after kills; drops are counted and lag is bounded."""

import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from har.errors import UserError
from har.stream import __main__ as command
from har.stream import follow, predict, recordings
from har.stream import queue as queue_lib
from har.stream.counters import Counters
from har.stream.exported import open_model
from har.stream.log import EventLog
from har.stream.options import Options
from har.stream.session import Session
from tests.har.stream import exports
from tests.launching import ROOT

OPTIONS = Options(seconds=1.0, step=0.25)
KILLS = 20


def flags(export, options):
  values = {**dataclasses.asdict(options.rule), 'seconds': options.seconds, 'step': options.step}
  return [f'--model={export}', *(f'--{name}={value!r}' for name, value in values.items())]


def lines(path, state='ended'):
  found = [json.loads(line) for line in path.read_text().splitlines()]
  for one in found:
    assert one.pop('at')[:2] == '20'
  return [{n: x for n, x in one.items() if n != 'state'} for one in found if one['state'] == state]


def predicted(export, paths, options, folder):
  predict.predict(open_model(export), [str(path) for path in paths], folder, options)
  return json.loads((folder / 'timeline.json').read_text())['events']


@pytest.mark.parametrize('name', ['resampled', 'causal'])
def test_a_streamed_file_has_the_events_that_predict_finds(name, request, tmp_path, capsys):
  export = request.getfixturevalue(name)
  path = exports.table(tmp_path / 'a.csv', exports.movement(40.0))
  options = exports.lively(open_model(export), path, OPTIONS)
  expected = predicted(export, [path], options, tmp_path / 'out')
  assert len(expected) > 3
  capsys.readouterr()
  log = tmp_path / 'log.jsonl'
  report = tmp_path / 'counters.json'
  args = [*flags(export, options), f'--source={path}', f'--log={log}', f'--counters={report}']
  assert command.main(args) == 0
  assert lines(log) == expected
  assert len(lines(log, 'raised')) == len(expected)
  *told, counted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [one['name'] for one in told if one['state'] == 'ended'] == [e['name'] for e in expected]
  assert counted.pop('state') == 'counters'
  assert counted == json.loads(report.read_text())
  assert counted['taken'] == {'imu': 2000}
  assert counted['dropped'] == {}
  assert counted['windows'] == {'known': 157, 'passed_over': 0}
  assert counted['events'] == {'raised': len(expected), 'ended': len(expected)}
  assert 0 < counted['latency_ms']['p50'] <= counted['latency_ms']['max']


def test_a_pair_and_a_video_alone_likewise(both, film, tmp_path):
  samples = exports.table(tmp_path / 'a.csv', exports.movement(12.0))
  rng = np.random.default_rng(0)
  pictures = (rng.integers(0, 255, (180, 1, 1, 3)) * np.ones((24, 32, 1))).astype(np.uint8)
  video = exports.film(tmp_path / 'a.mkv', pictures)
  for export, paths in ((film, [video]), (both, [samples, video])):
    options = dataclasses.replace(OPTIONS, step=0.1)
    if export is film:
      options = exports.lively(open_model(export), video, options)
    expected = predicted(export, paths, options, tmp_path / export.parent.name)
    log = tmp_path / f'{len(paths)}.jsonl'
    source = ','.join(map(str, paths))
    assert command.main([*flags(export, options), f'--source={source}', f'--log={log}']) == 0
    assert lines(log) == expected
    assert expected


def test_standard_input_is_a_file_that_comes_by_and_by(causal, tmp_path):
  samples = exports.movement(20.0)
  path = exports.table(tmp_path / 'a.csv', samples)
  options = exports.lively(open_model(causal), path, OPTIONS)
  expected = predicted(causal, [path], options, tmp_path / 'out')
  text = path.read_text().replace('\n', '\nwhat,ever\n', 1)
  done = subprocess.run(
    [sys.executable, '-m', 'har.stream', *flags(causal, options), '--source=-', '--pace=fast'],
    cwd=ROOT,
    input=text,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  found = [json.loads(line) for line in done.stdout.splitlines()]
  ended = [
    {n: x for n, x in one.items() if n != 'state'} for one in found if one['state'] == 'ended'
  ]
  assert ended == expected
  assert found[-1]['bad_lines'] == 1


def test_after_a_kill_the_log_holds_every_event_that_was_told(causal, tmp_path):
  """And no broken line: 20 kills, at another moment each."""
  path = exports.table(tmp_path / 'a.csv', exports.movement(240.0))
  options = exports.lively(open_model(causal), path, OPTIONS)
  expected = predicted(causal, [path], options, tmp_path / 'out')
  assert len(expected) > 24
  log, told = tmp_path / 'log.jsonl', []
  args = [*flags(causal, options), f'--source={path}', f'--log={log}']
  for kill in range(KILLS):
    process = subprocess.Popen(
      [sys.executable, '-m', 'har.stream', *args],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    for line in process.stdout:
      one = json.loads(line)
      if one['state'] == 'ended':
        told.append((kill, {n: x for n, x in one.items() if n != 'state'}))
        if sum(k == kill for k, _ in told) == 1 + kill % 12:  # Half of them is still to come.
          break
    os.kill(process.pid, signal.SIGKILL)
    left = process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    for line in left:
      if line.endswith('\n') and (one := json.loads(line))['state'] == 'ended':
        told.append((kill, {n: x for n, x in one.items() if n != 'state'}))
    assert log.read_bytes().endswith(b'\n')
    # One run after another, each from the beginning on.
    written, runs = lines(log), []
    for event in written:
      if event == expected[0]:
        runs.append([])
      runs[-1].append(event)
    assert len(runs) == kill + 1
    assert all(run == expected[: len(run)] for run in runs)
    mine = [event for k, event in told if k == kill]
    assert runs[-1][: len(mine)] == mine
    assert len(runs[-1]) - len(mine) <= 1  # Written, and not told any more.
  assert command.main(args) == 0
  assert lines(log)[-len(expected) :] == expected


def test_an_endless_stream_ends_at_a_signal(causal, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(60.0))
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'har.stream', f'--model={causal}', f'--source={path}'),
      *('--pace=real', '--windows', '--seconds=1.0'),
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  started = time.monotonic()
  first = json.loads(process.stdout.readline())
  assert (first['start'], first['end']) == (0.0, 1.0)
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0, err
  assert time.monotonic() - started < 30
  counted = json.loads(out.splitlines()[-1])
  assert 50 <= counted['taken']['imu'] < 1500
  assert counted['dropped'] == {}


class Hurried:
  """A live source and a slow model, by a clock that nothing moves but the model's work and waiting
  for what comes next."""

  def __init__(self, recording, counters):
    self.now, self.calls, self.cost = 0.0, 0, 0.0
    self._queue = queue_lib.Queue(1, counters)
    self._coming = collections.deque(recording.items())

  def slow(self, run):
    """What runs a model, so that each call costs time."""

    def work(inputs):
      self.calls += 1
      self._wait(self.cost)
      return run(inputs)

    return work

  def _wait(self, seconds):
    end = self.now + seconds
    while self._coming and self._coming[0].time <= end:
      self.now = max(self.now, self._coming[0].time)
      self._queue.put(self._coming.popleft())
    self.now = end

  def arrivals(self):
    while True:
      if batch := self._queue.get(0.0):
        yield batch
      elif not self._coming:
        return
      else:
        self._wait(self._coming[0].time - self.now)


def hurried(model, recording, cost, monkeypatch):
  """What is counted where each call of the model costs so much, the lags of what was said of
  windows behind their ends, and how many calls there were."""
  counters, lags = Counters(), []
  source = Hurried(recording, counters)
  clock = types.SimpleNamespace(monotonic=lambda: source.now)
  monkeypatch.setattr(follow, 'time', clock)
  monkeypatch.setattr(queue_lib, 'time', clock)
  step = model.step and dataclasses.replace(model.step, run=source.slow(model.step.run))
  slow = dataclasses.replace(model, run=source.slow(model.run), step=step)
  session = Session(slow, {recording.source: recording.rate}, OPTIONS, live=True)
  source.cost = cost

  def say(record):
    if record['state'] == 'window':
      lags.append(source.now - record['end'])

  follower = follow.Follower(session, counters, windows=True, say=say)
  return follower.follow(source.arrivals()), lags, source.calls


@pytest.mark.parametrize('kind', ['window by window', 'row by row'])
def test_at_half_the_needed_speed_drops_are_counted_and_lag_is_bounded(
  kind, request, tmp_path, monkeypatch
):
  """Calls take twice the time that there is for them."""
  if kind == 'row by row':
    model, total, seconds = open_model(request.getfixturevalue('film')), 300, 20.0
    pictures = np.random.default_rng(0).integers(0, 255, (total, 24, 32, 3), np.uint8)
    path = exports.film(tmp_path / 'a.mkv', pictures)
  else:
    model, total, seconds = open_model(request.getfixturevalue('resampled')), 3000, 60.0
    path = exports.table(tmp_path / 'a.csv', exports.movement(seconds))
  (recording,) = recordings.open_files([str(path)], model)
  counted, lags, calls = hurried(model, recording, 0.0, monkeypatch)
  assert counted['dropped'] == {}
  windows = round((seconds - 1.0) / 0.25) + 1
  assert counted['windows'] == {'known': windows, 'passed_over': 0}
  assert max(lags) < 0.1  # The frame after a window's last tells that it has ended.
  cost, source = 2 * seconds / calls, recording.source
  counted, lags, _ = hurried(model, recording, cost, monkeypatch)
  told = counted['windows']
  assert len(lags) == told['known'] + told.get('unknown', 0)
  if kind == 'row by row':
    dropped = counted['dropped'][source]
    assert counted['taken'][source] + dropped == total
    assert dropped > total / 2
    assert windows - 2 <= sum(told.values()) <= windows  # The last may never be complete.
    assert told['known'] > windows / 3 < told['passed_over'] + 0.1 * windows
    assert counted['waited_ms']['max'] <= 400
  else:
    assert (counted['taken'], counted['dropped']) == ({source: total}, {})
    assert told == {'known': 118, 'passed_over': 119}
    # What came first while a window was computed waited for the end of it.
    assert counted['waited_ms']['max'] == pytest.approx(1e3 * cost, abs=1.0)
    # From the sample that completed a window, until the one before and it were computed.
    assert counted['latency_ms']['max'] == pytest.approx(1e3 * (cost + 0.25 + 0.01), abs=1.0)
    faster, _, _ = hurried(model, recording, 0.7 * cost, monkeypatch)
    assert faster['dropped'] == {}
    assert faster['windows']['passed_over'] < 0.4 * windows
    assert faster['latency_ms']['max'] <= 1000
  assert counted['latency_ms']['max'] <= 1000
  assert max(lags) <= 1.25  # And a window's step until something completes it.


def test_a_source_that_fails_ends_what_goes_on(resampled, tmp_path, capsys):
  model, counters = open_model(resampled), Counters()
  path = exports.table(tmp_path / 'a.csv', exports.movement(10.0))
  (recording,) = recordings.open_files([str(path)], model)
  options = exports.lively(model, path, OPTIONS)

  def items():
    for item in recording.items():
      yield item
      if item.time > 8:
        raise recordings.SourceError('unplugged')

  log = EventLog(tmp_path / 'log.jsonl')
  session = Session(model, {'imu': 50.0}, options)
  broken = dataclasses.replace(recording, items=items)
  with pytest.raises(UserError, match='unplugged'):
    follow.Follower(session, counters, log).follow(follow.at_once([broken], lambda: False))
  log.close()
  ended = lines(tmp_path / 'log.jsonl')
  assert len(ended) == len(lines(tmp_path / 'log.jsonl', 'raised')) > 0
