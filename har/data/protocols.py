"""Which examples train a model, which choose it, which test it, and which are left alone.

A protocol is a rule over columns: what records say of themselves besides their signals.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

import numpy as np

from har.data import draws, folds
from har.errors import UserError
from har.ranges import WHOLE, AnyOf, Each, Many, Number, Text

PARTS = ('train', 'validation', 'test', 'unused')


@dataclasses.dataclass(frozen=True)
class Index:
  """What is known of every record without decoding its signals; `index.subject` is a column.

  Attributes:
    columns: one value for each of N records, `[N]`, by name. Always there are `key` (str, unique),
      `label` (0-based classes, int32) and `split` (str, the part that the dataset puts a record
      in); the others are the whole numbers and texts that its records have: subject, trial, cam...
  """

  columns: Mapping[str, np.ndarray]

  def __getattr__(self, name: str) -> np.ndarray:
    if name == 'columns' or name not in self.columns:  # The former while it is unpickled.
      raise AttributeError(f'no column {name!r}')
    return self.columns[name]

  def column(self, name: str, user: str = '') -> np.ndarray:
    """A column by name.

    Args:
      name: of the column.
      user: what needs it, for the message.

    Raises:
      UserError: records have no such column.
    """
    if name not in self.columns:
      needs = f'{user}: ' if user else ''
      raise UserError(
        f'{needs}the records have no column {name!r}; they have {", ".join(self.columns)}'
      )
    return self.columns[name]

  def __len__(self) -> int:
    return len(self.key)


@dataclasses.dataclass(frozen=True)
class Splits:
  """Positions in the index, int64, ascending; each is in exactly one of the four.

  What the protocol holds out (subjects, or else cameras, scenes or sessions) is in `test` alone.
  """

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray
  unused: np.ndarray


PERSON = AnyOf((WHOLE, Text()))
Person = Annotated[int | str, PERSON]
Whole = Annotated[int, WHOLE]
_OPEN = Number(0, 1, above=True, below=True)
FRACTIONS = Each((_OPEN, Number(0, 1, below=True), _OPEN))
DRAWN = ('fractions', 'by_clip')


@dataclasses.dataclass(frozen=True)
class SplitOptions:
  """How records are divided; the keys of a config's `dataset` with the same names.

  Attributes:
    protocol: how examples are divided, a name in `PROTOCOLS` or of the metadata's `protocols`.
    test_subject: the one left out; only for 'leave_one_subject_out'.
    fold: 1 to `folds`, the one that is tested; of 'official', the number of the list (0: the only
      one); of 'fractions' and 'by_clip', which draw. Only for these four.
    folds: how many folds there are.
    fold_people: who (values of `group`) is in each fold; empty: they are spread evenly.
    fractions: of 'fractions' and 'by_clip', what trains, validates and is tested.
    group: the column whose values stand for people: no fold parts them, validation takes all of one
      and a fraction is drawn from each.
    validation_subjects: training people (values of `group`) whose examples are set aside to choose
      a model by. None are by default, and `validation` then has what the protocol puts there.
    validation_fraction: of the training examples, which validate; whole values of `group`, drawn by
      the seed so that every class has its share (see `draws.draw_parts`). 0: none are drawn.
    train_fraction: of the training examples, above 0 and at most 1; see `draws.draw_fraction`.
  """

  protocol: str = 'cross_subject'
  test_subject: Person = 0
  fold: Whole = 0
  folds: Annotated[int, Number(2, 2**31 - 1, whole=True)] = 5
  fold_people: Annotated[tuple[Collection[int | str], ...], Many(Many(PERSON, 1))] = ()
  fractions: Annotated[tuple[float, ...], FRACTIONS] = (0.7, 0.15, 0.15)
  group: str = 'subject'
  validation_subjects: Annotated[Collection[int | str], Many(PERSON, distinct=True)] = ()
  validation_fraction: Annotated[float, Number(0, 1, below=True)] = 0.0
  train_fraction: Annotated[float, Number(0, 1, above=True)] = 1.0

  @classmethod
  def of(cls, config: Mapping[str, Any]) -> 'SplitOptions':
    """Takes its keys from a config's `dataset`."""
    return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})

  @property
  def validates(self) -> bool:
    """Whether examples validate, as far as that can be known without the records."""
    chosen = self.validation_subjects or self.validation_fraction
    return bool(chosen or (self.protocol in DRAWN and self.fractions[1]))

  def check_effect(self) -> None:
    """Raises UserError for a number of folds, or fractions, that nothing asks for."""
    if self.folds != SplitOptions.folds and self.protocol != 'folds':
      raise UserError(
        f'config.dataset.folds={self.folds}: must be {SplitOptions.folds}, or needs '
        "protocol='folds'"
      )
    if tuple(self.fractions) != SplitOptions.fractions and self.protocol not in DRAWN:
      raise UserError(
        f'config.dataset.fractions={self.fractions}: needs a protocol of {", ".join(DRAWN)}'
      )

  def check(self) -> None:
    """Raises UserError for an option that this protocol does not take."""
    if self.test_subject and self.protocol != 'leave_one_subject_out':
      raise UserError(
        f'config.dataset.test_subject={self.test_subject!r}: only the protocol '
        'leave_one_subject_out takes one'
      )
    if self.fold and self.protocol not in ('folds', 'official', *DRAWN):
      raise UserError(
        f'config.dataset.fold={self.fold}: only the protocols folds, official, fractions and '
        'by_clip take one'
      )
    if self.validation_fraction and (self.validation_subjects or self.protocol in DRAWN):
      raise UserError(
        f'config.dataset.validation_fraction={self.validation_fraction}: must be 0 beside '
        'validation_subjects and with the protocols fractions and by_clip'
      )
    if abs(sum(self.fractions) - 1) > 1e-6:
      raise UserError(f'config.dataset.fractions={self.fractions}: must add up to 1')
    if self.fold_people and (self.protocol != 'folds' or len(self.fold_people) != self.folds):
      raise UserError(
        f"config.dataset.fold_people: {len(self.fold_people)} folds; needs protocol='folds' and "
        f'folds={len(self.fold_people)}'
      )
    if self.protocol == 'folds' and not 1 <= self.fold <= self.folds:
      raise UserError(f'config.dataset.fold={self.fold}: must be 1 to {self.folds}')


