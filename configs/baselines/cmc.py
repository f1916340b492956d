"""CMC and CMC-CMKM (Brinzea, Khaertdinov and Asteriadis, IJCNN 2022) on UTD-MHAD.

  python launch.py --config=configs/baselines/cmc.py:modalities=imu+skeleton,mining=cmkm \
      --workdir=runs/cmc --raw_dir=PATH_TO_UTD_MHAD

The part after the colon: `modalities`, two or more of imu, rgb, depth and skeleton joined by +;
`mining`, cmkm (further positives, found by encoders that each modality trains alone before) or none
(CMC); `classifier`, linear (one dense layer on frozen encoders), mlp (two, the nearest to the
paper's evaluation) or fine_tuned (two, and the encoders train on). Labels are used by the last
stage alone. `dataset` is utd_mhad if not given, or mmact (imu and rgb). configs/README.md has
accuracy and time.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.baselines import base as baselines
from har.errors import UserError

CLASSIFIERS = ('linear', 'mlp', 'fine_tuned')


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment for `modalities=...,mining=...,classifier=...,dataset=...`."""
  known = {'mining': 'cmkm', 'classifier': 'linear', 'dataset': baselines.UTD_MHAD}
  args = base.parse_arg(arg, modalities='imu+skeleton', **known)
  dataset = args['dataset']
  modalities = baselines.parse_modalities(dataset, args['modalities'])
  if len(modalities) < 2:
    raise UserError(f'--config: modalities={args["modalities"]!r} must be two or more')
  mining = base.choose('mining', args['mining'], ('cmkm', 'none'))
  classifier = base.choose('classifier', args['classifier'], CLASSIFIERS)
  config = baselines.experiment(modalities, dataset)
  if mining == 'cmkm':
    config.stages.views = _pretraining(dataset, modalities, {'kind': 'views'})
    objective = {'kind': 'cmkm', 'teacher': 'stage:views'}
  else:
    objective = {'kind': 'contrast'}
  config.stages.contrast = _pretraining(dataset, modalities, objective)
  config.stages.fusion = _classifier(dataset, modalities, classifier)
  config.order = (*(('views',) if mining == 'cmkm' else ()), 'contrast', 'fusion')
  return config


def _pretraining(
  dataset: str, modalities: tuple[str, ...], objective: dict[str, Any]
) -> ConfigDict:
  """As the authors' code: temperature 0.1, batches of 64, projections of 256 and 128 units."""
  return base.stage(
    modalities,
    **baselines.schedule(dataset, 200.0, 1e-3),
    batch_size=64,
    keep='last',
    objective={**objective, 'temperature': 0.1},
    augment=baselines.augmentation(modalities, dataset),
    head={'kind': 'projections', 'hidden': 256, 'size': 128},
    optimizer={'weight_decay': 0.02, 'warmup': 0.1},
  )


def _classifier(dataset: str, modalities: tuple[str, ...], kind: str) -> ConfigDict:
  settings: dict[str, Any] = {
    'init_from': 'stage:contrast',
    'batch_size': 64,
    'objective': {'kind': 'classify', 'label_smoothing': 0.1},
    'head': {'kind': 'concat_mlp', 'hidden': 256, 'dropout': 0.3},
    **baselines.schedule(dataset, 100.0, 2e-3),
  }
  optimizer: dict[str, Any] = {'weight_decay': 0.02, 'warmup': 0.1}
  if kind == 'fine_tuned':
    settings['augment'] = baselines.augmentation(modalities, dataset)
    optimizer['multipliers'] = base.slow(modalities, 0.2)
    return base.stage(modalities, **settings, optimizer=optimizer)
  if kind == 'linear':
    settings['head'] = {'kind': 'linear', 'dropout': 0.3}
  # The encoders stand still: what they give of each example is computed once.
  return base.stage(modalities, **settings, trained=('head',), cached_views=1, optimizer=optimizer)
