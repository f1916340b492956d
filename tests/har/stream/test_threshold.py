"""A threshold that is fitted to held-out normal people is what alarms of streams are raised by."""

import json
from unittest import mock

import numpy as np
import pytest

from har.evaluate import anomaly
from har.export import predict as by_workdir
from har.export import run as export
from har.stream import __main__ as command
from har.stream.options import Options, Rule
from tests.har.evaluate import test_anomaly
from tests.har.stream import exports

SECONDS, STEP = 0.5, 0.25
# Whatever is above the threshold is part of an event, and nothing else.
RULE = Rule(on=0.6, off=0.6, cool_down=0.0)


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
  """A trained detector, its workdir and its dataset; half of the held-out recordings are alarms."""
  workdir = tmp_path_factory.mktemp('detector') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    c = test_anomaly.config('reconstruct', quantile=0.5)
    opened, _ = test_anomaly.evaluated(patch, workdir, c)
  return opened, workdir


@pytest.fixture(scope='module')
def in_jax(detector, tmp_path_factory):
  """What `--mode=predict` says of a recording by the stage itself, and the recording."""
  opened, workdir = detector
  folder = tmp_path_factory.mktemp('recording')
  rng, samples = np.random.default_rng(0), exports.movement(24.0, seed=1)
  samples = samples * [1, 1, 1, 0.02, 0.02, 0.02] + rng.normal(0, 0.1, samples.shape)
  path = exports.table(folder / 'a.csv', samples)
  options = Options(seconds=SECONDS, step=STEP, rule=RULE)
  by_workdir.run(opened.config, workdir, [str(path)], options, lambda: opened)
  return json.loads((workdir / 'predictions' / 'timeline.json').read_text()), path


@pytest.fixture(scope='module')
def exported(detector, in_jax):
  """The same stage as a file; that it was read in JAX is before."""
  opened, workdir = detector
  targets = export.targets

  def chosen(form):
    return (one for one in targets(form) if one[0] == 'tflite')

  with mock.patch.object(export, 'targets', chosen):
    export.run(opened)
  return workdir / 'export'


def streamed(exported, path, capsys):
  """What is told of a file that is followed: windows, and events by state."""
  flags = [f'--{name}={value!r}' for name, value in vars(RULE).items()]
  flags += [f'--seconds={SECONDS}', f'--step={STEP}', '--windows']
  capsys.readouterr()
  assert command.main([f'--model={exported}', f'--source={path}', *flags]) == 0
  told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  found = {'window': [], 'raised': [], 'ended': [], 'counters': []}
  for one in told:
    found[one.pop('state')].append(one)
  return found


def runs(over):
  """First and one past the last of each run of true values."""
  edges = np.flatnonzero(np.diff(np.concatenate([[False], over, [False]]).astype(int)))
  return edges.reshape(-1, 2).tolist()


def test_an_alarm_is_raised_by_the_threshold_of_training(detector, in_jax, exported, capsys):
  threshold = json.loads((detector[1] / anomaly.THRESHOLDS).read_text())['imu']['float32']
  about = json.loads((exported / 'imu' / 'float32.tflite.json').read_text())
  assert about['alarm'] == threshold
  assert threshold['people'] == [5]
  found = streamed(exported, in_jax[1], capsys)
  scores = np.array([one['score'] for one in found['window']])
  assert len(scores) == 95
  assert np.abs(scores / threshold['value'] - 1).min() > 1e-4  # What rounding does not change.
  expected = runs(scores > threshold['value'])
  assert len(expected) > 2
  for what in ('raised', 'ended'):
    assert [one['start'] for one in found[what]] == [(a + 0.5) * STEP for a, _ in expected]
    assert [one['raised'] for one in found[what]] == [a * STEP + SECONDS for a, _ in expected]
  assert [one['end'] for one in found['ended']] == [(b + 0.5) * STEP for _, b in expected]
  highest = [scores[a:b].max() / threshold['value'] for a, b in expected]
  assert [one['confidence'] for one in found['ended']] == pytest.approx(highest, abs=1e-3)


def test_the_stage_in_jax_has_the_events_of_the_stream(in_jax, exported, capsys):
  timeline, path = in_jax
  assert timeline['sha256'] == ''  # JAX, no file.
  found = streamed(exported, path, capsys)
  assert [one['score'] for one in timeline['windows']] == pytest.approx(
    [one['score'] for one in found['window']], rel=1e-4
  )
  assert len(timeline['events']) == len(found['ended'])
  for one, other in zip(timeline['events'], found['ended'], strict=True):
    assert one.pop('confidence') == pytest.approx(other.pop('confidence'), rel=1e-3)
    assert one == other


def test_the_stated_share_of_held_out_normal_recordings_is_flagged(
  detector, exported, tmp_path, capsys
):
  """Streamed one by one: of the four of the person who was held out half, as was asked for."""
  dataset = test_anomaly.People()
  subject, label = dataset.index.subject, dataset.index.label
  flagged = {}
  for i, record in enumerate(dataset.records(('imu',))):
    if subject[i] == 5 and dataset.class_names[label[i]] != 'swipe_right':
      path = exports.table(tmp_path / f'{i}.csv', record['imu'])
      flagged[record['key']] = bool(streamed(exported, path, capsys)['raised'])
  assert len(flagged) == 4
  assert sum(flagged.values()) == 2
