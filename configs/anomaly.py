"""Anomalies of the wrist's signals: falls among daily activities, in WEDA-FALL.

  python -m har.evaluate.folds --workdir=runs/anomaly --raw_dir=FOLDER \
      --config=configs/anomaly.py:model=between

The folder holds the owner's `50Hz` as a folder or zip. A recording's score is that of its highest
window of 3 s. Falls were mostly recorded at 40 Hz and daily activities at 50; what that leaves in
the signals is smoothed away, see `configs/README.md`.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, weda_fall
from har.errors import UserError

DATASETS = ('weda_fall',)
MODELS = ('between', 'lstm_ae', 'cnn_gru_ae', 'forecast', 'cnn_gru')
PEOPLE = (
  *((1, 2, 21, 22, 27), (3, 4, 5, 23, 28), (6, 7, 8, 24, 29)),
  *((9, 10, 11, 25, 30), (12, 13, 14, 26, 31)),
)
"""Of WEDA-FALL, in each fold; 21 to 31 are old and never fell."""

SECONDS, RATE = 3.0, 25.0


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment.

  Args:
    arg: `dataset=`, one of `DATASETS` (weda_fall); `model=`, one of `MODELS` (cnn_gru): what
      tells each sample from those around it, an LSTM autoencoder, one of convolutions and a GRU, a
      forecaster, all of which are trained on normal activities alone, or a classifier, which learns
      from all labels. Several, as `cnn_gru+between`, are trained one by one and fused by their
      decisions.
  """
  args = base.parse_arg(arg, dataset='weda_fall', model='cnn_gru')
  base.choose('dataset', args['dataset'], DATASETS)
  models = [base.choose('model', one, MODELS) for one in args['model'].split('+')]
  if len(set(models)) < len(models):
    raise UserError(f'--config: model={args["model"]} names a model twice')
  config = weda_fall.get_config()
  config.dataset.fold_people = PEOPLE
  config.dataset.validation_fraction = 0.2
  config.dataset.windows = ConfigDict(
    {'seconds': SECONDS, 'step': 0.5, 'evaluate': 'recording', 'abnormal': 'peak'}
  )
  config.inputs.imu.update(length=round(SECONDS * RATE), rate=RATE, smooth=0.2)
  config.runtime.eval_batch_size = 256
  # The first reads the input `imu`, others the same samples by an input of their own name.
  for model in models[1:]:
    config.inputs[model] = {**config.inputs.imu, 'kind': 'signal', 'field': 'imu'}
  names = ('imu', *models[1:])
  for name, model in zip(names, models, strict=True):
    config.encoders[name] = ConfigDict(_encoder(model))
    config.stages[name] = base.stage([name], batch_size=64, keep='last', **_stage(model))
  config.order = names
  return config


def _encoder(model: str) -> dict[str, Any]:
  if model in ('between', 'forecast'):
    return {'kind': 'samples'}
  if model == 'lstm_ae':
    return {'kind': 'lstm', 'features': 64, 'layers': 1, 'dropout': 0.0}
  return {'kind': 'cnn_gru', 'channels': (32, 64, 64), 'kernels': (7, 5, 5), 'strides': (1, 2, 2)}


def _stage(model: str) -> dict[str, Any]:
  shared = {'optimizer': {'weight_decay': 0.01, 'warmup': 0.1, 'clip_norm': 1.0}}
  if model == 'cnn_gru':
    return shared | {
      'learning_rate': 2e-3,
      'epochs': 15.0,
      'sampling': 'balanced',
      'augment': {'imu': {'scale': 0.1, 'time_warp': 0.2, 'jitter': 0.02}},
      'objective': {'kind': 'classify', 'label_smoothing': 0.05},
      'head': {'kind': 'linear', 'dropout': 0.3},
    }
  heads = {
    'lstm_ae': {'kind': 'lstm_decoder', 'bottleneck': 32},
    'cnn_gru_ae': {'kind': 'decoder', 'bottleneck': 32},
    'forecast': {'kind': 'forecaster', 'channels': 3, 'features': (48, 48, 48, 48)},
    'between': {'kind': 'between', 'channels': 3},
  }
  kind = 'familiar' if model in ('between', 'forecast') else 'reconstruct'
  return shared | {
    'learning_rate': 2e-3,
    'epochs': 10.0,
    'objective': {'kind': kind, 'normal_only': True},
    'head': heads[model],
  }
