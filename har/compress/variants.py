"""The forms in which a finished stage can be evaluated and exported."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from har.compress import finetune, prune, quantise, units
from har.compress.options import Pruning, Scheme
from har.compress.quantise import FoldedModel
from har.data import loader
from har.errors import UserError
from har.evaluate import files
from har.objectives.distil import Distil
from har.train import checkpoints
from har.train import experiment as experiment_lib
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from har.train.experiment import Experiment
from har.train.stage import Stage

FLOAT, INT8, QAT = 'float32', 'int8', 'int8_qat'
PRUNED, PRUNED_INT8 = 'pruned', 'pruned_int8'
SLIM, SLIM_INT8 = 'slim', 'slim_int8'
# Variants that are trained, each with what it is quantised into afterwards, if anything.
TRAINED = {QAT: None, PRUNED: PRUNED_INT8, SLIM: SLIM_INT8}


@dataclasses.dataclass(frozen=True)
class Variant:
  """A stage's model in one form, batch norms folded.

  Attributes:
    stage: name of the stage.
    name: of the form, one of those above.
    model: takes `variables` and the inputs that `preprocess` gives.
    variables: replicated on the mesh.
    preprocess: of the stage, without masks that are always true.
    example: what `preprocess` gives for a batch of one.
    bytes: size of its parameters as they are deployed.
    float_layers: layers with parameters that a quantised form leaves in float.
    notes: how it was made, for the report.
  """

  stage: str
  name: str
  model: FoldedModel
  variables: dict[str, Any]
  preprocess: Callable[..., dict[str, jax.Array]]
  example: dict[str, jax.Array]
  bytes: int
  float_layers: tuple[str, ...]
  notes: str

  @property
  def quantised(self) -> bool:
    return self.model.scheme is not None


def available(experiment: Experiment, stage: str) -> tuple[str, ...]:
  """Names of the forms that `make` finds: float32, int8 and those that have been trained."""
  names = [FLOAT, INT8]
  for name, quantised in TRAINED.items():
    if checkpoints.finished(experiment.context.workdir, folder(stage, name)):
      names += [name] if quantised is None else [name, quantised]
  return tuple(names)


def folder(stage: str, variant: str) -> str:
  """The name under which a trained variant of a stage keeps its checkpoints."""
  return f'{stage}-{variant}'


def make(experiment: Experiment, stage: str, variant: str, scheme: Scheme | None = None) -> Variant:
  """A variant for evaluation.

  Args:
    experiment: whose stage is finished.
    stage: its name.
    variant: one of `available`.
    scheme: another one than `config.compress.int8`, for a quantised variant.

  Raises:
    UserError: the stage or the variant is not trained.
  """
  if variant not in available(experiment, stage):
    raise UserError(
      f'{experiment.context.workdir} holds no variant {variant!r} of stage {stage!r}: make it '
      'first (--mode=compress)'
    )
  scheme = scheme or Scheme.from_config(experiment.config.compress.int8)
  plain = float_stage(experiment, stage)
  if variant == QAT:
    return _trained_quantised(experiment, plain, scheme)
  base = {PRUNED_INT8: PRUNED, SLIM_INT8: SLIM}.get(variant, variant)
  one, variables, notes = _float_variables(experiment, plain, base)
  quantised = variant in (INT8, PRUNED_INT8, SLIM_INT8)
  model = FoldedModel(one.model, variables, scheme if quantised else None)
  preprocess = _without_constant_masks(one)
  example = preprocess(_first_batch(experiment, one))
  folded = model.fold(variables, example)
  if quantised:
    folded = quantise.calibrate(
      model, folded, calibration_batches(experiment, one, scheme.examples)
    )
    notes = '; '.join(filter(None, [notes, _how(scheme)]))
  return _variant(experiment, stage, variant, model, folded, preprocess, example, notes)


def float_stage(experiment: Experiment, stage: str) -> Stage:
  """The stage with a model that computes in float32, whatever it was trained in."""
  config = experiment.config.copy_and_resolve_references()
  config.dtype = 'float32'
  context = experiment.context
  return stage_lib.build(config, stage, context.dataset, context.splits.train)


def trained_stage(experiment: Experiment, stage: str, variant: str) -> tuple[Stage, dict[str, Any]]:
  """The stage that trains a variant, and where it starts.

  Args:
    experiment: whose stage is finished.
    stage: its name.
    variant: a key of `TRAINED`.

  Raises:
    UserError: the stage is not finished, or a setting in `config.compress` is wrong.
  """
  plain = float_stage(experiment, stage)
  settings = experiment.config.compress
  if variant == QAT:
    return _qat_stage(experiment, plain, settings.int8_qat)
  if len(plain.modalities) > 1:
    return _fusion_of(experiment, plain, variant)
  variables = jax.device_get(experiment_lib.load(experiment, stage)[0])
  chosen = _settings(settings[variant], plain)
  if variant == SLIM:
    return finetune.slim_stage(plain, variables, chosen)
  return finetune.pruned_stage(plain, variables, chosen)


def _fusion_of(experiment: Experiment, plain: Stage, variant: str) -> tuple[Stage, dict[str, Any]]:
  """The second stage once more, from encoders that have been pruned in the first."""
  context = experiment.context
  parts = {}
  for modality in plain.modalities:
    if modality not in experiment.stages:
      raise UserError(
        f'stage {plain.name!r} has no stage {modality!r} to take a {variant} one from'
      )
    one, _ = trained_stage(experiment, modality, variant)
    if not checkpoints.finished(context.workdir, one.name):
      raise UserError(f'{one.name} is not finished: --mode=compress trains it first')
    parts[one.name] = one
  given: Any = plain.config
  config = given.copy_and_resolve_references()
  config.init_from = ','.join(f'stage:{name}' for name in parts)
  name = folder(plain.name, variant)
  widths = sum((one.model.widths for one in parts.values()), ())
  fused = dataclasses.replace(
    plain, name=name, config=config, model=plain.model.clone(widths=widths)
  )
  everywhere = mesh_lib.replicated(context.mesh)
  variables = stage_lib.initial_variables(fused, parts, context.workdir, everywhere)
  if variant == PRUNED:
    held = Pruning(exclude=('head',))
    wrap = prune.hold(variables['params'], held, plain.trained)
    fused = dataclasses.replace(fused, wrap=wrap)
  return fused, variables


def _settings(config: Any, plain: Stage) -> dict[str, Any]:
  """Settings of a variant, with the stage's own frozen layers left frozen."""
  return {'trained': plain.trained, **config.to_dict()}


