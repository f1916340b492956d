"""Heads: from the features of one or many modalities to logits.

All heads have one interface, `head(features, mode)` with a dict of `Features` by modality, which
gives `Outputs`, and go through the modalities in alphabetical order. What an example lacks
(`Features.present`) has no influence on its logits; where it lacks everything, they are zero or
what biases make of zeros, or those of classes that are all as likely. A classifier of one
modality's pooled features is always the dense layer `head/<modality>/{kernel,bias}`, in 'linear' as
in 'decision' and 'residual': stage-1 classifiers are carried into such a fusion by copying equal
paths. The latter two also give each modality's own logits.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.errors import UserError
from har.models.layers import dropout
from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.ranges import Positive, Rate, Size

NEVER = -1e9
"""The logit of a class that is not to be answered."""


class Linear(nn.Module):
  """Dropout and one dense layer per modality; the logits of several are added.

  Where some are absent, the sum of the others is scaled up to the same number of terms.

  Attributes:
    num_classes: number of logits.
    dropout: rate on the pooled features.
    dtype: accepted for all heads; this one computes in float32.
  """

  num_classes: int
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns logits, float32 `[B, num_classes]`."""
    logits = classify(features, self.num_classes, self.dropout, mode)
    return Outputs(add_present(features, logits, dict.fromkeys(logits, 1.0)))


class ConcatMLP(nn.Module):
  """The paper's fusion: pooled features, concatenated, through a perceptron of two layers.

  Zeros stand for the features of what is absent.

  Attributes:
    num_classes: number of logits.
    hidden: units of the hidden layer.
    dropout: rate on the concatenated features and on the hidden layer.
    layer_norm: normalise each modality's features first, so that none outweighs another.
    dtype: of the hidden layer; the logits are float32.
  """

  num_classes: int
  hidden: Size = 256
  dropout: Rate = 0.5
  layer_norm: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns logits, float32 `[B, num_classes]`."""
    x = hidden_layer(features, self.hidden, self.dropout, self.layer_norm, self.dtype, mode)
    return Outputs(nn.Dense(self.num_classes, name='logits')(x.astype(jnp.float32)))


class Decision(nn.Module):
  """A product of experts: weighted log-probabilities of one classifier per modality, added.

  The weights start at 1/n for n modalities. With stage-1 classifiers it starts as the geometric
  mean of their probabilities, which ranks classes as their product does and is no surer than they.
  Where some are absent, the weights of the others grow by one factor to the sum of all.

  Attributes:
    num_classes: number of logits.
    unknown: classes that modalities never show in training, see `_product`.
    dropout: rate on the pooled features.
    dtype: accepted for all heads; this one computes in float32.
  """

  num_classes: int
  unknown: tuple[tuple[str, tuple[int, ...]], ...] = ()
  dropout: Rate = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns log-probabilities up to a constant as logits, and those of each modality alone."""
    logits = classify(features, self.num_classes, self.dropout, mode)
    return Outputs(_product(self, features, logits, self.unknown), own_logits=logits)


