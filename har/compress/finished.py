"""A finished stage and what its forms are made of, each found once and handed down."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from har.data import loader
from har.train import experiment as experiment_lib
from har.train import stage as stage_lib
from har.train.experiment import Experiment
from har.train.stage import Stage

T = TypeVar('T')


class FinishedStage:
  """A stage of an experiment; nothing is read or computed before it is asked for.

  Attributes:
    experiment: that it is of.
    name: of the stage.
    others: all stages of the experiment by name.
  """

  def __init__(self, experiment: Experiment, name: str, others: Mapping[str, 'FinishedStage']):
    self.experiment, self.name, self.others = experiment, name, others
    self._found: dict[Any, Any] = {}

  def once(self, key: Any, find: Callable[[], T]) -> T:
    """What `find` returns, which is called only the first time that it is asked for by this key."""
    if key not in self._found:
      self._found[key] = find()
    return self._found[key]

  @functools.cached_property
  def stage(self) -> Stage:
    """With a model that computes in float32, whatever it was trained in."""
    config = self.experiment.config.copy_and_resolve_references()
    config.dtype = 'float32'
    context = self.experiment.context
    return stage_lib.build(config, self.name, context.dataset, context.splits.train)

  @functools.cached_property
  def variables(self) -> dict[str, Any]:
    """Its result, on the host.

    Raises:
      UserError: the stage is not finished.
    """
    return jax.device_get(experiment_lib.load(self.experiment, self.name)[0])

  @functools.cached_property
  def preprocess(self) -> Callable[..., dict[str, jax.Array]]:
    """The stage's preprocessing, without masks that only say that nothing is padded."""
    one = self.stage
    keep = {*one.modalities, *(f'{name}_present' for name in one.modalities)}
    keep |= {f'{name}_mask' for name, given in one.inputs.items() if given.is_padded}

    def preprocess(batch: Mapping[str, Any], key: jax.Array | None = None) -> dict[str, jax.Array]:
      inputs = one.preprocess(batch, key=key)
      return {name: x for name, x in inputs.items() if name in keep}

    return preprocess

  @functools.cached_property
  def example(self) -> dict[str, jax.Array]:
    """What `preprocess` gives for the dataset's first example, a batch of one."""
    return self.preprocess(next(self._batches(np.array([0]), 1)))

  def calibration(self, examples: int) -> list[dict[str, np.ndarray]]:
    """Preprocessed training examples, spread evenly over the split, in batches of one size."""
    return self.once(('calibration', examples), lambda: self._spread(examples))

  def _spread(self, examples: int) -> list[dict[str, np.ndarray]]:
    train = self.experiment.context.splits.train
    count = min(examples, len(train))
    # As many at once as evaluation takes: all values of a batch of long clips are gigabytes.
    size = min(count, 16, self.experiment.context.runtime['eval_batch_size'])
    count -= count % size
    chosen = train[np.linspace(0, len(train) - 1, count).round().astype(int)]
    preprocess = jax.jit(self.preprocess)
    return [jax.device_get(preprocess(batch)) for batch in self._batches(chosen, size)]

  def _batches(self, positions: np.ndarray, size: int):
    records = self.experiment.context.dataset.records(stage_lib.fields(self.stage.inputs))
    return iter(loader.eval_batches(records, positions, self.stage.inputs, batch_size=size))


def of(experiment: Experiment) -> dict[str, FinishedStage]:
  """The stages of an experiment that are deployed, by name, in their order."""
  stages: dict[str, FinishedStage] = {}
  for name in experiment.deployed:
    stages[name] = FinishedStage(experiment, name, stages)
  return stages
