"""Models over a whole split: what is known of every example."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from har.data import loader
from har.evaluate import anomaly, decision, recordings
from har.train import mesh as mesh_lib
from har.train import predict, step
from har.train import stage as stage_lib
from har.train.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Tested:
  """A stage's model over a split of N examples.

  Attributes:
    scores: of its examples, see `har.objectives.objective.Objective.scores`.
    present: bool `[N]` by modality, of those that examples may lack.
    removed: by modality, scores of the same model where no example has it; empty for a stage of one
      modality.
    examples: scores of its examples before windows are put together.
    held_out: those of the examples of `anomaly.held_out`; None if there are none.
    validation: `scores` and `present` of the examples that decisions are fused by, see
      `har.evaluate.decision.of_experiment`; None if they are not.
  """

  scores: dict[str, np.ndarray]
  present: dict[str, np.ndarray]
  removed: dict[str, dict[str, np.ndarray]]
  examples: dict[str, np.ndarray]
  held_out: dict[str, np.ndarray] | None
  validation: dict[str, Any] | None = None


def test(experiment: Experiment, name: str, variables: dict) -> Tested:
  """Everything that is to be known of a float32 stage, in one pass over the split."""
  one = experiment.stages[name]
  parts = one.model, one.preprocess, one.objective
  scores = jax.jit(step.make_eval_step(*parts))
  removed = jax.jit(step.make_removed_step(*parts, one.modalities))

  def plain(variables, batch):
    present = {m: batch[f'{m}_present'] for m in one.modalities if f'{m}_present' in batch}
    return {'scores': scores(variables, batch), 'present': present}

  def everything(variables, batch):
    several = len(one.modalities) > 1
    without = removed(variables, batch) if several else {}
    return {**plain(variables, batch), 'removed': without}

  positions = experiment.context.evaluated
  found = _over(experiment, name, everything, variables, positions)
  normal = _held_out(experiment, name, scores, variables)
  validation = None
  if name in decision.experts(experiment.deployed) and not decision.why_not(experiment):
    validated = experiment.context.splits.validation
    validation = _over(experiment, name, plain, variables, validated)
  pooled = recordings.pool(found, units(experiment).group)
  return Tested(**pooled, examples=found['scores'], held_out=normal, validation=validation)


def predict_split(
  experiment: Experiment, name: str, model: Any, preprocess: step.Preprocess, variables: dict
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
  """Scores of a model for a stage's inputs of the split, in its order, and of those held out.

  The former are of examples before windows are put together; the latter None if there are none.
  """
  objective = experiment.stages[name].objective
  eval_step = jax.jit(step.make_eval_step(model, preprocess, objective))
  positions = experiment.context.evaluated
  found = _over(experiment, name, eval_step, variables, positions)
  return found, _held_out(experiment, name, eval_step, variables)


def _held_out(
  experiment: Experiment, name: str, eval_step: Callable[..., Any], variables: dict
) -> dict[str, np.ndarray] | None:
  positions = anomaly.held_out(experiment, name)
  if not len(positions):
    return None
  return _over(experiment, name, eval_step, variables, positions)


def _over(
  experiment: Experiment,
  name: str,
  eval_step: Callable[..., Any],
  variables: dict,
  positions: np.ndarray,
) -> Any:
  """What `har.train.predict.predict` returns for a stage's inputs of these examples."""
  one, context = experiment.stages[name], experiment.context
  batches = loader.eval_batches(
    context.dataset.records(stage_lib.fields(one.inputs)),
    positions,
    one.inputs,
    batch_size=mesh_lib.round_up(context.runtime['eval_batch_size'], context.mesh),
    share=loader.Share(jax.process_index(), jax.process_count()),
    workers=context.runtime['workers'],
  )
  return predict.predict(eval_step, variables, batches, context.mesh)


def units(experiment: Experiment) -> recordings.Units:
  """What is counted of the split."""
  return recordings.units(experiment.context.dataset, experiment.context.evaluated)
