"""Encoders and heads by the names that configs use."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from har.errors import UserError
from har.models import decoders, efficientnet, fusion, imu, mobilenet, s3d, sequence, skeleton
from har.models.recogniser import Recogniser

ENCODERS: dict[str, type[nn.Module]] = {
  'cnn1d': imu.Conv1dNet,
  'cnn1d_bn': imu.Conv1dNetBN,
  'cnn_gru': sequence.CnnGRU,
  'efficientnet_lite': efficientnet.EfficientNetLite,
  'gru': sequence.GRU,
  'lstm': sequence.LSTM,
  'mobilenet_v2': mobilenet.MobileNetV2,
  's3d': s3d.S3D,
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
  'decoder': decoders.ConvDecoder,
}

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(
  modalities: Iterable[str],
  encoders_config: Mapping[str, Mapping[str, Any]],
  head_config: Mapping[str, Any],
  num_classes: int,
  dtype: str = 'float32',
  modality_dropout: float = 0.0,
  shapes: Mapping[str, tuple[int, ...]] | None = None,
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

  Returns:
    A `Recogniser` whose parameters are grouped by modality and `head`.

  Raises:
    UserError: a modality has no encoder, a kind, option or dtype is unknown, or the rate is out of
      range.
  """
  if dtype not in DTYPES:
    raise UserError(f'unknown dtype {dtype!r}: use one of {", ".join(DTYPES)}')
  if not 0 <= modality_dropout < 1:
    raise UserError(f'modality_dropout={modality_dropout} must be at least 0 and below 1')
  encoders = {}
  for name in sorted(set(modalities)):
    if name not in encoders_config:
      known = ', '.join(sorted(encoders_config)) or 'none'
      raise UserError(f'modality {name!r} has no encoder in the config, which has {known}')
    encoders[name] = make(
      ENCODERS, f'encoders.{name}', encoders_config[name], dtype=DTYPES[dtype], name=name
    )
  if not encoders:
    raise UserError('a model needs at least one modality')
  head = make(
    HEADS,
    'head',
    head_config,
    num_classes=num_classes,
    shapes=tuple(sorted((shapes or {}).items())),
    dtype=DTYPES[dtype],
    name='head',
  )
  return Recogniser(encoders, head, modality_dropout)


def make(
  kinds: Mapping[str, type[Any]], where: str, config: Mapping[str, Any], **given: Any
) -> Any:
  """An object of the class that a config names by its `kind`.

  Args:
    kinds: dataclasses by name.
    where: the config's section, for messages.
    config: `kind`, and the class's attributes.
    **given: attributes that are not for the config to set; a class takes those that it has.

  Raises:
    UserError: an unknown kind or option, or one that is missing.
  """
  options = {key: _frozen(value) for key, value in dict(config).items()}
  kind = options.pop('kind', None)
  if kind not in kinds:
    raise UserError(f'unknown {where}.kind {kind!r}: use one of {", ".join(kinds)}')
  fields = {field.name: field for field in dataclasses.fields(kinds[kind])}
  known = sorted(set(fields) - {'parent', 'name'} - set(given))
  if unknown := sorted(set(options) - set(known)):
    raise UserError(
      f'{where}.{unknown[0]} is no option of kind {kind!r}: use one of {", ".join(known)}'
    )
  none = dataclasses.MISSING
  for name in known:
    if name not in options and fields[name].default is fields[name].default_factory is none:
      raise UserError(f'{where}.{name} is missing: kind {kind!r} needs it')
  return kinds[kind](**options, **{name: x for name, x in given.items() if name in fields})


def _frozen(value: Any) -> Any:
  return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
