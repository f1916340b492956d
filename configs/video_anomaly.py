"""Anomalies of video by an autoencoder that is trained on normal clips alone.

python launch.py --config=configs/video_anomaly.py --workdir=runs/video_anomaly

A frozen image network sees each frame; an LSTM autoencoder learns how its features change in normal
clips, over how much they vary. The demo's generated clips and random values show the way. With
published weights, over the five folds of Surveillance Camera Fight:

python -m har.evaluate.folds --workdir=runs/fights --raw_dir=FIGHT --config.runtime.cache_dir=DIR \
    --config=configs/video_anomaly.py:dataset=fight,weights=mobilenet_v2-backbone

What was measured is in `configs/README.md`.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, light_video


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment.

  Args:
    arg: `dataset=` (stickman if not given), `title=`, `show=` (colour), `backbone=` (mobilenet_v2)
      and `weights=`, as for `light_video.py`.
  """
  args: dict[str, Any] = base.parse_arg(
    arg, dataset='stickman', title='', show='colour', backbone='mobilenet_v2', weights=''
  )
  config = light_video.get_config(
    ','.join(f'{key}={value}' for key, value in {**args, 'temporal': 'mean'}.items())
  )
  (name,) = config.order
  config.stages[name] = base.stage(
    [name],
    init_from=args['weights'] or 'random',
    trained=('head',),
    cached_views=1,
    learning_rate=2e-3,
    epochs=40.0,
    keep='last',
    objective={'kind': 'familiar', 'normal_only': True},
    head={'kind': 'changes', 'bottleneck': 16},
    optimizer={'weight_decay': 0.01, 'warmup': 0.1, 'clip_norm': 1.0},
    batch_size=16,
  )
  light_video.slim_whole(config, ('head',))
  if config.dataset.protocol != 'cross_subject':
    config.dataset.validation_fraction = 0.2  # The threshold is fitted on its normal clips.
  return config
