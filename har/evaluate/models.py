"""The float32 stages of an experiment, compiled once for any number of passes over examples."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from har.data import loader
from har.train import experiment as experiment_lib
from har.train import mesh as mesh_lib
from har.train import predict, step
from har.train import stage as stage_lib
from har.train.experiment import Experiment


class Models:
  """All stages that are finished, on the mesh.

  Args:
    experiment: whose stages they are.

  Raises:
    UserError: a stage is not finished.
  """

  def __init__(self, experiment: Experiment):
    self._experiment = experiment
    self._variables, self._steps, self._removed, self._entries = {}, {}, {}, {}
    for name, one in experiment.deployed.items():
      self._variables[name], _ = experiment_lib.load(experiment, name, sharded=True)
      parts = one.model, one.preprocess, one.objective
      self._steps[name] = jax.jit(step.make_eval_step(*parts))
      if len(one.modalities) > 1:
        self._removed[name] = jax.jit(step.make_removed_step(*parts, one.modalities))
      inputs = one.inputs.values()
      self._entries[name] = {'label', 'mask'}.union(*(i.padding() for i in inputs))

  def run(
    self,
    dataset: Any,
    positions: np.ndarray,
    names: Collection[str],
    *,
    removed: bool = False,
  ) -> dict[str, dict[str, Any]]:
    """One pass over examples, whose inputs are read once for all stages.

    Args:
      dataset: in place of the experiment's; only its `records` are asked for.
      positions: of N examples.
      names: of stages.
      removed: whether stages of several modalities run without each of them, too.

    Returns:
      By stage `scores` (see `Objective.scores`), `present`, bool `[N]` by modality that examples
      may lack, and `removed`, scores by modality; windows are not put together yet.
    """
    stages = {name: self._experiment.stages[name] for name in names}
    inputs = {n: i for one in stages.values() for n, i in one.inputs.items()}
    context = self._experiment.context
    batches = loader.eval_batches(
      dataset.records(stage_lib.fields(inputs)),
      positions,
      inputs,
      batch_size=mesh_lib.round_up(context.runtime['eval_batch_size'], context.mesh),
      share=loader.Share(jax.process_index(), jax.process_count()),
      workers=context.runtime['workers'],
    )

    def all_stages(variables: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
      found = {}
      for name, one in stages.items():
        # Another set of entries would be compiled for.
        own = {entry: x for entry, x in batch.items() if entry in self._entries[name]}
        without = self._removed.get(name) if removed else None
        found[name] = {
          'scores': self._steps[name](variables[name], own),
          'present': {m: own[f'{m}_present'] for m in one.modalities if f'{m}_present' in own},
          'removed': without(variables[name], own) if without else {},
        }
      return found

    return predict.predict(all_stages, self._variables, batches, context.mesh)
