"""A variant as exporters take it: a function of arrays by name."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from har.compress import variants
from har.compress.quantise import FoldedModel
from har.export.rewrite import Call
from har.train.experiment import Experiment

LOGITS = 'logits'


@dataclasses.dataclass(frozen=True)
class Exportable:
  """What an exporter takes.

  Attributes:
    stage: name of the stage.
    variant: name of the form.
    call: maps preprocessed inputs to outputs, both by name, with the parameters closed over:
      logits are `[B, C]`, masks float32, 1 for true and 0 for false.
    marked: the same numbers in LiteRT's and ONNX's terms: quantised values pass through
      `har.compress.fake_quant.MARK` composites, and 3-D convolutions are single operations.
    inputs: shapes and types of a batch of one.
  """

  stage: str
  variant: str
  call: Call
  marked: Call
  inputs: dict[str, jax.ShapeDtypeStruct]


def load(experiment: Experiment, stage: str, variant: str) -> Exportable:
  """A variant for export.

  Raises:
    UserError: the stage or the variant is not trained.
  """
  built = variants.make(experiment, stage, variant)
  variables = jax.tree.map(np.asarray, jax.device_get(built.variables))
  one = variants.float_stage(experiment, stage)
  example = built.preprocess(variants.first_batch(experiment, one))
  masks = [name for name, x in example.items() if x.dtype == bool]
  plain = _plain(built.model)

  def call(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return built.model.apply(variables, _with_bools(inputs, masks)).named()

  def marked(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    outputs = plain.apply(variables, _with_bools(inputs, masks), mark=True)
    return outputs.named()

  inputs = {name: without_bools(x) for name, x in example.items()}
  shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in inputs.items()}
  return Exportable(stage, variant, call, marked, shapes)


def without_bools(x: Any) -> Any:
  """Masks as numbers, because some runtimes have no inputs of truth values."""
  return x.astype(np.float32) if x.dtype == bool else x


def _with_bools(inputs: Mapping[str, jax.Array], masks: Sequence[str]) -> dict[str, jax.Array]:
  return {name: x > 0.5 if name in masks else x for name, x in inputs.items()}


def _plain(model: FoldedModel) -> FoldedModel:
  """The model with 3-D convolutions and pools not broken up for XLA."""
  encoders = {
    name: encoder.clone(conv='plain') if hasattr(encoder, 'conv') else encoder
    for name, encoder in model.model.encoders.items()
  }
  return model.around(model.model.clone(encoders=encoders))
