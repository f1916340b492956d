"""Causal models as one step of a stream, with their state as inputs and outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from har.compress.graph import STATE
from har.compress.quantise import FoldedModel, Variables, ranges_for
from har.errors import UserError
from har.models.mode import INFERENCE, Mode
from har.models.widths import narrowed


def refusal(model: Any) -> str:
  """Why a `har.models.recogniser.Recogniser` cannot run step by step, empty if it can."""
  names = sorted(model.encoders)
  if len(names) != 1:
    return f'a model of {" and ".join(names)} takes more than one input'
  encoder = model.encoders[names[0]]
  if not hasattr(encoder, 'step') or getattr(encoder, 'bidirectional', False):
    return f'the encoder {type(encoder).__name__} of {names[0]} is not causal'
  if getattr(model.head, 'reads_sequence', False):
    return f'the head {type(model.head).__name__} reads all steps at once'
  return ''


class StepModel:
  """A recogniser of one input, called as a Linen module with a sample or frame at a time.

  Its inputs are the sample `[B, ...]` by the input's name, and the state as `carry_0`, `carry_1`,
  ..., all zero at the start of a stream; it returns `logits` of all that has come, and the next
  state by the same names.
  """

  def __init__(self, model: Any):
    """Takes a whole `har.models.recogniser.Recogniser`.

    Raises:
      UserError: `refusal` has something to say.
    """
    if reason := refusal(model):
      raise UserError(f'{reason}: it cannot run step by step')
    ((self.name, self._encoder),) = model.encoders.items()
    self.model = model

  def apply(self, variables: Variables, inputs: Mapping[str, Any], mode: Mode = INFERENCE) -> Any:
    """`{'logits': [B, classes], 'carry_0': ...}` of one step."""
    del mode
    encoder, head = (
      {group: tree[name] for group, tree in variables.items() if name in tree}
      for name in (self.name, 'head')
    )
    x = inputs[self.name]
    like = jax.eval_shape(lambda: self._carry(encoder, 1, x.shape[1:]))
    state = [inputs[f'{STATE}{i}'] for i in range(len(jax.tree.leaves(like)))]
    carry = jax.tree.unflatten(jax.tree.structure(like), state)
    with narrowed(self.model.widths, self.name):
      carry, features = self._encoder.apply(encoder, carry, x, method='step')
    outputs: Any = self.model.head.apply(head, {self.name: features}, INFERENCE)
    return outputs.named() | _named(carry)

  def initial(
    self, variables: Variables, shape: Sequence[int], batch: int = 1
  ) -> dict[str, jax.Array]:
    """The state at the start of a stream, of samples of this shape: zeros."""
    encoder = {group: tree[self.name] for group, tree in variables.items() if self.name in tree}
    return _named(self._carry(encoder, batch, shape))

  def _carry(self, variables: Variables, batch: int, shape: Sequence[int]) -> Any:
    return self._encoder.apply(variables, batch, shape, method='initial_carry')


def _named(carry: Any) -> dict[str, jax.Array]:
  return {f'{STATE}{i}': leaf for i, leaf in enumerate(jax.tree.leaves(carry))}


def step_form(
  whole: FoldedModel, variables: Variables, inputs: Mapping[str, Any]
) -> tuple[FoldedModel, Variables, dict[str, jax.Array]]:
  """A folded model, float or with static ranges, as one step of a stream.

  Args:
    whole: the model of whole clips.
    variables: of it, calibrated if it is quantised.
    inputs: of a whole clip `[B, T, ...]`, of any length.

  Returns:
    The folded `StepModel`, its variables, and zeros for the inputs of one step.

  Raises:
    UserError: as `StepModel`.
  """
  model = StepModel(whole.model)
  x = inputs[model.name]
  first = {model.name: jnp.zeros((1, *x.shape[2:]), x.dtype)}
  first |= model.initial(variables, x.shape[2:])
  step = whole.around(model)
  stats = dict(variables['batch_stats'])
  if whole.has_ranges:
    found = ranges_for(step.graph(first), whole.graph(inputs), variables['batch_stats']['ranges'])
    stats['ranges'] = jnp.stack(list(found.values()))
  return step, {'params': variables['params'], 'batch_stats': stats}, first
