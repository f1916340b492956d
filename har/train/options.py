"""The options of a config's top, of its `runtime` and of its `stages`."""

from collections.abc import Mapping
from typing import Any

from har.errors import UserError
from har.options import MISSING, Option, choice, size
from har.ranges import (
  AMOUNT,
  COUNT,
  POSITIVE,
  RATE,
  SHARE,
  WHOLE,
  AnyOf,
  Choice,
  Each,
  Many,
  Number,
  Section,
  Text,
)

EXPERIMENT = {
  'seed': Option(0, Number(0, 2**32 - 1, whole=True), 'of everything that is random'),
  'modalities': Option(MISSING, Many(Text(), 1, distinct=True), 'fields that records must have'),
  'order': Option(
    (), Many(Text(), 1, distinct=True), 'names of stages, in the order in which they are trained'
  ),
  'dtype': choice(
    'float32',
    'bfloat16',
    meaning='of the computation; parameters are float32. bfloat16 is for accelerators',
  ),
}

RUNTIME = {
  'devices': Option(0, WHOLE, '0: all'),
  'fsdp': size(
    1,
    'devices that share one copy of the parameters, their average and the state of the optimiser, '
    'instead of each having its own; divides the number of devices',
  ),
  'fsdp_rules': Option(
    (('*', 'largest'),),
    Many(Each((Text(), AnyOf((Choice(('largest', 'none')), Number(-9, 9, whole=True)))))),
    'how: pairs of a path pattern and the axis that is split, its number, largest (that can be) '
    'or none; the first match counts',
  ),
  'fsdp_min_size': Option(16384, WHOLE, 'elements; smaller arrays are not split'),
  'workers': Option(
    0, Number(0, 1024, whole=True), 'processes that load data; 0: threads of this one'
  ),
  'eval_batch_size': size(32, 'examples'),
  'cache_gib': Option(
    4.0, POSITIVE, "the most that a stage's cached_views may take of memory, GiB"
  ),
  'cache_dir': Option(
    '',
    AnyOf((Choice(('',)), Text())),
    'where what cached_views computes is kept for other runs; empty: only in memory',
  ),
  'save_steps': Option(100, COUNT, 'between checkpoints'),
  'log_steps': Option(50, COUNT, 'at most so many between looks at the loss'),
}

STAGE = {
  'modalities': Option(
    MISSING,
    Many(Text(), 1, distinct=True),
    'inputs that the stage uses; nothing else is read or decoded',
  ),
  'init_from': Option(
    'random',
    Text(),
    'random, stage:NAME, and names or files of published weights (s3d-kinetics400, PATH.pth), '
    'separated by commas; later ones win',
  ),
  'trained': Option(
    ('*',),
    Many(Text(), 1),
    'path patterns of the parameters that are trained; everything else is frozen. fine_tuned '
    'stands for the head and what each encoder says that a second stage trains',
  ),
  'head': Option({'kind': 'linear'}, Section(), 'its kind and options'),
  'augment': Option({}, Section(), 'of the training examples, by input'),
  'sampling': choice(
    'all',
    'balanced',
    meaning='an epoch has every training example once, or as many examples, of each class equally '
    'many: those of a rare class more than once, those of a frequent one not all',
  ),
  'cached_views': Option(
    0,
    WHOLE,
    'what encoders compute before anything that trains is computed once and kept: 0: it is not; '
    "1: of each clip's middle frames, which are not augmented; n: of n random choices of frames, "
    'augmented, of which epoch e takes number e modulo n',
  ),
  'epochs': Option(1.0, Number(0, 10**6, above=True), 'passes over the training examples'),
  'batch_size': size(16, 'examples of all devices together'),
  'accumulate': size(1, 'microbatches that a batch is processed in, to need less memory'),
  'objective': Option({'kind': 'classify'}, Section(), 'what is learnt: its kind and options'),
  'modality_dropout': Option(
    0.0, RATE, 'rate at which the head has to do without a modality of an example'
  ),
  'ema': Option(0.0, RATE, "decay of the parameters' moving average; 0: none"),
  'validate_every': Option(5, COUNT, 'epochs'),
  'keep': choice('best', 'last', meaning='the best step on validation, or the last'),
  'early_stopping': Option(
    0, WHOLE, 'after so many validations without a new best; 0: never. Needs validation'
  ),
  'optimizer': Option({}, Section(), 'see there'),
}

OPTIMIZER = {
  'name': choice(
    'adamw',
    'adam',
    'sgd',
    meaning="adam's weight decay is an L2 penalty, as PyTorch's; sgd has a momentum of 0.9",
  ),
  'learning_rate': Option(MISSING, POSITIVE, 'the highest one'),
  'weight_decay': Option(0.0, AMOUNT, 'of kernels'),
  'clip_norm': Option(0.0, AMOUNT, "the largest norm of a step's gradients; 0: any"),
  'multipliers': Option(
    (),
    Many(Each((Text(), AMOUNT))),
    "(('imu', 0.1), ...): factors on the learning rate; the first match counts",
  ),
  'schedule': choice(
    'cosine', 'constant', 'plateau', meaning='of the learning rate; plateau needs validation'
  ),
  'warmup': Option(0.0, SHARE, 'fraction of all steps, over which the rate rises'),
  'final': Option(0.0, SHARE, 'cosine: the last learning rate as a fraction of the highest'),
  'patience': Option(5, COUNT, 'plateau: validations without a new best'),
  'factor': Option(0.5, Number(0, 1, above=True, below=True), 'plateau'),
}


def stage_source(source: str) -> str | None:
  """NAME of 'stage:NAME'; None for anything else."""
  kind, _, name = source.strip().partition(':')
  return name if kind == 'stage' else None


def check_validation(config: Mapping[str, Any], validated: bool) -> None:
  """Checks that what validation decides is not asked for without it.

  Args:
    config: of an experiment.
    validated: whether there are examples to validate on.

  Raises:
    UserError: naming the option.
  """
  for name in () if validated else config['order']:
    stage = config['stages'][name]
    where, needs = f'config.stages.{name}', 'needs config.dataset.validation_fraction'
    if stage['early_stopping']:
      raise UserError(f'{where}.early_stopping={stage["early_stopping"]}: must be 0, or {needs}')
    if stage['optimizer']['schedule'] == 'plateau':
      raise UserError(
        f"{where}.optimizer.schedule='plateau': must be 'cosine' or 'constant', or {needs}"
      )


def check_effect(stage: Mapping[str, Any], where: str) -> None:
  """Raises UserError for an option of a stage that would have no effect beside the others."""
  optimizer = stage['optimizer']
  for schedule, names in (('cosine', ('final',)), ('plateau', ('patience', 'factor'))):
    for name in names:
      value, unset = optimizer[name], OPTIMIZER[name].default
      if value != unset and optimizer['schedule'] != schedule:
        raise UserError(
          f'{where}.optimizer.{name}={value}: must be {unset}, or needs schedule={schedule!r}'
        )
  if stage['modality_dropout'] and len(stage['modalities']) == 1:
    raise UserError(
      f'{where}.modality_dropout={stage["modality_dropout"]}: must be 0 for one modality'
    )
