"""What every experiment's config consists of.

Shared by the experiments in this folder; not an experiment itself. Each option's range, default and
meaning: `python -m har.schema`.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from har.compress import options as compress
from har.data.options import DATASET
from har.errors import UserError
from har.evaluate.options import ALARM
from har.options import defaults
from har.train.options import EXPERIMENT, OPTIMIZER, RUNTIME, STAGE

MODALITIES = ('imu', 'rgb', 'depth', 'skeleton')
VIDEO = ('rgb', 'depth')

# Smaller forms of the finished stages; may change when a run is continued.
COMPRESS: dict[str, Any] = {
  'int8': defaults(compress.INT8),
  # Other schemes that --mode=compress compares: what they change in int8.
  'study': {
    'int8_percentile': {'calibration': 'percentile'},
    'int8_dynamic': {'ranges': 'dynamic'},
    'w4a8': {'weights': 4},
    'w8a16': {'activations': 16},
    'w4a16': {'weights': 4, 'activations': 16},
  },
  'int8_qat': defaults(compress.QAT),
  'pruned': {'learning_rate': 0.5, 'epochs': 0.3, 'sparsity': compress.Pruning.sparsity},
  'slim': {
    'learning_rate': 0.5,
    'epochs': 0.5,
    'flops': compress.Slimming.flops,
    'least': compress.Slimming.least,
  },
}


def experiment(dataset: str, modalities: Sequence[str]) -> ConfigDict:
  """An experiment without stages, inputs and encoders.

  Args:
    dataset: name of a folder in `data_builders`.
    modalities: any of imu, rgb, depth and skeleton.
  """
  return ConfigDict(
    {
      **defaults(EXPERIMENT),
      'modalities': tuple(modalities),
      'dataset': {**defaults(DATASET), 'name': dataset},
      'inputs': {},
      'encoders': {},
      'stages': {},
      'compress': {**defaults(compress.COMPRESS), **COMPRESS},
      'alarm': defaults(ALARM),
      'runtime': defaults(RUNTIME),
    }
  )


def stage(modalities: Sequence[str], *, learning_rate: float, **changes) -> ConfigDict:
  """A stage's config.

  Args:
    modalities: that the stage uses; nothing else is read or decoded.
    learning_rate: the highest one.
    **changes: values other than the defaults; a dict changes only the keys it has.
  """
  config = ConfigDict(
    {
      **defaults(STAGE),
      'modalities': tuple(modalities),
      'optimizer': {**defaults(OPTIMIZER), 'learning_rate': learning_rate},
    }
  )
  for key, value in changes.items():
    if isinstance(value, dict) and key == 'optimizer':
      config[key].update(value)
    elif isinstance(value, dict):
      config[key] = ConfigDict(value)
    else:
      config[key] = value
  return config


def fusion(modalities: Sequence[str], **settings) -> ConfigDict:
  """The second stage: every encoder starts from the stage of its modality.

  The head is trained, and of each encoder what it says that a second stage trains: of S3D Mixed_4c
  and Mixed_5c (Choi et al., Section 3.3), of all others everything.
  """
  return stage(
    modalities,
    init_from=','.join(f'stage:{m}' for m in modalities),
    trained=('fine_tuned',),
    **settings,
  )


def slow(modalities: Sequence[str], factor: float) -> tuple[tuple[str, float], ...]:
  """Multipliers of the learning rate for what comes from the first stage."""
  return tuple((pattern, factor) for m in modalities for pattern in (m, f'head/{m}'))


def parse_arg(arg: str | None, **defaults: str) -> dict[str, str]:
  """Reads `key=value,key=value`, the part of `--config` after the colon.

  Raises:
    UserError: a key that `defaults` does not have, or no `=`.
  """
  out = dict(defaults)
  for part in filter(None, (arg or '').split(',')):
    key, equals, value = part.partition('=')
    if key not in defaults or not equals:
      raise UserError(
        f'--config: {part!r} is not understood; it takes {", ".join(f"{k}=..." for k in defaults)}'
      )
    out[key] = value
  return out


def parse_modalities(value: str, known: Sequence[str] = MODALITIES) -> tuple[str, ...]:
  """Reads `imu+depth` into the canonical order.

  Raises:
    UserError: an unknown or repeated modality, or none.
  """
  names = value.split('+')
  if not set(names) <= set(known) or len(set(names)) < len(names):
    raise UserError(
      f'--config: modalities={value!r} must be different ones of {", ".join(known)} joined by +'
    )
  return tuple(m for m in known if m in names)


def choose(what: str, value: str, known: Sequence[str]) -> str:
  """Returns `value` if it is one of `known`.

  Raises:
    UserError: it is not.
  """
  if value not in known:
    raise UserError(f'--config: {what}={value!r} is none of {", ".join(known)}')
  return value
