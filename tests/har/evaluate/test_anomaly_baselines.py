"""What the baselines beside a stage see of its inputs."""

import numpy as np
import pytest

from har.data import dataset as dataset_lib
from har.evaluate import anomaly, anomaly_baselines, detectors
from har.metrics.alarms import Moments
from har.models import registry
from har.train import experiment
from tests import fakes
from tests.har.train import test_source


def figures(monkeypatch, workdir, modalities, **changes):
  """Of a stage that tells swiping right from the rest, never trained."""
  data = fakes.FakeDataset(metadata={**fakes.METADATA, 'abnormal': ('swipe_right',)})
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: data)
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
  opened = experiment.open_experiment(test_source.config(modalities, **changes), workdir)
  one = opened.stages['one']
  example = {n: np.zeros(x.shape, x.dtype) for n, x in one.example.items()}
  drawn = fakes.draw_variables(one.model, example)
  monkeypatch.setattr(experiment, 'load', lambda *_: (drawn, {}))
  count = len(opened.context.evaluated)
  abnormal = opened.context.dataset.index.label[opened.context.evaluated] == 2
  moments = Moments(np.zeros(count), np.arange(count), None)
  return anomaly_baselines.figures(opened, 'one', moments, abnormal)


def test_signals_and_what_is_kept_of_frames_are_seen_together(tmp_path, monkeypatch):
  fuse, given = detectors.late_fusion, []
  monkeypatch.setattr(detectors, 'late_fusion', lambda *a: given.append(a) or fuse(*a))
  trained = (*test_source.TIME, 'imu')
  found = figures(monkeypatch, tmp_path, ('rgb', 'imu'), trained=trained)
  assert (found['input'], found['unseen']) == ('imu and rgb', [])
  assert found['features'] == f'{detectors.FEATURES}; and {detectors.KEPT_FEATURES}'
  names = [anomaly_baselines.PEAK, *detectors.NORMAL, *detectors.LABELLED, detectors.LATE]
  assert list(found['methods']) == names
  assert [n for n, one in found['methods'].items() if one['labels']] == names[4:]
  parts = ('imu 1-3', 'imu 4-6', 'rgb')
  assert list(found['weights']) == [f'{p}: {m}' for p in parts for m in detectors.MEMBERS]
  columns, seen, abnormal, people, _ = given[0]
  # 6 channels and 2 norms, 5 statistics; each column is of one part.
  assert sorted(np.concatenate([*columns.values()])) == list(range(seen.shape[1]))
  assert columns['rgb'][0] == 5 * 8
  assert set(people.tolist()) == {1, 3}
  assert abnormal.mean() == pytest.approx(1 / 3, abs=0.1)
  assert sum(found['weights'].values()) == pytest.approx(1.0)
  assert max(found['weights'].values()) < 0.5
  assert all(0 <= one['auroc'] <= 1 for one in found['methods'].values())


def test_an_input_of_which_nothing_is_kept_is_told(tmp_path, monkeypatch):
  found = figures(monkeypatch, tmp_path, ('rgb', 'imu'), cached_views=0)
  assert (found['input'], found['unseen']) == ('imu', ['rgb'])
  assert list(found['weights'])[::3] == ['imu 1-3: kNN', 'imu 4-6: kNN']


def test_where_nothing_is_seen_the_report_says_so(tmp_path, monkeypatch):
  found = figures(monkeypatch, tmp_path, ('rgb',), cached_views=0)
  assert found == {
    **{'input': '', 'unseen': ['rgb'], 'features': '', 'methods': {}, 'weights': {}},
  }
  (line,) = anomaly.notes({'baselines': {'one': found}}, [])
  assert line.startswith('No baseline of scikit-learn beside one: they see signals, and what')
  assert 'config.stages.one.cached_views' in line


def test_of_very_many_examples_the_same_few_are_learnt_from(monkeypatch):
  monkeypatch.setattr(anomaly_baselines, 'MOST', 4)
  few = np.array([5, 3, 8])
  assert anomaly_baselines.drawn(few) is few
  chosen = anomaly_baselines.drawn(np.arange(100, 200))
  assert len(set(chosen.tolist())) == 4
  assert (np.diff(chosen) > 0).all()
  assert chosen.tolist() == anomaly_baselines.drawn(np.arange(100, 200)).tolist()
