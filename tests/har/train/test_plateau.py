from har.train.plateau import Progress


def test_rate_falls_after_patience_and_again_after_as_many():
  progress, scales = Progress(), []
  for top1 in (0.5, 0.4, 0.5, 0.3, 0.2, 0.6, 0.1):
    progress = progress.validated(top1, patience=2, factor=0.5)
    scales.append(progress.rate_scale)
  assert scales == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
  assert (progress.best, progress.stale, progress.since_reduction) == (0.6, 1, 1)


def test_without_patience_the_rate_stays():
  progress = Progress()
  for _ in range(9):
    progress = progress.validated(0.5, patience=0, factor=0.5)
  assert progress.rate_scale == 1
  assert progress.stale == 8


def test_json_round_trip():
  progress = Progress(best=0.25, stale=3, since_reduction=1, rate_scale=0.5, seconds=2.5)
  assert Progress(**progress.to_json()) == progress
