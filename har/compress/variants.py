"""The forms in which a finished stage can be evaluated and exported."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from har.compress import finetune, prune, quantise, units
from har.compress.finished import FinishedStage
from har.compress.options import Pruning, Scheme
from har.compress.quantise import FoldedModel
from har.errors import UserError
from har.evaluate import files
from har.objectives.distil import Distil
from har.train import checkpoints
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from har.train.stage import Stage

FLOAT, INT8, QAT = 'float32', 'int8', 'int8_qat'
PRUNED, PRUNED_INT8 = 'pruned', 'pruned_int8'
SLIM, SLIM_INT8, SLIM_QAT = 'slim', 'slim_int8', 'slim_int8_qat'
# Variants that are trained, each with what it is quantised into afterwards, if anything; a variant
# comes after what it starts from.
TRAINED = {QAT: None, PRUNED: PRUNED_INT8, SLIM: SLIM_INT8, SLIM_QAT: None}
_STARTS = {QAT: INT8, SLIM_QAT: SLIM_INT8}
"""Variants that are trained with fake quantisation, each with what it starts from."""


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


def needed(variant: str) -> tuple[str, ...]:
  """Sections of `config.compress` that a trained variant is made by."""
  return {QAT: ('int8', QAT), SLIM_QAT: ('int8', QAT, SLIM)}.get(variant, (variant,))


def available(of: FinishedStage) -> tuple[str, ...]:
  """Names of the forms that `make` finds: float32, int8 and those that have been trained."""
  names = [FLOAT, INT8]
  for name, quantised in TRAINED.items():
    if checkpoints.finished(of.experiment.context.workdir, folder(of.name, name)):
      names += [name] if quantised is None else [name, quantised]
  return tuple(names)


def folder(stage: str, variant: str) -> str:
  """The name under which a trained variant of a stage keeps its checkpoints."""
  return f'{stage}-{variant}'


def make(of: FinishedStage, variant: str, scheme: Scheme | None = None) -> Variant:
  """A variant for evaluation, the same each time that it is asked for.

  Args:
    of: the stage.
    variant: one of `available`.
    scheme: another one than `config.compress.int8`, for a quantised variant.

  Raises:
    UserError: the stage or the variant is not trained.
  """
  if variant not in available(of):
    raise UserError(
      f'{of.experiment.context.workdir} holds no variant {variant!r} of stage {of.name!r}: make it '
      'first (--mode=compress)'
    )
  scheme = scheme or Scheme.from_config(of.experiment.config.compress.int8)
  find = _trained_quantised if variant in _STARTS else _folded
  return of.once((variant, scheme), lambda: find(of, variant, scheme))


def _folded(
  of: FinishedStage, variant: str, scheme: Scheme, trained: Sequence[str] = ()
) -> Variant:
  base = {INT8: FLOAT, PRUNED_INT8: PRUNED, SLIM_INT8: SLIM}.get(variant, variant)
  one, variables, notes = of.once(('float', base), lambda: _float_variables(of, base))
  quantised = variant != base
  model = FoldedModel(one.model, variables, scheme if quantised else None)
  folded = model.fold(variables, of.example)
  if quantised:
    folded = quantise.calibrate(model, folded, of.calibration(scheme.examples), trained)
    notes = '; '.join(filter(None, [notes, _how(scheme)]))
  return _variant(of, variant, model, folded, notes)


def trained_stage(of: FinishedStage, variant: str) -> tuple[Stage, dict[str, Any]]:
  """The stage that trains a variant, and where it starts.

  Args:
    of: the stage.
    variant: a key of `TRAINED`.

  Raises:
    UserError: the stage is not finished, or a setting in `config.compress` is wrong.
  """
  return of.once(('start', variant), lambda: _trained_stage(of, variant))


def _trained_stage(of: FinishedStage, variant: str) -> tuple[Stage, dict[str, Any]]:
  plain = of.stage
  if variant in _STARTS:
    return _qat_stage(of, variant)
  settings = of.experiment.config.compress[variant]
  if len(plain.modalities) > 1:
    return _fusion_of(of, variant)
  change = finetune.slim_stage if variant == SLIM else finetune.pruned_stage
  return change(plain, of.variables, _settings(settings, plain))


def _fusion_of(of: FinishedStage, variant: str) -> tuple[Stage, dict[str, Any]]:
  """The second stage once more, from encoders that have been pruned in the first."""
  context, plain, parts = of.experiment.context, of.stage, {}
  for modality in plain.modalities:
    if modality not in of.others:
      raise UserError(
        f'stage {plain.name!r} has no stage {modality!r} to take a {variant} one from'
      )
    one, _ = trained_stage(of.others[modality], variant)
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


def _teaching(of: FinishedStage, variant: str) -> Stage:
  """The float stage that a variant with fake quantisation is made of, and learns from."""
  return trained_stage(of, SLIM)[0] if variant == SLIM_QAT else of.stage


def _qat_stage(of: FinishedStage, variant: str) -> tuple[Stage, dict[str, Any]]:
  scheme = Scheme.from_config(of.experiment.config.compress.int8)
  teacher, plain = _teaching(of, variant), of.stage
  if scheme.equalise:
    start = _folded(of, _STARTS[variant], scheme, teacher.trained)
  else:
    start = make(of, _STARTS[variant])
  if not start.model.has_ranges:
    raise UserError("config.compress.int8.ranges must be 'static' to train a quantised model")
  config = fine_tuning(plain.config, of.experiment.config.compress[QAT])
  config.cached_views = teacher.config['cached_views']
  trained = dataclasses.replace(
    teacher,
    name=folder(of.name, variant),
    config=config,
    model=start.model,
    preprocess=of.preprocess,
    train_inputs=plain.inputs,
    train_preprocess=of.preprocess,
    example={n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in of.example.items()},
  )
  if not config.cached_views:
    # Labels would have it forget what dropout taught; the float model is what it is to be. Of what
    # is kept of a frozen front the float model could not give its opinion.
    source = f'stage:{teacher.name}'
    objective = Distil(plain.objective.facts, source, teacher.model)
    trained = dataclasses.replace(trained, objective=objective, teacher=teacher)
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


def _trained_quantised(of: FinishedStage, variant: str, scheme: Scheme) -> Variant:
  one = _teaching(of, variant)
  model = FoldedModel(one.model, one.variables, scheme)
  context = of.experiment.context
  variables, meta = checkpoints.load_final(
    context.workdir,
    folder(of.name, variant),
    jax.eval_shape(model.fold, one.variables, of.example),
    mesh_lib.replicated(context.mesh),
  )
  slim = f'{_slim_how(of.stage, one)}; ' if variant == SLIM_QAT else ''
  notes = f'{slim}trained on for {meta["steps"]} steps with fake quantisation; {_how(scheme)}'
  return _variant(of, variant, model, variables, notes)


def _float_variables(of: FinishedStage, base: str) -> tuple[Stage, dict[str, Any], str]:
  """A float variant's stage and variables, not folded, and how it was made."""
  if base == FLOAT:
    return of.stage, of.variables, ''
  context = of.experiment.context
  one, start = trained_stage(of, base)
  variables, meta = checkpoints.load_final(
    context.workdir, one.name, start, mesh_lib.replicated(context.mesh)
  )
  variables = jax.device_get(variables)
  return one, variables, f'{_pruned_how(of.stage, one, variables)}, {meta["steps"]} steps'


