"""The jitted steps, as pure functions of state and batch; what is learnt is up to the objective."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from har.models.mode import INFERENCE, Mode
from har.objectives.objective import Objective
from har.train.state import TrainState, merge, partition

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
Preprocess = Callable[..., dict[str, jax.Array]]

# Folded into the key of the augmentation, whose inputs have small numbers.
_OBJECTIVE = 1000
_VIEWS = 2000


@flax.struct.dataclass
class Sums:
  """What a batch's microbatches add up to so far.

  Attributes:
    count: int32 scalar, microbatches.
    metrics: sums of their losses and of the objective's metrics.
    grads: sums of the trained parameters' gradients.
  """

  count: jax.Array
  metrics: Metrics
  grads: Any


class TrainStep(NamedTuple):
  """A training step, in one piece or in parts; pure functions to be jitted.

  `teacher` is what the objective's `prepare` takes: another stage's variables, or None.

  Attributes:
    whole: `whole(state, batch, rate_scale, teacher) -> (state, metrics)`.
    first: `first(state, microbatch, teacher) -> (state, sums)` of a batch's first microbatch; it
      changes nothing but batch statistics.
    add: `add(state, sums, microbatch, teacher) -> (state, sums)` of each further one.
    apply: `apply(state, sums, rate_scale) -> (state, metrics)` takes the optimiser's step with the
      means over the microbatches.
  """

  whole: Callable[..., tuple[TrainState, Metrics]]
  first: Callable[..., tuple[TrainState, Sums]]
  add: Callable[..., tuple[TrainState, Sums]]
  apply: Callable[..., tuple[TrainState, Metrics]]


def restart(
  variables: Mapping[str, Any],
  optimizer: optax.GradientTransformation,
  *,
  trained: Sequence[str],
  ema: float,
) -> TrainState:
  """The state at step 0 of a stage that starts from these variables."""
  params = variables['params']
  train, _ = partition(params, trained)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=optimizer.init(train),
    ema=jax.tree.map(jnp.copy, train) if ema else None,
  )


def make_train_step(
  model: nn.Module,
  preprocess: Preprocess,
  objective: Objective,
  optimizer: optax.GradientTransformationExtraArgs,
  *,
  trained: Sequence[str],
  ema: float,
  seed: int,
) -> TrainStep:
  """Builds a training step.

  Only the trained parameters are differentiated, so no backward pass exists below the lowest of
  them. Random keys depend on the seed and the step alone, and in parts on the microbatch's number.
  There, batch norms normalise each microbatch by itself, and each in turn moves their running
  statistics.

  Args:
    model: maps preprocessed inputs to `har.models.types.Outputs`.
    preprocess: `preprocess(batch, key=key)` augments and normalises.
    objective: what is learnt.
    optimizer: for the trained parameters, of `har.train.optimizers.make_optimizer`.
    trained: path patterns of the trained parameters.
    ema: decay of the moving average of the trained parameters, 0 for none.
    seed: of the stage.
  """
  differentiate = _differentiation(model, preprocess, objective, trained)
  update = _updating(optimizer, trained, ema)

  def step_key(state):
    return jax.random.fold_in(jax.random.key(seed), state.step)

  def whole(state, batch, rate_scale, teacher=None):
    (metrics, grads), state = differentiate(state, batch, step_key(state), teacher)
    return update(state, metrics, grads, rate_scale)

  def first(state, microbatch, teacher=None):
    key = jax.random.fold_in(step_key(state), 0)
    found, state = differentiate(state, microbatch, key, teacher)
    return state, Sums(jnp.ones((), jnp.int32), *found)

  def add(state, sums, microbatch, teacher=None):
    key = jax.random.fold_in(step_key(state), sums.count)
    found, state = differentiate(state, microbatch, key, teacher)
    total = jax.tree.map(jnp.add, (sums.metrics, sums.grads), found)
    return state, Sums(sums.count + 1, *total)

  def apply(state, sums, rate_scale):
    means = jax.tree.map(lambda x: x / sums.count, (sums.metrics, sums.grads))
    return update(state, *means, rate_scale)

  return TrainStep(whole, first, add, apply)


def _differentiation(model, preprocess, objective: Objective, trained: Sequence[str]):
  """Metrics and gradients of a batch, and the state with new batch statistics."""
  mode = Mode(train=True, trained=tuple(trained))

  def differentiate(state, batch, key, teacher):
    train, frozen = partition(state.params, trained)
    augment_key, dropout_key = jax.random.split(key)
    inputs = _augmented(preprocess, batch, augment_key, objective.views)
    inputs, targets = objective.prepare(
      inputs, batch, jax.random.fold_in(augment_key, _OBJECTIVE), teacher
    )

    def loss_of(train):
      variables = {'params': merge(frozen, train), 'batch_stats': state.batch_stats}
      outputs, updates = model.apply(
        variables, inputs, mode, rngs={'dropout': dropout_key}, mutable=['batch_stats']
      )
      loss, metrics = objective.loss(outputs, targets)
      return loss, (metrics, updates)

    (loss, (metrics, updates)), grads = jax.value_and_grad(loss_of, has_aux=True)(train)
    stats = updates.get('batch_stats', state.batch_stats)
    return ({'loss': loss} | metrics, grads), state.replace(batch_stats=stats)

  return differentiate


def _augmented(preprocess: Preprocess, batch: Batch, key: jax.Array, views: int) -> Batch:
  """A batch of B as so many views of it, `[views B, ...]`."""
  first = preprocess(batch, key=key)
  if views == 1:
    return first
  keys = (jax.random.fold_in(key, _VIEWS + i) for i in range(1, views))
  found = [first, *(preprocess(batch, key=key) for key in keys)]
  return {name: jnp.concatenate([view[name] for view in found]) for name in first}


def _updating(optimizer, trained: Sequence[str], ema: float):
  """The optimiser's step, and that of the moving average."""

  def update(state, metrics, grads, rate_scale):
    train, frozen = partition(state.params, trained)
    changes, opt_state = optimizer.update(grads, state.opt_state, train, rate_scale=rate_scale)
    train = optax.apply_updates(train, changes)
    average = state.ema
    if average is not None:
      # A young average follows faster, or it would be stuck at the initial values.
      decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
      average = optax.incremental_update(train, average, 1 - decay)
    new = state.replace(
      step=state.step + 1, params=merge(frozen, train), opt_state=opt_state, ema=average
    )
    return new, metrics | {'gradient_norm': optax.tree.norm(grads)}

  return update


