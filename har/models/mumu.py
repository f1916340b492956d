"""MuMu (Islam and Iqbal, AAAI 2022): the group of an activity first, which guides the fusion."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.models.hamlet import attended_modalities
from har.models.layers import dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Rate, Size


class MuMu(nn.Module):
  """An auxiliary classifier of groups, whose features ask those of the modalities for the activity.

  Each modality is attended to over time by itself. Their weighted sum, the weights a softmax over
  modalities, tells the group of activities (auxiliary task); as the query of a multi-head attention
  over the modalities it gathers what tells the activity (target task). Train it with the objective
  `cooperate`.

  Of what the paper leaves open, or has otherwise, here: encoders of modalities are those of other
  experiments, without an LSTM; a modality's weight comes from one dense layer that all share; time
  steps are averaged; the target's classifier sees the gathered features alone.

  Attributes:
    num_classes: number of logits.
    groups: number of groups.
    hidden: width of the features that are attended to, a multiple of `heads`.
    heads: of each attention.
    dropout: rate on each modality's features, before and after its attention, and on the hidden
      layers of both classifiers.
    dtype: of the computation; the logits are float32.
  """

  num_classes: int
  groups: Size
  hidden: Size = 128
  heads: Size = 2
  dropout: Rate = 0.3
  dtype: Any = jnp.float32

  reads_sequence: ClassVar[bool] = True

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns logits, float32 `[B, num_classes]`, and group logits, float32 `[B, groups]`."""
    x, present = attended_modalities(
      features, mode, width=self.hidden, heads=self.heads, rate=self.dropout, dtype=self.dtype
    )
    scores = nn.Dense(1, dtype=self.dtype, name='weight')(x)[..., 0].astype(jnp.float32)
    if present is not None:
      # As low as can be and still finite: an example may have nothing.
      scores = jnp.where(present, scores, jnp.finfo(jnp.float32).min)
    weights = nn.softmax(scores).astype(self.dtype)
    group = (weights[..., None] * x).sum(1)
    attention = nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype, name='guided')
    mask = None if present is None else present[:, None, None, :]
    gathered = attention(group[:, None], x, mask=mask)[:, 0]
    return Outputs(
      self._classify(gathered, self.num_classes, mode, 'target'),
      group_logits=self._classify(group, self.groups, mode, 'group'),
    )

  def _classify(self, x: jax.Array, count: int, mode: Mode, name: str) -> jax.Array:
    x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name=f'{name}_hidden')(x))
    x = dropout(x, self.dropout, mode, name=f'{name}_dropout')
    return nn.Dense(count, name=f'{name}_logits')(x.astype(jnp.float32))
