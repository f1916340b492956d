"""Which trials train a model, which choose it, and which test it."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from har.errors import UserError

PROTOCOLS = ('cross_subject', 'leave_one_subject_out')


@dataclasses.dataclass(frozen=True)
class Index:
  """What is known of every record without decoding its signals.

  Attributes:
    key: trial names, str `[N]`.
    label: 0-based classes, int32 `[N]`.
    subject: int32 `[N]`.
    trial: int32 `[N]`.
    split: 'train' or 'test' as the dataset stores it, str `[N]`.
  """

  key: np.ndarray
  label: np.ndarray
  subject: np.ndarray
  trial: np.ndarray
  split: np.ndarray

  def __len__(self) -> int:
    return len(self.key)


@dataclasses.dataclass(frozen=True)
class Splits:
  """Positions in the index, int64, ascending and disjoint; no subject is in two of them."""

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
  """Divides the records by subject.

  Args:
    index: the dataset's records.
    metadata: its `train_subjects` are the training half of `cross_subject`.
    protocol: 'cross_subject' (the dataset's own halves) or 'leave_one_subject_out'.
    test_subject: the one left out; only for 'leave_one_subject_out'.
    validation_subjects: training subjects whose trials are set aside to choose a model by. None
      are by default, and `validation` is then empty.

  Raises:
    UserError: unknown protocol or subject, or a split without a single trial.
  """
  present = set(np.unique(index.subject).tolist())
  if protocol == 'cross_subject':
    if test_subject is not None:
      raise UserError('test_subject: only the protocol leave_one_subject_out takes one')
    train_subjects = present & set(metadata['train_subjects'])
  elif protocol == 'leave_one_subject_out':
    if test_subject not in present:
      raise UserError(f'test_subject={test_subject}: not one of the subjects {sorted(present)}')
    train_subjects = present - {test_subject}
  else:
    raise UserError(f'protocol={protocol!r}: not one of {", ".join(PROTOCOLS)}')

  unknown = sorted(set(validation_subjects) - train_subjects)
  if unknown:
    raise UserError(
      f'validation_subjects: {unknown} not among the training subjects {sorted(train_subjects)}'
    )
  testing = ~np.isin(index.subject, list(train_subjects))
  validating = np.isin(index.subject, list(validation_subjects))
  splits = Splits(
    train=np.flatnonzero(~testing & ~validating),
    validation=np.flatnonzero(validating),
    test=np.flatnonzero(testing),
  )
  for name in ('train', 'test'):
    if not len(getattr(splits, name)):
      raise UserError(f'protocol={protocol}: no trial is left in the {name} split')
  return splits
