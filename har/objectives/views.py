"""Contrast between augmentations of one example, in each modality by itself (SimCLR)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from har.models.types import Outputs
from har.objectives.contrast import Pretraining, embeddings_of, mean_of, unit
from har.objectives.objective import Arrays, Metrics
from har.ranges import Positive


@dataclasses.dataclass(frozen=True)
class Views(Pretraining):
  """NT-Xent of two augmentations (Chen et al., ICML 2020); the sum over the modalities.

  A validation split is not augmented: there an example's other view is itself, and `retrieval` says
  nothing. The stage is one for `keep='last'`.

  Attributes:
    temperature: that cosine similarities are divided by.
  """

  views: ClassVar[int] = 2
  needs_inputs: ClassVar[bool] = True  # Twice.
  temperature: Positive = 0.1

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del batch, key, teacher
    return inputs, {name: x for name, x in inputs.items() if name.endswith('_present')}

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    losses, right = [], []
    for name, x in sorted(embeddings_of(outputs).items()):
      loss, hit = nt_xent(unit(x), targets.get(f'{name}_present'), self.temperature)
      losses.append(loss)
      right.append(hit)
    return jnp.stack(losses).sum(), {'retrieval': jnp.stack(right).mean()}

  def validate(self, scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    twice = {name: jnp.concatenate([jnp.asarray(x)] * 2) for name, x in scores.items()}
    present = {name: twice.pop(name) for name in list(twice) if name.endswith('_present')}
    loss, metrics = self.loss(Outputs(embeddings=twice), present)
    return {'loss': float(loss), 'retrieval': float(metrics['retrieval'])}


def nt_xent(
  x: jax.Array, present: jax.Array | None, temperature: float
) -> tuple[jax.Array, jax.Array]:
  """The loss of B examples of which there are two views, one below the other.

  Args:
    x: `[2 B, E]` of length 1.
    present: bool `[2 B]`, false for what has no part in it; None if all have.
    temperature: that similarities are divided by.

  Returns:
    The mean over all, and the share of those whose nearest is the same example's other view.
  """
  size = len(x)
  valid = jnp.ones(size, bool) if present is None else present
  other = (jnp.arange(size) + size // 2) % size
  is_other = jax.nn.one_hot(other, size, dtype=bool)
  counted = (valid & ~jnp.eye(size, dtype=bool)) | is_other
  similarities = jnp.where(counted, x @ x.T / temperature, -jnp.inf)
  losses = jax.nn.logsumexp(similarities, axis=1) - jnp.take_along_axis(
    similarities, other[:, None], 1
  ).squeeze(1)
  right = (similarities.argmax(1) == other).astype(jnp.float32)
  return mean_of(losses, valid), mean_of(right, valid)
