"""What encoders hand to heads, and what a model gives."""

import dataclasses
from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class Features:
  """One modality's features.

  Attributes:
    sequence: `[B, N, D]`, N time steps.
    pooled: `[B, D]`, the whole clip.
    mask: bool `[B, N]`, false where a time step comes from padding alone; None if none does.
    present: bool `[B]`, false where the clip lacks the modality, whose features then mean nothing;
      None if none does.
  """

  sequence: jax.Array
  pooled: jax.Array
  mask: jax.Array | None = None
  present: jax.Array | None = None


@flax.struct.dataclass
class Outputs:
  """What a model gives for a batch of B examples; heads fill in what they have.

  Attributes:
    logits: float32 `[B, C]`; None of heads that do not classify.
    own_logits: of each input alone, float32 `[B, C]` by input.
    reconstruction: of each input as it entered the model, float32 `[B, T, ...]` by input.
    anomaly: float32 `[B]`, of heads that themselves tell how unlike an example is to what they
      were trained on; None of others.
    trained: float32 `[B]`, what training such a head is to lower; None if it is the anomaly itself.
    group_logits: of groups of classes, float32 `[B, G]`; None of heads that tell none.
    embeddings: of each input, float32 `[B, E]` by input, of heads for pretraining.
    features: of each input.
  """

  logits: Any = None
  own_logits: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
  reconstruction: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
  anomaly: Any = None
  trained: Any = None
  group_logits: Any = None
  embeddings: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
  features: dict[str, Features] = flax.struct.field(default_factory=dict)

  def deployed(self) -> 'Outputs':
    """Without what only training needs."""
    return dataclasses.replace(
      self, own_logits={}, trained=None, group_logits=None, embeddings={}, features={}
    )

  def named(self) -> dict[str, jax.Array]:
    """What is deployed, by the names that exported files use."""
    found = {} if self.logits is None else {'logits': self.logits}
    found |= {} if self.anomaly is None else {'anomaly': self.anomaly}
    return found | {f'reconstruction_{name}': x for name, x in self.reconstruction.items()}
