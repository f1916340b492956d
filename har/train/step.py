"""The jitted steps, as pure functions of state and batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from har.models.mode import INFERENCE, Mode
from har.train import mixup
from har.train.state import TrainState, merge, partition

Batch = dict[str, jax.Array]
Preprocess = Callable[..., dict[str, jax.Array]]
# `restrict(trained, step) -> (trained, free)`: what the trained parameters must be before a step,
# and a tree of booleans of the same shapes, false where they stay as they are.
Restrict = Callable[[Any, jax.Array], tuple[Any, Any]]
Teacher = Callable[[dict[str, jax.Array]], jax.Array]

# Folded into the key of the augmentation, whose modalities have small numbers.
_MIXUP = 1000


@flax.struct.dataclass
class Sums:
  """What a batch's microbatches add up to so far.

  Attributes:
    count: int32 scalar, microbatches.
    loss: sum of their losses.
    top1: sum of their accuracies.
    grads: sums of the trained parameters' gradients.
  """

  count: jax.Array
  loss: jax.Array
  top1: jax.Array
  grads: Any


class TrainStep(NamedTuple):
  """A training step, in one piece or in parts; pure functions to be jitted.

  Attributes:
    whole: `whole(state, batch, rate_scale) -> (state, metrics)`.
    add: `add(state, sums, microbatch) -> (state, sums)` changes nothing but batch statistics.
    apply: `apply(state, sums, rate_scale) -> (state, metrics)` takes the optimiser's step with the
      means over the microbatches.
  """

  whole: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]
  add: Callable[[TrainState, Sums, Batch], tuple[TrainState, Sums]]
  apply: Callable[[TrainState, Sums, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def no_sums(state: TrainState, *, trained: Sequence[str]) -> Sums:
  """Those of no microbatch."""
  train, _ = partition(state.params, trained)
  zero = jnp.zeros((), jnp.float32)
  return Sums(jnp.zeros((), jnp.int32), zero, zero, jax.tree.map(jnp.zeros_like, train))


def cross_entropy(
  logits: jax.Array, labels: jax.Array, smoothing: float = 0.0, share: jax.Array | None = None
) -> jax.Array:
  """Cross entropy of each example, `[B]`, with label smoothing in [0, 1).

  With a `share` `[B]`, labels are blended as `har.train.mixup` blends examples.
  """
  targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
  targets = targets if share is None else mixup.blend(targets, share)
  return optax.softmax_cross_entropy(logits, targets)


def create_state(
  model: nn.Module,
  inputs: dict[str, jax.Array],
  key: jax.Array,
  optimizer: optax.GradientTransformation,
  *,
  trained: Sequence[str],
  ema: float,
) -> TrainState:
  """Random initial state; `inputs` is a preprocessed batch whose values do not matter."""
  variables = model.init(key, inputs, INFERENCE)
  return restart(variables, optimizer, trained=trained, ema=ema)


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
  optimizer: optax.GradientTransformation,
  *,
  trained: Sequence[str],
  label_smoothing: float,
  ema: float,
  auxiliary: float,
  seed: int,
  mixup_alpha: float = 0.0,
  restrict: Restrict | None = None,
  teacher: Teacher | None = None,
) -> TrainStep:
  """Builds a training step.

  Only the trained parameters are differentiated, so no backward pass exists below the lowest of
  them. Random keys depend on the seed and the step alone, and in `TrainStep.add` on the
  microbatch's number. There, batch norms normalise each microbatch by itself, and each in turn
  moves their running statistics.

  Args:
    model: maps preprocessed inputs to logits.
    preprocess: `preprocess(batch, key=key)` augments and normalises.
    optimizer: for the trained parameters.
    trained: path patterns of the trained parameters.
    label_smoothing: in [0, 1).
    ema: decay of the moving average of the trained parameters, 0 for none.
    auxiliary: weight of each modality's own cross entropy, where the head gives one (see
      `har.models.fusion`), over the examples that have it; 0 for none.
    seed: of the stage.
    mixup_alpha: how evenly examples are blended (see `har.train.mixup`), 0 for not at all.
    restrict: sets parameters and holds them; the moving average takes over what is held.
    teacher: gives the logits of another model, whose probabilities are learnt in place of labels.
  """
  mode = Mode(train=True, trained=tuple(trained))

  def parts(state):
    """Trained parameters, which of them are free to change (None: all), and frozen ones."""
    train, frozen = partition(state.params, trained)
    return (*(restrict(train, state.step) if restrict else (train, None)), frozen)

  def step_key(state):
    return jax.random.fold_in(jax.random.key(seed), state.step)

  def differentiate(state, train, frozen, batch, key):
    """Loss, Top-1 and gradients, and the state with new batch statistics."""
    augment_key, dropout_key = jax.random.split(key)
    inputs, share = preprocess(batch, key=augment_key), None
    if mixup_alpha:
      share = mixup.draw_shares(jax.random.fold_in(augment_key, _MIXUP), inputs, mixup_alpha)
      inputs = {name: mixup.blend(x, share) for name, x in inputs.items()}
    targets = None if teacher is None else jax.nn.softmax(teacher(inputs))

    def loss_of(train):
      variables = {'params': merge(frozen, train), 'batch_stats': state.batch_stats}
      mutable = ['batch_stats', 'auxiliary'] if auxiliary else ['batch_stats']
      logits, updates = model.apply(
        variables, inputs, mode, rngs={'dropout': dropout_key}, mutable=mutable
      )
      if teacher is None:
        loss = cross_entropy(logits, batch['label'], label_smoothing, share).mean()
      else:
        loss = optax.softmax_cross_entropy(logits, targets).mean()
      for name, own in _own_logits(updates.pop('auxiliary', {})):
        own_loss = cross_entropy(own, batch['label'], label_smoothing, share)
        loss += auxiliary * _mean_present(own_loss, inputs.get(f'{name}_present'))
      return loss, (logits, updates)

    (loss, (logits, updates)), grads = jax.value_and_grad(loss_of, has_aux=True)(train)
    top1 = (logits.argmax(-1) == batch['label']).mean()
    stats = updates.get('batch_stats', state.batch_stats)
    return (loss, top1, grads), state.replace(batch_stats=stats)

  def update(state, train, free, frozen, means, rate_scale):
    loss, top1, grads = means
    nothing = jax.tree.map(jnp.zeros_like, train)
    grads = _where(free, grads, nothing)
    changes, opt_state = optimizer.update(grads, state.opt_state, train)
    changes = _where(free, changes, nothing)
    train = optax.apply_updates(train, jax.tree.map(lambda u: u * rate_scale, changes))
    average = state.ema
    if average is not None:
      # A young average follows faster, or it would be stuck at the initial values.
      decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
      average = _where(free, optax.incremental_update(train, average, 1 - decay), train)
    metrics = {'loss': loss, 'top1': top1, 'gradient_norm': optax.tree.norm(grads)}
    new = TrainState(
      step=state.step + 1,
      params=merge(frozen, train),
      batch_stats=state.batch_stats,
      opt_state=opt_state,
      ema=average,
    )
    return new, metrics

  def whole(state, batch, rate_scale):
    train, free, frozen = parts(state)
    means, state = differentiate(state, train, frozen, batch, step_key(state))
    return update(state, train, free, frozen, means, rate_scale)

  def add(state, sums, microbatch):
    train, _, frozen = parts(state)
    key = jax.random.fold_in(step_key(state), sums.count)
    one, state = differentiate(state, train, frozen, microbatch, key)
    total = jax.tree.map(jnp.add, (sums.loss, sums.top1, sums.grads), one)
    return state, Sums(sums.count + 1, *total)

  def apply(state, sums, rate_scale):
    total = (sums.loss, sums.top1, sums.grads)
    means = jax.tree.map(lambda x: x / sums.count, total)
    return update(state, *parts(state), means, rate_scale)

  return TrainStep(whole, add, apply)


def _own_logits(sown: Mapping[str, Any]) -> list[tuple[str, jax.Array]]:
  """Each modality with its own logits, out of what the head sowed."""
  flat = sorted(flax.traverse_util.flatten_dict(sown).items())
  return [(path[-1].removeprefix('logits_'), logits) for path, given in flat for logits in given]


def _mean_present(values: jax.Array, present: jax.Array | None) -> jax.Array:
  """The mean of `[B]` where `present`; 0 where nothing is."""
  if present is None:
    return values.mean()
  return jnp.where(present, values, 0).sum() / jnp.maximum(present.sum(), 1)


def _where(free: Any, tree: Any, held: Any) -> Any:
  """`tree` where parameters are free, else `held`."""
  return tree if free is None else jax.tree.map(jnp.where, free, tree, held)


def make_eval_step(
  model: nn.Module, preprocess: Preprocess
) -> Callable[[dict[str, Any], Batch], jax.Array]:
  """Builds `step(variables, batch) -> logits [B, C]` in inference mode."""

  def step(variables, batch):
    return model.apply(variables, preprocess(batch), INFERENCE)

  return step


def make_removed_step(
  model: nn.Module, preprocess: Preprocess, modalities: Sequence[str]
) -> Callable[[dict[str, Any], Batch], dict[str, jax.Array]]:
  """Builds `step(variables, batch) -> {modality: logits [B, C] without it}` in inference mode.

  Only the head is computed once for each modality, not the encoders.
  """

  def step(variables, batch):
    inputs = preprocess(batch)
    everywhere = jnp.ones_like(batch['mask'])
    present = [inputs.get(f'{name}_present', everywhere) for name in modalities]

    def without(kept):
      now = {f'{name}_present': present[i] & kept[i] for i, name in enumerate(modalities)}
      return model.apply(variables, {**inputs, **now}, INFERENCE)

    logits = jax.vmap(without)(~jnp.eye(len(modalities), dtype=bool))
    return dict(zip(modalities, logits, strict=True))

  return step
