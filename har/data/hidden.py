"""Classes that some fields of the records never show before the test (zero-shot).

In every record of such a class that trains or validates those fields are empty, as where a sensor
was not there. Whatever reads records (training, validation, contrastive pretraining, calibration,
what is computed once and kept) finds them so, and cannot learn from them. The test's records are
whole.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from har.data import inputs as inputs_lib
from har.data.dataset import Dataset
from har.data.protocols import Index, Splits
from har.errors import UserError
from har.options import shown


@dataclasses.dataclass(frozen=True)
class Hiding(Dataset):
  """A dataset some of whose records lack fields that they were recorded with.

  Attributes:
    base: the dataset.
    positions: of those records.
  """

  base: Any = None
  positions: frozenset[int] = frozenset()

  @property
  def modalities(self) -> tuple[str, ...]:
    return tuple(self.base.modalities)

  def records(self, modalities: Collection[str]) -> Any:
    records = self.base.records(modalities)
    lacking = tuple(name for name in modalities if name in self.hidden)
    if not lacking:
      return records
    if isinstance(records, list):
      return [
        emptied(record, lacking) if i in self.positions else record
        for i, record in enumerate(records)
      ]
    return _Records(records, self.positions, lacking)


class _Records:
  """Random access that empties fields; works from several threads and pickles."""

  def __init__(self, records: Any, positions: frozenset[int], lacking: tuple[str, ...]):
    self._records, self._positions, self._lacking = records, positions, lacking

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> dict[str, Any]:
    record = self._records[i]
    return emptied(record, self._lacking) if i in self._positions else record


def emptied(record: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
  """A record in which nothing of these fields was recorded; what says when it was is empty, too."""
  names = [name for field in fields for name in (field, f'{field}_mask') if name in record]
  return {**record, **{name: record[name][:0] for name in names}}


def hide(
  dataset: Dataset, splits: Splits, config: Mapping[str, Any], inputs: Mapping[str, Any], seed: int
) -> Dataset:
  """Hides what a config's `dataset` asks for.

  Args:
    dataset: of recordings.
    splits: of its records; those to train and to validate on lose fields.
    config: `config.dataset`, see `har.data.options.HIDDEN`.
    inputs: `config.inputs`.
    seed: of the draw of classes.

  Raises:
    UserError: an unknown class or field, all classes, fields without classes or classes without
      fields, or an input that takes no empty field.
  """
  fields, hidden = tuple(config['hidden_from']), config['hidden']
  if bool(fields) != bool(hidden):
    raise UserError(
      f'config.dataset.hidden_from={shown(fields)}: needs config.dataset.hidden, and the other way '
      'round'
    )
  if not fields:
    return dataset
  _check_fields(fields, inputs)
  chosen = _chosen(dataset, splits, hidden, seed)
  label = np.isin(dataset.class_names, chosen)[dataset.index.label]
  learnt = np.concatenate([splits.train, splits.validation])
  kept = dataclasses.fields(Dataset)
  given: dict[str, Any] = {f.name: getattr(dataset, f.name, None) for f in kept}
  given['hidden'] = dict.fromkeys(fields, chosen)
  positions = frozenset(learnt[label[learnt]].tolist())
  return Hiding(**given, base=dataset, positions=positions)


def _check_fields(fields: tuple[str, ...], inputs: Mapping[str, Any]) -> None:
  built = [inputs_lib.build(name, one) for name, one in inputs.items()]
  known = dict.fromkeys(one.field for one in built)
  for field in fields:
    if field not in known:
      raise UserError(
        f'config.dataset.hidden_from={shown(fields)}: no input reads {field!r}; there are '
        f'{", ".join(known)}'
      )
  for one in built:
    if one.field in fields and not one.may_lack:
      flag = f'--config.inputs.{one.name}.optional=True'
      raise UserError(f'config.dataset.hidden_from={shown(fields)}: needs {flag}')


def _chosen(dataset: Dataset, splits: Splits, hidden: Any, seed: int) -> tuple[str, ...]:
  """Names of classes, in label order."""
  names = dataset.class_names
  if isinstance(hidden, int):
    chosen = draw(dataset.index, splits, len(names), hidden, seed)
    return tuple(names[i] for i in np.flatnonzero(chosen))
  if unknown := [name for name in hidden if name not in names]:
    raise UserError(
      f'config.dataset.hidden: {unknown[0]!r} is no class of {dataset.name}: {", ".join(names)}'
    )
  return tuple(name for name in names if name in hidden)


def draw(index: Index, splits: Splits, classes: int, count: int, seed: int) -> np.ndarray:
  """Draws classes among those that have examples to train and to test on.

  Args:
    index: the dataset's records.
    splits: of them.
    classes: C, how many there are.
    count: of those that are drawn. Those of a smaller one are among those of a larger one.
    seed: of the draw.

  Returns:
    bool `[C]`.

  Raises:
    UserError: there are not more classes than that.
  """
  both = np.intersect1d(index.label[splits.train], index.label[splits.test])
  if count >= len(both):
    raise UserError(
      f'config.dataset.hidden={count}: must be below {len(both)}, the classes that have examples '
      'both to train and to test on'
    )
  found = np.zeros(classes, bool)
  found[np.random.default_rng((seed, 3)).permutation(both)[:count]] = True
  return found
