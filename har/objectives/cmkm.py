"""Cross-modal knowledge mining (Brinzea, Khaertdinov and Asteriadis, IJCNN 2022): CMC-CMKM."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.mode import INFERENCE
from har.objectives.contrast import Contrast, presence, unit
from har.objectives.objective import Arrays
from har.ranges import Size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mined(Contrast):
  """`Contrast` with further positives: examples that a modality by itself finds alike.

  An encoder of each modality, trained without the other (the paper's by SimCLR: `views`), says how
  alike two examples of the batch are in that modality. The nearest ones of an example are positives
  of it: those by the other modality among embeddings of the other, those by its own among its own.
  All other embeddings of its own modality are negatives besides those of the other.

  Of what the paper leaves open, or its authors' code has otherwise: the temperature divides all
  similarities (that code leaves it out within a modality), examples are compared by their pooled
  features, and the teacher sees the augmented examples, if they are augmented.

  Attributes:
    teacher: 'stage:NAME', an earlier stage of the same modalities.
    teacher_model: that stage's model.
    positives: nearest examples that are mined for each.
  """

  needs_inputs: ClassVar[bool] = True  # The teacher does.
  teacher: str
  teacher_model: Any
  positives: Size = 1

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    inputs, targets = super().prepare(inputs, batch, key, teacher)
    features = self.teacher_model.apply(teacher, inputs, INFERENCE).features
    pooled = {name: unit(one.pooled) for name, one in features.items()}
    present = presence(inputs, pooled)
    near = {name: nearest(x, present.get(name), self.positives) for name, x in pooled.items()}
    return inputs, {**targets, 'near': near}


def nearest(x: jax.Array, present: jax.Array | None, count: int) -> jax.Array:
  """Which other examples are the nearest.

  Args:
    x: `[B, D]` of length 1.
    present: bool `[B]`, false for examples that are nobody's; None if all are there.
    count: of the nearest.

  Returns:
    bool `[B, B]`, true for the nearest ones of each row.

  Raises:
    UserError: there are not so many others.
  """
  if count >= len(x):
    raise UserError(f'objective.positives={count}: must be below the {len(x)} examples of a batch')
  kept = ~jnp.eye(len(x), dtype=bool) & (True if present is None else present)
  _, found = jax.lax.top_k(jnp.where(kept, x @ x.T, -jnp.inf), count)
  return jax.nn.one_hot(found, len(x), dtype=bool).any(1) & kept
