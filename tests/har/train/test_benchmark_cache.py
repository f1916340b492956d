"""Both runs of the benchmark train alike, and its report's figures are right."""

from absl.testing import flagsaver

from har.models import registry
from har.train import benchmark_cache
from tests import fakes


def test_epochs_of_both_runs_are_timed(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
  found, write = [], benchmark_cache.loop.StageLog.write

  def keep(log, split, step, epoch, **values):
    found.append((split, step, epoch))
    write(log, split, step, epoch, **values)

  monkeypatch.setattr(benchmark_cache.loop.StageLog, 'write', keep)
  given = {'frames': '2', 'size': '32', 'encoder': 'tiny', 'temporal': 'gru', 'trained': 'time'}
  with flagsaver.as_parsed(**given):
    data, splits = benchmark_cache.made_up(16, 4)
    seconds = [benchmark_cache.epochs(views, data, splits) for views in (1, 0)]
  assert [len(one) for one in seconds] == [2, 2]
  assert min(map(min, seconds)) > 0
  # Two steps in each of three epochs, and a validation after each.
  assert found[:6] == found[6:]
  assert [(split, step) for split, step, _ in found[:6]] == [
    (split, step) for step in (2, 4, 6) for split in ('train', 'validation')
  ]
  assert found[0][2] == 1


def test_report():
  lines = benchmark_cache.lines([20.0, 0.1], [21.0, 10.0])
  assert lines[1].split() == ['cached', '20.00', '0.100', '200.0']
  assert lines[2].split() == ['not', '21.00', '10.000', '2.1']
  assert lines[3] == 'second epochs, not cached / cached: 100.0'
