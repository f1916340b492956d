"""The one model class: encoders by modality, and a head."""

import flax.linen as nn
import jax

from har.models.mode import INFERENCE, Mode


class Recogniser(nn.Module):
  """Maps a batch of any set of modalities to logits.

  Attributes:
    encoders: by modality, after which the parameters of each are named.
    head: maps a dict of `Features` to logits; its parameters are named `head`.
  """

  encoders: dict[str, nn.Module]
  head: nn.Module

  @nn.compact
  def __call__(self, inputs: dict[str, jax.Array], mode: Mode = INFERENCE) -> jax.Array:
    """Classifies a batch.

    Args:
      inputs: preprocessed arrays by modality, `[B, T, ...]`, and optionally `<modality>_mask`,
        bool `[B, T]`, false for padding in time. Other entries are ignored.
      mode: what runs in training mode.

    Returns:
      Logits, float32 `[B, num_classes]`.
    """
    features = {}
    for name in sorted(self.encoders):
      # An attribute's module would be named `encoders_<name>`: take a copy with the plain name.
      encoder = self.encoders[name].copy(name=name)
      features[name] = encoder(inputs[name], inputs.get(f'{name}_mask'), mode)
    return self.head(features, mode)