def make_splits(
  index: Index,
  metadata: Mapping[str, Any],
  options: SplitOptions = SplitOptions(),
  seed: int = 0,
) -> Splits:
  """Divides the records by a protocol.

  Args:
    index: the dataset's records.
    metadata: its `train_subjects` are the training half of `cross_subject`. Its `protocols`, if it
      has any, map names such as `cross_view` to the column that decides, `field`, and to the values
      of each part: `test`, and where given `validation` and `train`. Without `train`, all the rest
      trains; with it, the rest is unused.
    options: the protocol and its options.
    seed: of the draws of `train_fraction` and `validation_fraction`.

  Raises:
    UserError: unknown protocol, column, person or fold, or nothing to train or test on.
  """
  name = options.protocol
  of_dataset = metadata.get('protocols', {})
  if name not in PROTOCOLS and name not in of_dataset:
    raise UserError(f'protocol={name!r}: not one of {", ".join([*PROTOCOLS, *of_dataset])}')
  options.check()
  if name in PROTOCOLS:
    parts = PROTOCOLS[name](index, metadata, options)
  else:
    parts = _by_values(index, of_dataset[name], f'protocol={name}')
  parts[_validating(index, parts, options, seed)] = 'validation'
  if options.train_fraction < 1:
    train = np.flatnonzero(parts == 'train')
    people = index.columns.get(options.group, np.zeros(len(index), np.int32))
    drawn = draws.draw_fraction(index.label[train], people[train], options.train_fraction, seed)
    parts[train[~drawn]] = 'unused'

  for part in ('train', 'test'):
    if not (parts == part).any():
      raise UserError(f'protocol={name}: no trial is left in the {part} split')
  return Splits(**{part: np.flatnonzero(parts == part) for part in PARTS})


def class_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """How many examples each class has, int64 `[num_classes]`, of 0-based labels `[N]`."""
  return np.bincount(labels, minlength=num_classes).astype(np.int64)


def _among(column: np.ndarray, values: Collection[Any]) -> np.ndarray:
  """bool `[N]`; a number is never taken for the text that spells it."""
  chosen = set(values)
  return np.array([value in chosen for value in column.tolist()], bool)


def _named(parts: Mapping[str, np.ndarray], rest: str) -> np.ndarray:
  """The part of each record, str `[N]`, of bool `[N]` by part; of several the first."""
  return np.select(list(parts.values()), list(parts), rest).astype('<U10')


