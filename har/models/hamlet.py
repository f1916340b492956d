"""HAMLET (Islam and Iqbal, IROS 2020): attention within each modality, then between modalities."""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import dropout, masked_mean
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Rate, Size


class Hamlet(nn.Module):
  """Multi-head self-attention over the time steps of each modality, then over modalities.

  Of what the paper leaves open, or has otherwise, here: time steps are the features of the
  convolutional encoder that each modality has in other experiments, without an LSTM on them;
  attended time steps are averaged, not added up, so that clips may differ in length; there are
  neither position codes nor residual connections, of which it says nothing.

  Attributes:
    num_classes: number of logits.
    hidden: width of the features that are attended to, a multiple of `heads`.
    heads: of both attentions.
    fused: what comes of the attended modalities: their concatenation (the paper's MAT-CONCAT) or
      their sum (MAT-SUM).
    dropout: rate on each modality's features, before and after its attention, and on the
      classifier's hidden layer.
    dtype: of the computation; the logits are float32.
  """

  num_classes: int
  hidden: Size = 128
  heads: Size = 2
  fused: Literal['concat', 'sum'] = 'concat'
  dropout: Rate = 0.3
  dtype: Any = jnp.float32

  reads_sequence: ClassVar[bool] = True

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns logits, float32 `[B, num_classes]`."""
    x, present = attended_modalities(
      features, mode, width=self.hidden, heads=self.heads, rate=self.dropout, dtype=self.dtype
    )
    attention = nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype, name='between')
    if present is None:
      x = attention(x)
    else:  # What is absent asks, too, but its answer is thrown away.
      x = jnp.where(present[..., None], attention(x, mask=present[:, None, None, :]), 0)
    x = x.sum(1) if self.fused == 'sum' else x.reshape(len(x), -1)
    x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name='hidden')(x))
    x = dropout(x, self.dropout, mode, name='dropout_hidden')
    return Outputs(nn.Dense(self.num_classes, name='logits')(x.astype(jnp.float32)))


def attended_modalities(
  features: dict[str, Features], mode: Mode, *, width: int, heads: int, rate: float, dtype: Any
) -> tuple[jax.Array, jax.Array | None]:
  """Each of M modalities as the mean of its time steps after self-attention among them.

  To be called in a compact method; parameters are named `<modality>_in` and `<modality>_attention`.

  Args:
    features: by modality, of which the sequences are read.
    mode: what runs in training mode.
    width: of the result, a multiple of `heads`.
    heads: of the attention.
    rate: of dropout, before and after the attention.
    dtype: of the computation.

  Returns:
    `[B, M, width]`, modalities in alphabetical order and zero where an example lacks one, and bool
    `[B, M]`, false there; None if none does.

  Raises:
    UserError: `width` is no multiple of `heads`.
  """
  if width % heads:
    raise UserError(f'hidden={width} of the head is not a multiple of heads={heads}')
  found, there = [], []
  for name in sorted(features):
    x, mask, present = features[name].sequence, features[name].mask, features[name].present
    x = dropout(x, rate, mode, name=f'dropout_{name}_0')
    x = nn.Dense(width, dtype=dtype, name=f'{name}_in')(x)
    attention = nn.MultiHeadDotProductAttention(heads, dtype=dtype, name=f'{name}_attention')
    x = attention(x, mask=None if mask is None else mask[:, None, None, :])
    x = dropout(masked_mean(x, mask), rate, mode, name=f'dropout_{name}_1')
    found.append(x if present is None else jnp.where(present[:, None], x, 0))
    there.append(present)
  if all(present is None for present in there):
    return jnp.stack(found, 1), None
  everywhere = jnp.ones(len(found[0]), bool)
  return jnp.stack(found, 1), jnp.stack([everywhere if p is None else p for p in there], 1)
