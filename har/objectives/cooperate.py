"""Telling an activity and the group that it is of, together (MuMu: Islam and Iqbal, AAAI 2022)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.classify import Classify
from har.objectives.objective import Arrays, Metrics
from har.ranges import Amount


@dataclasses.dataclass(frozen=True)
class Cooperate(Classify):
  """The target task's cross entropy and, weighted, the auxiliary task's: that of the groups.

  The probability of a group is the sum of those of its classes, so that smoothed and blended labels
  go over to it.

  Attributes:
    groups: names of the classes of each group; each class is of one group. The paper leaves the
      groups to who knows the activities.
    group_weight: what the auxiliary task's loss weighs, the target task's 1.
  """

  groups: tuple[tuple[str, ...], ...] = ()
  group_weight: Amount = 1.0

  def __post_init__(self) -> None:
    super().__post_init__()
    self.membership()

  def membership(self) -> np.ndarray:
    """float32 `[C, G]`, 1 where a class is of a group.

    Raises:
      UserError: a class is of no group or of two, or a group names what is no class.
    """
    names, listed = self.facts.class_names, [name for group in self.groups for name in group]
    for name in listed:
      if name not in names:
        raise UserError(f'objective.groups: {name!r} is none of the classes {", ".join(names)}')
    for name in names:
      if listed.count(name) != 1:
        raise UserError(
          f'objective.groups: the class {name!r} is of {listed.count(name)} groups, and must be of '
          'one'
        )
    return np.array([[name in group for group in self.groups] for name in names], np.float32)

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    inputs, targets = super().prepare(inputs, batch, key, teacher)
    return inputs, {**targets, 'groups': targets['classes'] @ jnp.asarray(self.membership())}

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    loss, metrics = super().loss(outputs, targets)
    logits = outputs.group_logits
    if logits is None or logits.shape[-1] != len(self.groups):
      told = 'no groups' if logits is None else f'{logits.shape[-1]} groups'
      raise UserError(
        f'objective.groups: there are {len(self.groups)}, and the head tells {told}; set '
        f'head.kind=mumu and head.groups={len(self.groups)}'
      )
    losses = optax.softmax_cross_entropy(logits, targets['groups'])
    if targets['weight'] is not None:
      losses *= targets['weight']
    right = logits.argmax(-1) == targets['groups'].argmax(-1)
    return loss + self.group_weight * losses.mean(), metrics | {'group_top1': right.mean()}
