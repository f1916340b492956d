"""A perceptron on each modality's features, for contrast between embeddings."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from har.models.layers import batch_norm
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Size


class Projections(nn.Module):
  """The projection of SimCLR and CMC: dense, batch norm, ReLU and dense, for each modality.

  Attributes:
    num_classes: accepted for all heads; there are no logits.
    hidden: units of the hidden layer.
    size: of the embeddings.
    dtype: of the hidden layer; embeddings are float32.
  """

  num_classes: int
  hidden: Size = 256
  size: Size = 128
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns embeddings by modality, float32 `[B, size]`."""
    found = {}
    for name in sorted(features):
      x, present = features[name].pooled, features[name].present
      seen = None if present is None else present[:, None]
      x = nn.Dense(self.hidden, use_bias=False, dtype=self.dtype, name=f'{name}_hidden')(x)
      x = nn.relu(batch_norm(x, mode, name=f'{name}_norm', dtype=self.dtype, mask=seen))
      found[name] = nn.Dense(self.size, name=f'{name}_out')(x.astype(jnp.float32))
    return Outputs(embeddings=found)