class Residual(nn.Module):
  """`Decision`, corrected by a perceptron on the concatenated features that starts at zero.

  Attributes:
    num_classes: number of logits.
    unknown: classes that modalities never show in training, see `_product`.
    hidden: units of the hidden layer.
    dropout: rate on the pooled features and on the hidden layer.
    layer_norm: normalise each modality's features before the perceptron.
    trust: what some modalities' log-probabilities weigh at the start, others 1: (('imu', 0.7),).
    dtype: of the hidden layer; the logits are float32.
  """

  num_classes: int
  unknown: tuple[tuple[str, tuple[int, ...]], ...] = ()
  hidden: Size = 256
  dropout: Rate = 0.5
  layer_norm: bool = True
  trust: tuple[tuple[str, Positive], ...] = ()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns log-probabilities up to a constant as logits, and those of each modality alone."""
    experts = classify(features, self.num_classes, self.dropout, mode)
    product = _product(self, features, experts, self.unknown, self.trust)
    x = hidden_layer(features, self.hidden, self.dropout, self.layer_norm, self.dtype, mode)
    zero = nn.initializers.zeros
    correction = nn.Dense(self.num_classes, kernel_init=zero, name='logits')(x.astype(jnp.float32))
    return Outputs(product + correction, own_logits=experts)


class Attention(nn.Module):
  """A small transformer over the feature tokens of all modalities and a class token.

  Tokens of what is absent are masked, as those of padding are.

  Attributes:
    num_classes: number of logits.
    hidden: width of the tokens, a multiple of `heads`.
    heads: attention heads.
    layers: transformer blocks.
    dropout: rate on the tokens and inside the blocks.
    dtype: of the blocks; the logits are float32.
  """

  num_classes: int
  hidden: Size = 128
  heads: Size = 4
  layers: Size = 2
  dropout: Rate = 0.3
  dtype: Any = jnp.float32

  reads_sequence: ClassVar[bool] = True  # Not the pooled features: it cannot run step by step.

  @nn.compact
  def __call__(self, features: dict[str, Features], mode: Mode = INFERENCE) -> Outputs:
    """Returns logits, float32 `[B, num_classes]`."""
    if self.hidden % self.heads:
      raise UserError(f'hidden={self.hidden} of the head is not a multiple of heads={self.heads}')
    embed = nn.initializers.normal(0.02)
    tokens, masks = [], []
    for name in sorted(features):
      x, mask, present = features[name].sequence, features[name].mask, features[name].present
      x = nn.LayerNorm(dtype=self.dtype, name=f'{name}_norm')(x)
      x = nn.Dense(self.hidden, dtype=self.dtype, name=name)(x)
      x += self.param(f'embedding_{name}', embed, (self.hidden,)).astype(self.dtype)
      tokens.append(x + sinusoids(x.shape[1], self.hidden).astype(self.dtype))
      mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
      masks.append(mask if present is None else mask & present[:, None])
    batch = tokens[0].shape[0]
    token = self.param('class_token', embed, (self.hidden,)).astype(self.dtype)
    x = jnp.concatenate([jnp.broadcast_to(token, (batch, 1, self.hidden)), *tokens], 1)
    mask = jnp.concatenate([jnp.ones((batch, 1), bool), *masks], 1)[:, None, None]
    x = dropout(x, self.dropout, mode, name='dropout')
    for i in range(self.layers):
      x = self._block(x, mask, mode, i)
    x = nn.LayerNorm(name='norm')(x[:, 0].astype(jnp.float32))
    return Outputs(nn.Dense(self.num_classes, name='logits')(x))

  def _block(self, x, mask, mode, i):
    y = nn.LayerNorm(dtype=self.dtype, name=f'block_{i}_norm_0')(x)
    attention = nn.MultiHeadDotProductAttention(
      self.heads, dtype=self.dtype, name=f'block_{i}_attention'
    )
    x += dropout(attention(y, mask=mask), self.dropout, mode, name=f'block_{i}_dropout_0')
    y = nn.LayerNorm(dtype=self.dtype, name=f'block_{i}_norm_1')(x)
    y = nn.gelu(nn.Dense(2 * self.hidden, dtype=self.dtype, name=f'block_{i}_dense_0')(y))
    y = nn.Dense(self.hidden, dtype=self.dtype, name=f'block_{i}_dense_1')(y)
    return x + dropout(y, self.dropout, mode, name=f'block_{i}_dropout_1')


def classify(
  features: dict[str, Features], num_classes: int, rate: float, mode: Mode
) -> dict[str, jax.Array]:
  """One dense layer per modality, named after it; to be called in a compact method.

  Returns:
    Logits by modality in alphabetical order, float32 `[B, num_classes]`.
  """
  logits = {}
  for name in sorted(features):
    x = features[name].pooled.astype(jnp.float32)
    x = dropout(x, rate, mode, name=f'dropout_{name}')
    logits[name] = nn.Dense(num_classes, name=name)(x)
  return logits


def add_present(
  features: dict[str, Features],
  terms: dict[str, jax.Array],
  weights: Mapping[str, jax.Array | float],
) -> jax.Array:
  """Adds one term per modality, without those of what an example lacks.

  Args:
    features: say what is present.
    terms: float32 `[B, C]` by modality, weighted already.
    weights: what each term weighs, scalars. The terms that are left are scaled by one factor, so
      that the magnitudes of their weights add up to those of all.

  Returns:
    float32 `[B, C]`, zero where everything is absent.
  """
  if all(features[name].present is None for name in terms):
    return functools.reduce(jnp.add, terms.values())
  whole = left = total = jnp.zeros(())
  for name, term in terms.items():
    present = features[name].present
    weight = jnp.abs(weights[name])
    whole += weight
    left += weight if present is None else jnp.where(present, weight, 0)
    total += _or_zero(term, present)
  return total * jnp.where(left > 0, whole / jnp.where(left > 0, left, 1), 0)[:, None]


def _or_zero(x: jax.Array, present: jax.Array | None) -> jax.Array:
  """`[B, D]` with zeros where an example lacks it."""
  return x if present is None else jnp.where(present[:, None], x, 0)


def _product(
  module: nn.Module,
  features: dict[str, Features],
  experts: dict[str, jax.Array],
  unknown: Sequence[tuple[str, tuple[int, ...]]],
  trust: Sequence[tuple[str, float]] = (),
) -> jax.Array:
  """The weighted sum of log-probabilities.

  An expert that never saw some classes would take them for unlikely. It has no say on them, and
  none on how likely they are together: what the others leave to the classes that it knows is
  shared out among these by all.
  """
  shares = dict.fromkeys(experts, 1.0) | dict(trust)
  if strange := sorted(set(shares) - set(experts)):
    raise UserError(f'trust of the head names {strange[0]!r}, which is no modality of the stage')
  total = sum(shares.values())
  weights, weighted = {}, {}
  for name, logits in experts.items():
    start = nn.initializers.constant(shares[name] / total)
    weights[name] = module.param(f'weight_{name}', start, ())
    weighted[name] = weights[name] * nn.log_softmax(logits)
  everyone = add_present(features, weighted, weights)
  partly = {name: features[name] for name, classes in unknown if classes}
  if not partly or len(partly) == len(experts):
    return everyone
  nobody = jnp.zeros(len(everyone), bool)
  absent = {n: dataclasses.replace(x, present=nobody) for n, x in partly.items()}
  others = nn.log_softmax(add_present({**features, **absent}, weighted, weights))
  hidden = jnp.isin(jnp.arange(module.num_classes), jnp.array(dict(unknown)[next(iter(partly))]))
  left = nn.logsumexp(jnp.where(hidden, NEVER, others), axis=-1, keepdims=True)
  return jnp.where(hidden, others, left + nn.log_softmax(jnp.where(hidden, NEVER, everyone)))


def hidden_layer(
  features: dict[str, Features], units: int, rate: float, norm: bool, dtype: Any, mode: Mode
) -> jax.Array:
  """A dense ReLU layer on the concatenated pooled features; call it in a compact method.

  Returns:
    `[B, units]`.
  """
  names = sorted(features)
  pooled = {name: features[name].pooled for name in names}
  if norm:
    pooled = {n: nn.LayerNorm(dtype=dtype, name=f'norm_{n}')(x) for n, x in pooled.items()}
  pooled = {n: _or_zero(x, features[n].present) for n, x in pooled.items()}
  x = jnp.concatenate([pooled[name].astype(dtype) for name in names], -1)
  x = dropout(x, rate, mode, name='dropout_concat')
  x = nn.relu(nn.Dense(units, dtype=dtype, name='hidden')(x))
  return dropout(x, rate, mode, name='dropout_hidden')


def sinusoids(length: int, width: int) -> jax.Array:
  """Position codes of Vaswani et al. (2017), float32 `[length, width]`; width is even."""
  rates = jnp.exp(-jnp.log(10000.0) * jnp.arange(0, width, 2) / width)
  angles = jnp.arange(length)[:, None] * rates
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
