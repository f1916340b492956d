"""Arrays that have been computed before, in place of what an input reads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.data.input import Arrays, Example, Input
from har.options import Schema

FIELD = 'ready'


@dataclasses.dataclass(frozen=True)
class Ready(Input):
  """An input whose arrays a record holds under `FIELD`, as they enter the model.

  Not a kind that configs name. Batches hold the arrays by their names.

  Attributes:
    shapes: of the arrays of one example.
  """

  shapes: Mapping[str, jax.ShapeDtypeStruct]

  kind: ClassVar[str] = 'ready'
  schema: ClassVar[Schema] = {}
  augmentation: ClassVar[Schema] = {}

  def check(self) -> None:
    pass

  def read(self, record: Mapping[str, Any], rng: np.random.Generator | None) -> Example:
    return {name: record[FIELD][name] for name in self.shapes}

  def padding(self) -> Example:
    return {name: np.zeros(x.shape, x.dtype) for name, x in self.shapes.items()}

  def preprocess(
    self,
    batch: Mapping[str, Any],
    key: jax.Array | None,
    augment: Mapping[str, Any],
    flip_safe: Any,
  ) -> Arrays:
    return {name: jnp.asarray(batch[name]) for name in self.shapes}

  def steps(self) -> list[dict[str, Any]]:
    return []


class ReadyRecords:
  """Random access to records that hold ready arrays, view after view.

  Item `v * N + i` is the record of the i-th of N positions, with its arrays in view v.

  Args:
    records: random access to the records' other fields.
    positions: of N records, `[N]`.
    views: of each view the arrays by name, `[N, ...]`.
  """

  def __init__(
    self, records: Any, positions: np.ndarray, views: Sequence[Mapping[str, np.ndarray]]
  ):
    self._records, self._positions, self._views = records, positions, views

  def __len__(self) -> int:
    return len(self._views) * len(self._positions)

  def __getitem__(self, i: int) -> dict[str, Any]:
    view, place = divmod(i, len(self._positions))
    arrays = {name: x[place] for name, x in self._views[view].items()}
    return {**self._records[int(self._positions[place])], FIELD: arrays}