def _validating(index: Index, parts: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
  """bool `[N]`: the training examples of those who validate."""
  fraction, drawn = options.validation_fraction, np.zeros(len(index), bool)
  if fraction:
    people, train = index.column(options.group, 'validation_fraction'), parts == 'train'
    share = 1 - fraction, fraction
    drawn[train] = draws.draw_parts(index.label[train], people[train], share, seed) == 1
    if not drawn.any():
      reason = f'no {options.group} is as small a part of the training examples'
      raise UserError(f'validation_fraction={fraction}: {reason}; raise it')
  if not options.validation_subjects:
    return drawn
  people = index.column(options.group, 'validation_subjects')
  training = set(people[parts == 'train'].tolist())
  unknown = sorted(set(options.validation_subjects) - training, key=str)
  if unknown:
    raise UserError(
      f'validation_subjects: {unknown} not among the training {options.group}s {sorted(training)}'
    )
  return _among(people, options.validation_subjects) & (parts == 'train')


def _by_values(index: Index, rule: Mapping[str, Any], user: str) -> np.ndarray:
  column = index.column(rule['field'], user)
  named = {part: _among(column, rule[part]) for part in PARTS if part in rule}
  return _named(named, 'unused' if 'train' in rule else 'train')


def _cross_subject(index: Index, metadata: Mapping[str, Any], options: SplitOptions) -> np.ndarray:
  user = f'protocol={options.protocol}'
  if 'train_subjects' not in metadata:
    raise UserError(
      f"{user}: the builder's metadata has no train_subjects; protocol=official takes the splits "
      'as the dataset stores them'
    )
  training = _among(index.column('subject', user), metadata['train_subjects'])
  return _named({'train': training}, 'test')


def _leave_one_subject_out(
  index: Index, metadata: Mapping[str, Any], options: SplitOptions
) -> np.ndarray:
  del metadata
  subject = index.column('subject', f'protocol={options.protocol}')
  testing = _among(subject, [options.test_subject])
  if not testing.any():
    present = sorted(set(subject.tolist()))
    raise UserError(f'test_subject={options.test_subject}: not one of the subjects {present}')
  return _named({'test': testing}, 'train')


def _folds(index: Index, metadata: Mapping[str, Any], options: SplitOptions) -> np.ndarray:
  del metadata
  people = index.column(options.group, f'protocol={options.protocol}')
  if not options.fold_people:
    fold = folds.assign_folds(people, options.folds)
  else:
    fold = folds.listed_folds(people, options.fold_people)
  return _named({'test': fold == options.fold}, 'train')


def _official(index: Index, metadata: Mapping[str, Any], options: SplitOptions) -> np.ndarray:
  """The dataset's own list: the column `split`, or of several lists `split1`, `split2`..."""
  del metadata
  name = f'split{options.fold}' if options.fold else 'split'
  parts = index.column(name, f'protocol={options.protocol}')
  unknown = sorted(set(parts.tolist()) - set(PARTS), key=str)
  if unknown:
    raise UserError(f'protocol=official: {name} has {unknown}, not only {", ".join(PARTS)}')
  return parts.astype('<U10')


def _fractions(index: Index, metadata: Mapping[str, Any], options: SplitOptions) -> np.ndarray:
  del metadata
  by_clip = options.protocol == 'by_clip'
  groups = index.column('key' if by_clip else options.group, f'protocol={options.protocol}')
  drawn = draws.draw_parts(index.label, groups, options.fractions, options.fold)
  return np.array(PARTS[:3])[drawn].astype('<U10')


def cautions(index: Index, splits: Splits, options: SplitOptions) -> list[str]:
  """Why figures flatter, a sentence each: what 'by_clip' has both in training and in the test."""
  if options.protocol != 'by_clip':
    return []
  column = next((name for name in (options.group, 'group') if name in index.columns), '')
  if not column:
    return [
      'Clips of one source may be both in training and in the test (protocol=by_clip), which '
      'flatters the figures.'
    ]
  values = index.columns[column]
  tested = set(values[splits.test].tolist())
  shared = tested & set(values[splits.train].tolist())
  return [
    f'{len(shared)} of the {len(tested)} tested values of {column} are in training, too '
    '(protocol=by_clip), which flatters the figures; protocol=fractions parts none.'
  ]


PROTOCOLS: dict[str, Callable[[Index, Mapping[str, Any], SplitOptions], np.ndarray]] = {
  'cross_subject': _cross_subject,
  'leave_one_subject_out': _leave_one_subject_out,
  'folds': _folds,
  'official': _official,
  'fractions': _fractions,
  'by_clip': _fractions,
}
"""Those of every dataset, each giving the part of every record, str `[N]`; see `SplitOptions`.

A function gets the index, the dataset's metadata and the options.
"""
