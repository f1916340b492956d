"""A variant as exporters take it: a function of arrays by name."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from har.compress import streaming, variants
from har.compress.finished import FinishedStage
from har.compress.graph import STATE
from har.compress.quantise import FoldedModel
from har.export.rewrite import Call

LOGITS = 'logits'

Arrays = dict[str, np.ndarray]
Runner = Callable[[Arrays], Arrays]


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
    state: of one step of a stream, the inputs that are its state, all zero at the start, each with
      the output that is it in the next step; empty if whole clips are taken.
    step: of a causal model, the same as one step of a stream.
  """

  stage: str
  variant: str
  call: Call
  marked: Call
  inputs: dict[str, jax.ShapeDtypeStruct]
  state: Mapping[str, str] = dataclasses.field(default_factory=dict)
  step: 'Exportable | None' = None

  @property
  def stem(self) -> str:
    """Of the files' names."""
    return f'{self.variant}.step' if self.state else self.variant

  @functools.cached_property
  def outputs(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types, for a batch of one."""
    return jax.eval_shape(self.call, self.inputs)

  def over_clips(self, run: Runner) -> Runner:
    """What takes whole clips `[B, ...]` by the name of each input, from what runs this form.

    A step runs on one sample after the other, and gives what it gave at each clip's last real one.
    """
    if self.state:
      return functools.partial(self._stream, run)
    return lambda clips: run({name: clips[name] for name in self.inputs})

  def _stream(self, run: Runner, clips: Arrays) -> Arrays:
    (name,) = self.inputs.keys() - self.state.keys()
    x, last = clips[name], Arrays()
    lengths = clips.get(f'{name}_mask', np.ones(x.shape[:2])).sum(1)
    specs = {n: self.inputs[n] for n in self.state}
    state = {n: np.zeros((len(x), *spec.shape[1:]), spec.dtype) for n, spec in specs.items()}
    for t in range(int(lengths.max())):
      outs = run({name: x[:, t], **state})
      state = {n: outs.pop(output) for n, output in self.state.items()}
      real = t < lengths
      last = {
        n: np.where(real.reshape(-1, *(1,) * (np.ndim(y) - 1)), y, last.get(n, y))
        for n, y in outs.items()
      }
    return last


def load(of: FinishedStage, variant: str) -> Exportable:
  """A variant of a stage for export.

  Raises:
    UserError: the stage or the variant is not trained.
  """
  built = variants.make(of, variant)
  variables = jax.device_get(built.variables)
  whole = _of(built, built.model, variables, built.example)
  if streaming.refusal(built.model.model):
    return whole
  step = streaming.step_form(built.model, variables, built.example)
  return dataclasses.replace(whole, step=_of(built, *step))


def _of(
  built: variants.Variant, model: FoldedModel, variables: Any, example: Mapping[str, Any]
) -> Exportable:
  """A model of a variant, whole or one step, for inputs of these shapes."""
  variables = jax.tree.map(np.asarray, variables)
  masks = [name for name, x in example.items() if x.dtype == bool]
  plain = _plain(model)
  # ONNX has one space of names for inputs and outputs.
  state = {name: f'next_{name}' for name in example if name.startswith(STATE)}

  def renamed(outputs: Any) -> dict[str, jax.Array]:
    named = outputs if state else outputs.named()
    return {state.get(name, name): x for name, x in named.items()}

  def call(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return renamed(model.apply(variables, _with_bools(inputs, masks)))

  def marked(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return renamed(plain.apply(variables, _with_bools(inputs, masks), mark=True))

  inputs = {name: without_bools(x) for name, x in example.items()}
  shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in inputs.items()}
  return Exportable(built.stage, built.name, call, marked, shapes, state)


def without_bools(x: Any) -> Any:
  """Masks as numbers, because some runtimes have no inputs of truth values."""
  return x.astype(np.float32) if x.dtype == bool else x


def _with_bools(inputs: Mapping[str, jax.Array], masks: Sequence[str]) -> dict[str, jax.Array]:
  return {name: x > 0.5 if name in masks else x for name, x in inputs.items()}


def _plain(model: FoldedModel) -> FoldedModel:
  """The model with 3-D convolutions and pools not broken up for XLA."""
  if isinstance(model.model, streaming.StepModel):
    return model
  encoders = {
    name: encoder.clone(conv='plain') if hasattr(encoder, 'conv') else encoder
    for name, encoder in model.model.encoders.items()
  }
  return model.around(model.model.clone(encoders=encoders))
