"""Which trials train a model, which choose it, and which test it."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from har.errors import UserError

PROTOCOLS = ('cross_subject', 'leave_one_subject_out')
"""Those of every dataset; more are in the metadata of some."""


@dataclasses.dataclass(frozen=True)
class Index:
  """What is known of every record without decoding its signals.

  Attributes:
    key: trial names, str `[N]`.
    label: 0-based classes, int32 `[N]`.
    subject: int32 `[N]`.
    trial: int32 `[N]`.
    split: 'train' or 'test' as the dataset stores it, str `[N]`.
    cam: camera, int32 `[N]`; this and the next two where the dataset tells them.
    scene: int32 `[N]`.
    session: int32 `[N]`.
  """

  key: np.ndarray
  label: np.ndarray
  subject: np.ndarray
  trial: np.ndarray
  split: np.ndarray
  cam: np.ndarray | None = None
  scene: np.ndarray | None = None
  session: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.key)


@dataclasses.dataclass(frozen=True)
class Splits:
  """Positions in the index, int64, ascending and disjoint.

  What the protocol holds out (subjects, or else cameras, scenes or sessions) is in `test` alone,
  and no subject is both in `train` and `validation`.
  """

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def make_splits(
  index: Index,
  metadata: Mapping[str, Any],
  protocol: str = 'cross_subject',
  test_subject: int | None = None,
  validation_subjects: Collection[int] = (),
) -> Splits:
  """Divides the records by subject, or as the dataset's own protocols say.

  Args:
    index: the dataset's records.
    metadata: its `train_subjects` are the training half of `cross_subject`; its `protocols`, if it
      has any, map names such as `cross_view` to the index's field and the values that are tested.
    protocol: 'cross_subject' (the dataset's own halves), 'leave_one_subject_out' or one of the
      metadata's.
    test_subject: the one left out; only for 'leave_one_subject_out'.
    validation_subjects: training subjects whose trials are set aside to choose a model by. None
      are by default, and `validation` is then empty.

  Raises:
    UserError: unknown protocol or subject, or a split without a single trial.
  """
  present = set(np.unique(index.subject).tolist())
  if test_subject is not None and protocol != 'leave_one_subject_out':
    raise UserError('test_subject: only the protocol leave_one_subject_out takes one')
  more = metadata.get('protocols', {})
  if protocol == 'cross_subject':
    testing = ~np.isin(index.subject, list(metadata['train_subjects']))
  elif protocol == 'leave_one_subject_out':
    if test_subject not in present:
      raise UserError(f'test_subject={test_subject}: not one of the subjects {sorted(present)}')
    testing = index.subject == test_subject
  elif protocol in more:
    testing = np.isin(getattr(index, more[protocol]['field']), list(more[protocol]['test']))
  else:
    raise UserError(f'protocol={protocol!r}: not one of {", ".join([*PROTOCOLS, *more])}')

  train_subjects = set(np.unique(index.subject[~testing]).tolist())
  unknown = sorted(set(validation_subjects) - train_subjects)
  if unknown:
    raise UserError(
      f'validation_subjects: {unknown} not among the training subjects {sorted(train_subjects)}'
    )
  validating = np.isin(index.subject, list(validation_subjects)) & ~testing
  splits = Splits(
    train=np.flatnonzero(~testing & ~validating),
    validation=np.flatnonzero(validating),
    test=np.flatnonzero(testing),
  )
  for name in ('train', 'test'):
    if not len(getattr(splits, name)):
      raise UserError(f'protocol={protocol}: no trial is left in the {name} split')
  return splits