def _qat_stage(experiment: Experiment, plain: Stage, settings: Mapping[str, Any]):
  start = make(experiment, plain.name, INT8)
  if not start.model.has_ranges:
    raise UserError("config.compress.int8.ranges must be 'static' to train a quantised model")
  trained = dataclasses.replace(
    plain,
    name=folder(plain.name, QAT),
    # Labels would have it forget what dropout taught; the float model is what it is to be.
    objective=Distil(plain.objective.facts, f'stage:{plain.name}', plain.model),
    teacher=plain,
    config=fine_tuning(plain.config, settings),
    model=start.model,
    preprocess=start.preprocess,
    train_inputs=plain.inputs,
    train_preprocess=start.preprocess,
  )
  return trained, jax.device_get(start.variables)


def fine_tuning(config: Any, settings: Mapping[str, Any]) -> Any:
  """A stage's config for training it on: fewer epochs, a lower rate."""
  changed = config.copy_and_resolve_references()
  changed.epochs = config.epochs * settings['epochs']
  changed.early_stopping = 0
  changed.optimizer.learning_rate = config.optimizer.learning_rate * settings['learning_rate']
  # Folded kernels have other sizes than those that the decay was chosen for.
  changed.optimizer.weight_decay = 0.0
  return changed


def calibration_batches(
  experiment: Experiment, one: Stage, examples: int
) -> list[dict[str, np.ndarray]]:
  """Preprocessed training examples, spread evenly over the split, in batches of one size."""
  context = experiment.context
  count = min(examples, len(context.splits.train))
  size = min(count, 16)
  count -= count % size
  chosen = context.splits.train[
    np.linspace(0, len(context.splits.train) - 1, count).round().astype(int)
  ]
  batches = loader.eval_batches(
    context.dataset.records(stage_lib.fields(one.inputs)), chosen, one.inputs, batch_size=size
  )
  preprocess = jax.jit(_without_constant_masks(one))
  return [jax.device_get(preprocess(batch)) for batch in batches]