def make_eval_step(
  model: nn.Module, preprocess: Preprocess, objective: Objective
) -> Callable[[dict[str, Any], Batch], dict[str, jax.Array]]:
  """Builds `step(variables, batch) -> scores` (see `Objective.scores`) in inference mode."""

  def step(variables, batch):
    inputs = preprocess(batch)
    return objective.scores(model.apply(variables, inputs, INFERENCE), inputs)

  return step


def make_removed_step(
  model: nn.Module, preprocess: Preprocess, objective: Objective, modalities: Sequence[str]
) -> Callable[[dict[str, Any], Batch], dict[str, dict[str, jax.Array]]]:
  """Builds `step(variables, batch) -> {modality: scores without it}` in inference mode.

  Only the head is computed once for each modality, not the encoders.
  """

  def step(variables, batch):
    inputs = preprocess(batch)
    everywhere = jnp.ones_like(batch['mask'])
    present = [inputs.get(f'{name}_present', everywhere) for name in modalities]

    def without(kept):
      now = {f'{name}_present': present[i] & kept[i] for i, name in enumerate(modalities)}
      changed = {**inputs, **now}
      return objective.scores(model.apply(variables, changed, INFERENCE), changed)

    scores = jax.vmap(without)(~jnp.eye(len(modalities), dtype=bool))
    parts = (jax.tree.map(lambda x, i=i: x[i], scores) for i in range(len(modalities)))
    return dict(zip(modalities, parts, strict=True))

  return step
