"""The one model class: encoders by input, and a head."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from har.models.mode import INFERENCE, Mode
from har.models.types import Features, Outputs
from har.models.widths import narrowed


class Recogniser(nn.Module):
  """Maps a batch of any set of inputs to what its head gives.

  Attributes:
    encoders: by input, after which the parameters of each are named.
    head: maps a dict of `Features` to `Outputs`; its parameters are named `head`.
    modality_dropout: rate at which the head, where it trains, takes a modality of an example for
      absent (see `drop_modalities`). The encoders see every example as it is.
    widths: features of layers that have others than their encoder says, by path; see
      `har.models.widths`.
  """

  encoders: dict[str, nn.Module]
  head: nn.Module
  modality_dropout: float = 0.0
  widths: tuple[tuple[str, int], ...] = ()

  def __call__(self, inputs: dict[str, jax.Array], mode: Mode = INFERENCE) -> Outputs:
    """Encodes a batch and applies the head.

    Args:
      inputs: as for `encode`.
      mode: what runs in training mode.

    Returns:
      What the head gives, and the features that it was given.
    """
    features = self.encode(inputs, mode)
    if self.modality_dropout and mode.active((*self.path, 'head')):
      features = drop_modalities(self.make_rng('dropout'), features, self.modality_dropout)
    return self.head(features, mode).replace(features=features)

  @nn.compact
  def encode(self, inputs: dict[str, jax.Array], mode: Mode = INFERENCE) -> dict[str, Features]:
    """Features by input; alone, `model.apply(variables, inputs, method='encode')`.

    Args:
      inputs: preprocessed arrays by name, `[B, T, ...]`, and optionally `<name>_mask`, bool
        `[B, T]`, false for padding in time, and `<name>_present`, bool `[B]`, false where an
        example lacks the input: whatever stands there then has no influence on what the head gives.
        Other entries are ignored.
      mode: what runs in training mode.
    """
    features = {}
    for name in sorted(self.encoders):
      # An attribute's module would be named `encoders_<name>`: take a copy with the plain name.
      encoder = self.encoders[name].copy(name=name)
      mask, present = inputs.get(f'{name}_mask'), inputs.get(f'{name}_present')
      if mode.train and mask is not None and present is not None:
        mask &= present[:, None]  # What is absent stays out of batch statistics.
      with narrowed(self.widths):
        features[name] = encoder(inputs[name], mask, mode)
      if present is not None:
        features[name] = dataclasses.replace(features[name], present=present)
    return features


def drop_modalities(
  key: jax.Array, features: dict[str, Features], rate: float
) -> dict[str, Features]:
  """Calls each modality of each example absent with probability `rate`, but never its last one.

  Where chance would take all that an example has, a random one of them stays.
  """
  names = sorted(features)
  everywhere = jnp.ones(len(features[names[0]].pooled), bool)
  there = [features[name].present for name in names]
  present = jnp.stack([everywhere if p is None else p for p in there], -1)
  draw = jax.random.uniform(key, present.shape)
  last = jnp.where(present, draw, -1).argmax(-1, keepdims=True)
  kept = present & ((draw >= rate) | (jnp.arange(len(names)) == last))
  return {
    name: dataclasses.replace(features[name], present=kept[:, i]) for i, name in enumerate(names)
  }
