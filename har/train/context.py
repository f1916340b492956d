"""What all stages of an experiment share."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh

from har.data.dataset import Dataset
from har.data.protocols import Splits


@dataclasses.dataclass(frozen=True)
class Context:
  """What all stages of an experiment share."""

  dataset: Dataset
  splits: Splits
  mesh: Mesh
  workdir: pathlib.Path
  runtime: Any  # config.runtime
  split: str = 'test'  # what is evaluated on
  claim: Callable[[], None] = lambda: None  # called before a checkpoint is written

  @property
  def evaluated(self) -> np.ndarray:
    """Positions of the examples that are evaluated on, int64."""
    return getattr(self.splits, self.split)
