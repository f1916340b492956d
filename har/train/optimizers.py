"""Optimisers and learning-rate schedules from a stage's config."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import optax

from har.models.mode import matches


def make_schedule(config: Mapping[str, Any], total_steps: int) -> optax.Schedule:
  """Learning rate as a function of the step.

  Args:
    config: `learning_rate` (the peak), `schedule` (`constant`; `cosine` to `final` times the peak;
      `plateau`, which is constant here and reduced by `Plateau` on the host), `warmup` (the
      fraction of all steps over which the rate rises linearly from a 25th of the peak) and `final`.
    total_steps: steps in the stage.
  """
  peak, name = config['learning_rate'], config['schedule']
  warmup = round(config['warmup'] * total_steps)
  if name == 'cosine':
    main = optax.cosine_decay_schedule(peak, max(total_steps - warmup, 1), alpha=config['final'])
  else:
    main = optax.constant_schedule(peak)
  if not warmup:
    return main
  rise = optax.linear_schedule(peak / 25, peak, warmup)
  return optax.join_schedules([rise, main], [warmup])


def make_optimizer(
  config: Mapping[str, Any], total_steps: int
) -> optax.GradientTransformationExtraArgs:
  """The optimiser of one stage, to be applied to its trained parameters only.

  Args:
    config: as for `make_schedule`, and `name` (`adamw`; `adam`, whose weight decay is an L2
      penalty, as PyTorch's Adam has it; `sgd` with momentum 0.9), `weight_decay`, `clip_norm` (0
      for none) and `multipliers`, pairs of a path pattern and a factor on the learning rate of what
      it matches (the first match counts).
    total_steps: steps in the stage.
  """
  decay = optax.add_decayed_weights(config['weight_decay'], mask=_decayed)
  core = {
    'adamw': [optax.scale_by_adam(), decay],
    'adam': [decay, optax.scale_by_adam()],
    'sgd': [decay, optax.trace(0.9)],
  }[config['name']]
  clip = [optax.clip_by_global_norm(config['clip_norm'])] if config['clip_norm'] else []
  scale = [_multiply(tuple(config['multipliers']))] if config['multipliers'] else []
  rate = optax.scale_by_learning_rate(make_schedule(config, total_steps))
  return with_rate_scale(optax.chain(*clip, *core, *scale, rate))


def with_rate_scale(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
  """The optimiser with a further argument of `update`: `rate_scale`, a factor on its updates."""

  def update(grads: Any, state: Any, params: Any = None, *, rate_scale: Any) -> tuple[Any, Any]:
    updates, state = optimizer.update(grads, state, params)
    return jax.tree.map(lambda u: u * rate_scale, updates), state

  return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _decayed(params: Any) -> Any:
  """Weight decay is for kernels; biases and batch-norm scales have one axis and are left alone."""
  return jax.tree.map(lambda p: p.ndim > 1, params)


def _multiply(pairs: tuple[tuple[str, float], ...]) -> optax.GradientTransformation:
  def factor(path: tuple[str, ...]) -> float:
    return next((value for pattern, value in pairs if matches(path, [pattern])), 1.0)

  def scale(updates: Any, _: Any = None) -> Any:
    flat = flax.traverse_util.flatten_dict(updates)
    return flax.traverse_util.unflatten_dict({k: v * factor(k) for k, v in flat.items()})

  return optax.stateless(scale)