def _pruned_how(plain: Stage, one: Stage, variables: dict[str, Any]) -> str:
  if one.name.endswith(SLIM):
    return _slim_how(plain, one)
  zeros, weights = (sum(c) for c in zip(*prune.zeros(variables['params']).values(), strict=True))
  size = prune.sparse_bytes(variables['params'])['compressed']
  return (
    f'trained on with {100 * zeros / weights:.0f}% of the kernel weights zero '
    f'({files.file_size(size)} without them)'
  )


def _slim_how(plain: Stage, one: Stage) -> str:
  before, after = (_multiply_adds(stage) for stage in (plain, one))
  return f'trained on with {100 * after / before:.0f}% of the floating-point operations'


def _multiply_adds(stage: Stage) -> int:
  """Of the encoders, for one example."""
  found = units.find(stage.model, stage.variables, stage.example)
  return sum(found.multiply_adds(found.kernels(m)) for m in stage.modalities)


def _variant(
  of: FinishedStage, name: str, model: FoldedModel, variables: Any, notes: str
) -> Variant:
  everywhere = mesh_lib.replicated(of.experiment.context.mesh)
  return Variant(
    stage=of.name,
    name=name,
    model=model,
    variables=jax.device_put(variables, everywhere),
    preprocess=of.preprocess,
    example=of.example,
    bytes=quantise.count_bytes(model, variables, of.example),
    float_layers=tuple(quantise.float_layers(model, of.example)) if model.scheme else (),
    notes=notes,
  )


def _how(scheme: Scheme) -> str:
  text = (
    f'weights of {scheme.weights} bits per output channel, activations of {scheme.activations} '
  )
  if scheme.ranges == 'dynamic':
    return text + 'bits with the range of each array'
  share = 'all' if scheme.calibration == 'minmax' else f'{scheme.percentile:g}%'
  text += f'bits with ranges that cover {share} of {scheme.examples} training examples'
  return text + '; channels brought to like sizes, biases corrected' * scheme.equalise