def _trained_quantised(experiment: Experiment, plain: Stage, scheme: Scheme) -> Variant:
  like = plain.variables
  model = FoldedModel(plain.model, like, scheme)
  preprocess = _without_constant_masks(plain)
  example = preprocess(_first_batch(experiment, plain))
  folded = jax.eval_shape(model.fold, like, example)
  variables, meta = checkpoints.load_final(
    experiment.context.workdir,
    folder(plain.name, QAT),
    folded,
    mesh_lib.replicated(experiment.context.mesh),
  )
  notes = f'trained on for {meta["steps"]} steps with fake quantisation; {_how(scheme)}'
  return _variant(experiment, plain.name, QAT, model, variables, preprocess, example, notes)


def _float_variables(
  experiment: Experiment, plain: Stage, base: str
) -> tuple[Stage, dict[str, Any], str]:
  """A float variant's stage and variables, not folded, and how it was made."""
  if base in (FLOAT, INT8):
    return plain, jax.device_get(experiment_lib.load(experiment, plain.name)[0]), ''
  one, start = trained_stage(experiment, plain.name, base)
  variables, meta = checkpoints.load_final(
    experiment.context.workdir, one.name, start, mesh_lib.replicated(experiment.context.mesh)
  )
  variables = jax.device_get(variables)
  return one, variables, f'{_pruned_how(plain, one, variables)}, {meta["steps"]} steps'


def _pruned_how(plain: Stage, one: Stage, variables: dict[str, Any]) -> str:
  if one.name.endswith(SLIM):
    before, after = (_multiply_adds(stage) for stage in (plain, one))
    return f'trained on with {100 * after / before:.0f}% of the floating-point operations'
  zeros, weights = (sum(c) for c in zip(*prune.zeros(variables['params']).values(), strict=True))
  size = prune.sparse_bytes(variables['params'])['compressed']
  return (
    f'trained on with {100 * zeros / weights:.0f}% of the kernel weights zero '
    f'({files.file_size(size)} without them)'
  )


def _multiply_adds(stage: Stage) -> int:
  """Of the encoders, for one example."""
  found = units.find(stage.model, stage.variables, stage.example)
  return sum(found.multiply_adds(found.kernels(m)) for m in stage.modalities)


def _variant(experiment, stage, name, model, variables, preprocess, example, notes) -> Variant:
  everywhere = mesh_lib.replicated(experiment.context.mesh)
  return Variant(
    stage=stage,
    name=name,
    model=model,
    variables=jax.device_put(variables, everywhere),
    preprocess=preprocess,
    example=example,
    bytes=quantise.count_bytes(model, variables, example),
    float_layers=tuple(quantise.float_layers(model, example)) if model.scheme else (),
    notes=notes,
  )


def _how(scheme: Scheme) -> str:
  text = (
    f'weights of {scheme.weights} bits per output channel, activations of {scheme.activations} '
  )
  if scheme.ranges == 'dynamic':
    return text + 'bits with the range of each array'
  kind = 'extremes' if scheme.calibration == 'minmax' else f'{scheme.percentile:g}% of the values'
  return f'{text}bits with ranges that cover the {kind} of {scheme.examples} training examples'


def _without_constant_masks(one: Stage) -> Callable[..., dict[str, jax.Array]]:
  """The stage's preprocessing, without masks that only say that nothing is padded."""
  keep = {*one.modalities, *(f'{name}_present' for name in one.modalities)}
  keep |= {f'{name}_mask' for name, given in one.inputs.items() if given.is_padded}

  def preprocess(batch: Mapping[str, Any], key: jax.Array | None = None) -> dict[str, jax.Array]:
    inputs = one.preprocess(batch, key=key)
    return {name: x for name, x in inputs.items() if name in keep}

  return preprocess


def _first_batch(experiment: Experiment, one: Stage) -> dict[str, np.ndarray]:
  """A batch of one example of the dataset."""
  records = experiment.context.dataset.records(stage_lib.fields(one.inputs))
  return next(iter(loader.eval_batches(records, np.array([0]), one.inputs, batch_size=1)))
