"""What every experiment's config consists of, with its defaults.

Shared by the experiments in this folder; not an experiment itself.
"""

from collections.abc import Sequence

from ml_collections import ConfigDict

from har.errors import UserError

MODALITIES = ('imu', 'rgb', 'depth', 'skeleton')
VIDEO = ('rgb', 'depth')

# How examples are chosen and divided.
DATASET = {
  # How examples are divided: cross_subject, leave_one_subject_out (test_subject), folds over
  # people (fold 1 to folds), official (the dataset's own list; of several, fold is the
  # number) or one of the dataset's own names. See `har.data.protocols.SplitOptions`.
  'protocol': 'cross_subject',
  'test_subject': 0,
  'fold': 0,
  'folds': 5,
  # The column that tells people, or whatever else folds and validation must not part.
  'group': 'subject',
  # Training subjects that are kept for validation: (7,). None means that every training
  # subject is trained on, and the last step's parameters are the result.
  'validation_subjects': (),
  # Less than 1: so much of the training examples, drawn by class and person.
  'train_fraction': 1.0,
  # Classes to report, ('fall',); none named: those that the builder names.
  'abnormal': (),
  # False: trials that lack one of the modalities are left out and listed in the report.
  'require_complete': True,
}

# Smaller forms of the finished stages; may change when a run is continued.
COMPRESS = {
  # How values are quantised: see `har.compress.quantise.Scheme`.
  'int8': {
    'weights': 8,
    'activations': 8,
    'ranges': 'static',  # or dynamic
    'calibration': 'minmax',  # or percentile
    'percentile': 99.99,
    'examples': 128,
    'keep_float': (),  # path patterns of layers
  },
  # Other schemes that --mode=compress compares: what they change in int8.
  'study': {
    'int8_percentile': {'calibration': 'percentile'},
    'int8_dynamic': {'ranges': 'dynamic'},
    'w4a8': {'weights': 4},
    'w8a16': {'activations': 16},
    'w4a16': {'weights': 4, 'activations': 16},
  },
  # What --mode=compress trains: int8_qat, pruned and slim.
  'variants': ('int8_qat', 'pruned', 'slim'),
  # Of each, `learning_rate` and `epochs` are factors on the stage's own.
  'int8_qat': {'learning_rate': 0.002, 'epochs': 0.1},
  # See `har.compress.prune.Pruning` and `har.compress.channels.Slimming`.
  'pruned': {'learning_rate': 0.5, 'epochs': 0.3, 'sparsity': 0.8},
  'slim': {'learning_rate': 0.5, 'epochs': 0.5, 'flops': 0.5, 'least': 0.5},
}

# How the experiment runs, not what it computes; may change when a run is continued.
RUNTIME = {
  'devices': 0,  # 0: all
  # Devices that share one copy of the parameters, their average and the optimiser's state,
  # instead of each having its own; divides the number of devices.
  'fsdp': 1,
  # How: pairs of a path pattern and the axis that is split, its number, largest (that can
  # be) or none; the first match counts.
  'fsdp_rules': (('*', 'largest'),),
  'fsdp_min_size': 16384,  # elements; smaller arrays are not split
  'workers': 0,  # processes that load data; 0: threads of this one
  'eval_batch_size': 32,
  'save_steps': 100,  # between checkpoints
  'log_steps': 50,  # at most so many between looks at the loss
}


def experiment(dataset: str, modalities: Sequence[str]) -> ConfigDict:
  """An experiment without stages, inputs and encoders.

  Args:
    dataset: name of a folder in `data_builders`.
    modalities: any of imu, rgb, depth and skeleton.
  """
  return ConfigDict(
    {
      'seed': 0,
      'modalities': tuple(modalities),
      # Stages in the order in which they are trained; each is described in `stages`.
      'order': (),
      # Of the computation; parameters are float32. bfloat16 is for accelerators.
      'dtype': 'float32',
      'dataset': {'name': dataset, **DATASET},
      'inputs': {},
      'encoders': {},
      'stages': {},
      'compress': COMPRESS,
      'runtime': RUNTIME,
    }
  )


def stage(modalities: Sequence[str], *, learning_rate: float, **changes) -> ConfigDict:
  """A stage's config.

  Args:
    modalities: that the stage uses; nothing else is read or decoded.
    learning_rate: the highest one.
    **changes: values other than the defaults below; a dict changes only the keys it has.
  """
  config = ConfigDict(
    {
      'modalities': tuple(modalities),
      # random, stage:NAME, and names or files of published weights (s3d-kinetics400, PATH.pth;
      # see har/pretrained/README.md), separated by commas; later ones win.
      'init_from': 'random',
      # Path patterns of the parameters that are trained; everything else is frozen. fine_tuned
      # stands for the head and what each encoder says that a second stage trains.
      'trained': ('*',),
      'head': {'kind': 'linear'},
      'augment': {},
      'epochs': 1.0,
      'batch_size': 16,
      'accumulate': 1,  # microbatches that a batch is processed in, to need less memory
      # What is learnt: a kind of `har.objectives.registry` and its options.
      'objective': {'kind': 'classify'},
      'modality_dropout': 0.0,  # rate at which the head has to do without a modality of an example
      'ema': 0.0,  # decay of the parameters' moving average; 0: none
      'validate_every': 5,  # epochs
      'keep': 'best',  # on validation, or last
      'early_stopping': 0,  # after so many validations without a new best; 0: never
      'optimizer': {
        'name': 'adamw',
        'learning_rate': learning_rate,
        'weight_decay': 0.0,
        'clip_norm': 0.0,
        'multipliers': (),  # (('imu', 0.1), ...): factors on the learning rate
        'schedule': 'cosine',  # constant, cosine or plateau
        'warmup': 0.0,  # fraction of all steps
        'final': 0.0,  # cosine: the last learning rate as a fraction of the highest
        'patience': 5,  # plateau: validations without a new best
        'factor': 0.5,  # plateau
      },
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
