"""The interface of an objective."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from har.metrics.classification import Predictions
from har.metrics.detection import Detections
from har.models.types import Outputs

Arrays = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class Selection(NamedTuple):
  """The figure of `Objective.validate` that chooses the best step, ends training and slows it.

  Attributes:
    name: its key.
    title: as reports write it.
    maximise: whether more is better.
  """

  name: str
  title: str
  maximise: bool

  def better(self, value: float) -> float:
    """The figure with its sign such that more is better."""
    return value if self.maximise else -value


@dataclasses.dataclass(frozen=True)
class Facts:
  """What an objective may know of a stage's data.

  Attributes:
    class_names: C names in label order.
    abnormal: names of the classes that stand for abnormal activities.
    counts: int64 [C], training examples of each class.
    unknown: bool [C], classes that no input of the stage shows before the test, which it is not
      to answer; None if there are none.
  """

  class_names: tuple[str, ...]
  abnormal: tuple[str, ...]
  counts: np.ndarray
  unknown: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Objective(abc.ABC):
  """What a stage is trained for; the options of a config are further attributes.

  A training step calls `prepare`, the model and `loss`; evaluation the model, `scores` and, once it
  has those of a whole split, `validate` or `evaluate`.

  Attributes:
    facts: see `Facts`.
    anomaly_meaning: how `anomaly` comes from a model's outputs, for who runs exported files.
  """

  facts: Facts
  selection: ClassVar[Selection]
  anomaly_meaning: ClassVar[str] = ''
  needs_inputs: ClassVar[bool] = False
  """Whether it reads the inputs themselves, and not only what the model makes of them."""
  views: ClassVar[int] = 1
  """How many times a training batch is augmented; `prepare` gets the results one below another."""
  deployed: ClassVar[bool] = True
  """Whether its model is of use by itself. If not, it is there for later stages to start from, and
  is neither evaluated nor compressed nor exported."""

  def trains_on(self, labels: np.ndarray) -> np.ndarray:
    """bool [N], false for training examples [N] of a class that is left out; none is by default."""
    return np.ones(len(labels), bool)

  @abc.abstractmethod
  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    """What the model sees of a training batch, and what it is to give.

    Args:
      inputs: preprocessed and augmented, `[views B, ...]`.
      batch: as it came from the loader, with `label` int32 [B].
      key: PRNG key of the step.
      teacher: variables of the stage that this one learns from; None if it has none.

    Returns:
      Inputs, and targets for `loss`.
    """

  @abc.abstractmethod
  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    """The batch's loss, a scalar, and further scalars for the log."""

  @abc.abstractmethod
  def scores(self, outputs: Outputs, inputs: Arrays) -> Arrays:
    """What is kept of each example when a split is evaluated: arrays [B, ...] by name."""

  def anomaly(self, scores: dict[str, np.ndarray]) -> np.ndarray | None:
    """Of `scores`, how abnormal each example is, `[N]`; None if the stage does not tell."""
    del scores
    return None

  @abc.abstractmethod
  def validate(self, scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Figures of a validation split: `loss` and that of `selection`."""

  @abc.abstractmethod
  def evaluate(
    self, scores: dict[str, np.ndarray], keys: tuple[str, ...], labels: np.ndarray
  ) -> Predictions | Detections:
    """What the model gave for a whole split."""
