"""Encoders and heads by the names that configs use."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from har import options
from har.errors import UserError
from har.models import (
  between,
  c3d,
  changes,
  decoders,
  efficientnet,
  fusion,
  hamlet,
  i3d,
  imu,
  mobilenet,
  mumu,
  projections,
  s3d,
  sequence,
  skeleton,
)
from har.models.recogniser import Recogniser

ENCODERS: dict[str, type[nn.Module]] = {
  'c3d': c3d.C3D,
  'cnn1d': imu.Conv1dNet,
  'cnn1d_bn': imu.Conv1dNetBN,
  'cnn_gru': sequence.CnnGRU,
  'efficientnet_lite': efficientnet.EfficientNetLite,
  'gru': sequence.GRU,
  'i3d': i3d.I3D,
  'lstm': sequence.LSTM,
  'mobilenet_v2': mobilenet.MobileNetV2,
  's3d': s3d.S3D,
  'samples': sequence.Pool,
  'skeleton_cnn': skeleton.SkeletonCNN,
  'tcn': sequence.TCN,
}

HEADS: dict[str, type[nn.Module]] = {
  'linear': fusion.Linear,
  'mlp': fusion.ConcatMLP,
  'concat_mlp': fusion.ConcatMLP,
  'decision': fusion.Decision,
  'residual': fusion.Residual,
  'attention': fusion.Attention,
  'hamlet': hamlet.Hamlet,
  'mumu': mumu.MuMu,
  'projections': projections.Projections,
  'decoder': decoders.ConvDecoder,
  'lstm_decoder': decoders.RecurrentDecoder,
  'between': between.Between,
  'forecaster': between.Forecaster,
  'changes': changes.ChangesAutoencoder,
}

# Attributes that are not for configs to set.
GIVEN = ('parent', 'name', 'num_classes', 'shapes', 'unknown', 'dtype', 'inputs')

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(
  modalities: Iterable[str],
  encoders_config: Mapping[str, Mapping[str, Any]],
  head_config: Mapping[str, Any],
  num_classes: int,
  dtype: str = 'float32',
  modality_dropout: float = 0.0,
  shapes: Mapping[str, tuple[int, ...]] | None = None,
  unknown: Mapping[str, tuple[int, ...]] | None = None,
) -> Recogniser:
  """Builds the model of a stage.

  Args:
    modalities: names of the modalities that the stage uses.
    encoders_config: by modality, the `kind` of its encoder (see `ENCODERS`) and its options, which
      are the attributes of that class.
    head_config: the `kind` of the head (see `HEADS`) and its options.
    num_classes: number of logits.
    dtype: 'float32' or 'bfloat16', of the computation; parameters are float32.
    modality_dropout: in [0, 1), see `Recogniser`.
    shapes: of one example of each modality as it enters the model, for heads that reconstruct it.
    unknown: labels of classes that a modality never shows in training, the same of all that have
      some, for products of experts.

  Returns:
    A `Recogniser` whose parameters are grouped by modality and `head`.

  Raises:
    UserError: a modality has no encoder, or as `har.options.build`.
  """
  encoders = {}
  for name in sorted(set(modalities)):
    if name not in encoders_config:
      known = ', '.join(sorted(encoders_config)) or 'none'
      raise UserError(f'modality {name!r} has no encoder in the config, which has {known}')
    given = {'dtype': DTYPES[dtype], 'name': name}
    where = f'config.encoders.{name}'
    encoders[name] = options.build(ENCODERS, encoders_config[name], where, given, GIVEN)
  if not encoders:
    raise UserError('a model needs at least one modality')
  given = {
    'num_classes': num_classes,
    'shapes': tuple(sorted((shapes or {}).items())),
    'unknown': tuple(sorted((unknown or {}).items())),
    'dtype': DTYPES[dtype],
    'name': 'head',
  }
  head = options.build(HEADS, head_config, 'head', given, GIVEN)
  return Recogniser(encoders, head, modality_dropout)
