"""A stage: a model over some modalities, what of it is trained, and where it starts from."""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from har.data import inputs as inputs_lib
from har.data import loader
from har.data.dataset import Dataset
from har.data.input import Input
from har.data.protocols import class_counts
from har.errors import UserError
from har.models import registry
from har.models.mode import INFERENCE
from har.objectives import registry as objectives
from har.objectives.objective import Facts, Objective
from har.pretrained import convert
from har.pretrained import registry as published
from har.train import checkpoints
from har.train.options import stage_source

Variables = dict[str, Any]
Optimizer: TypeAlias = optax.GradientTransformationExtraArgs
Wrap = Callable[[Optimizer, int], Optimizer]

FINE_TUNED = 'fine_tuned'
"""Among a config's `trained`: the head, and of each encoder what it says a second stage trains."""

# Initialisation runs once; optimising S3D's would take longer than its first epoch.
QUICKLY_COMPILED = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


@dataclasses.dataclass(frozen=True)
class Stage:
  """What a stage's steps are made of.

  Attributes:
    name: of the stage, e.g. `imu` or `fusion`.
    config: `config.stages[name]`.
    inputs: that the model takes.
    model: maps preprocessed inputs to `har.models.types.Outputs`; called as a Linen module is.
    preprocess: `preprocess(batch, key=None)` of those inputs; augments if there is a key.
    objective: what is learnt.
    trained: path patterns of the parameters that are trained.
    seed: of the stage: the same stage of another experiment with the same seed starts alike.
    example: shapes and types of `preprocess`'s output for one example.
    train_inputs: `inputs`, and what the teacher sees besides.
    train_preprocess: of those.
    teacher: the stage that the objective learns from; None if it has none.
    wrap: `wrap(optimizer, total_steps)` gives the optimiser that is used in its place.
  """

  name: str
  config: Mapping[str, Any]
  inputs: Mapping[str, Input]
  model: Any
  preprocess: Any
  objective: Objective
  trained: tuple[str, ...]
  seed: int
  example: Mapping[str, jax.ShapeDtypeStruct]
  train_inputs: Mapping[str, Input]
  train_preprocess: Any
  teacher: 'Stage | None' = None
  wrap: Wrap | None = None

  @property
  def modalities(self) -> tuple[str, ...]:
    return tuple(self.config['modalities'])

  @functools.cached_property
  def variables(self) -> Variables:
    """Shapes and types of the model's variables."""
    return jax.eval_shape(self._initialise, jax.random.key(0))

  def random_variables(
    self, paths: Collection[tuple[str, ...]]
  ) -> dict[tuple[str, ...], jax.Array]:
    """Fresh values of the variables at these paths; nothing is compiled for the others."""

    def init(key):
      flat = flax.traverse_util.flatten_dict(self._initialise(key))
      return {path: flat[path] for path in paths}

    return jax.jit(init, compiler_options=QUICKLY_COMPILED)(jax.random.key(self.seed))

  @functools.cached_property
  def _initialise(self) -> Callable[[jax.Array], Variables]:
    return jax.jit(self._init)  # Traced once for shapes and values.

  def _init(self, key: jax.Array) -> Variables:
    inputs = {name: jnp.zeros(x.shape, x.dtype) for name, x in self.example.items()}
    variables = self.model.init(key, inputs, INFERENCE)
    return {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})}


def build(config: Mapping[str, Any], name: str, dataset: Dataset, train: np.ndarray) -> Stage:
  """Makes the stage `name` of an experiment's config.

  Args:
    config: see `configs/base.py`.
    name: of the stage.
    dataset: that it learns from.
    train: positions of the training examples.

  Raises:
    UserError: the stage, an encoder, a head, an objective or a modality's input is not configured.
  """
  stage = _section(config, 'stages', name)
  modalities = tuple(stage['modalities'])
  inputs = {m: inputs_lib.build(m, _section(config, 'inputs', m)) for m in modalities}
  teacher = _teacher(config, name, dataset, train)
  read = {**(teacher.inputs if teacher else {}), **inputs}
  preprocess, train_preprocess = (
    functools.partial(
      inputs_lib.preprocess,
      inputs=given,
      augment={m: x for m, x in stage['augment'].items() if m in given or m not in read},
      flip_safe=dataset.flip_safe,
    )
    for given in (inputs, read)
  )
  records = dataset.records(fields(inputs))
  batches = loader.eval_batches(records, np.array([0]), inputs, batch_size=1)
  example = jax.eval_shape(preprocess, next(iter(batches)))
  model = registry.build(
    modalities,
    {m: _section(config, 'encoders', m) for m in modalities},
    stage['head'],
    len(dataset.class_names),
    config['dtype'],
    stage['modality_dropout'],
    {m: example[m].shape[1:] for m in modalities},
    {m: tuple(np.flatnonzero(dataset.unknown((x.field,))).tolist()) for m, x in inputs.items()},
  )
  facts = _facts(dataset, inputs, train)
  objective = objectives.build(stage['objective'], facts, teacher and teacher.model)
  seed = zlib.crc32(f'{config["seed"]}/{name}'.encode())
  return Stage(
    name=name,
    config=stage,
    inputs=inputs,
    model=model,
    preprocess=preprocess,
    objective=objective,
    trained=_trained(stage['trained'], model),
    seed=seed,
    example=example,
    train_inputs=read,
    train_preprocess=train_preprocess,
    teacher=teacher,
  )


def _facts(dataset: Dataset, inputs: Mapping[str, Input], train: np.ndarray) -> Facts:
  """What the objective may know of the training examples."""
  counts = class_counts(dataset.index.label[train], len(dataset.class_names))
  unknown = dataset.unknown(fields(inputs))
  return Facts(
    class_names=tuple(dataset.class_names),
    abnormal=tuple(dataset.metadata.get('abnormal', ())),
    counts=np.where(unknown, 0, counts),
    unknown=unknown if unknown.any() else None,
  )


def _teacher(
  config: Mapping[str, Any], name: str, dataset: Dataset, train: np.ndarray
) -> Stage | None:
  """The stage that an objective names."""
  source = stage_source(config['stages'][name]['objective'].get('teacher', ''))
  if source is None:
    return None
  order = list(config['order'])
  if source not in order[: order.index(name)]:
    raise UserError(f'stages.{name}.objective.teacher names {source!r}, which is no earlier stage')
  return build(config, source, dataset, train)


def _trained(patterns: Collection[str], model: Any) -> tuple[str, ...]:
  """Path patterns, with those that `fine_tuned` stands for in its place."""
  found: list[str] = []
  for pattern in patterns:
    if pattern != FINE_TUNED:
      found.append(pattern)
      continue
    found.append('head')
    for name, encoder in model.encoders.items():
      parts = getattr(encoder, 'fine_tuned', ())
      found += [f'{name}/{part}' for part in parts] or [name]
  return tuple(found)


def fields(inputs: Mapping[str, Input]) -> tuple[str, ...]:
  """The fields of records that inputs read."""
  return tuple(dict.fromkeys(one.field for one in inputs.values()))


def initial_variables(
  stage: Stage,
  stages: Mapping[str, Stage],
  workdir: pathlib.Path,
  sharding: jax.sharding.Sharding,
) -> Variables:
  """Parameters and batch statistics at the stage's first step.

  Each source named in `init_from` gives its values: a comma-separated list of `random`,
  `stage:NAME` (every encoder and classifier of that finished stage which this stage has too),
  names and files of published weights (see `har.pretrained.registry`). What no source gives is
  random.

  Args:
    stage: the stage.
    stages: the experiment's stages by name.
    workdir: where earlier stages' checkpoints are.
    sharding: for what is read from checkpoints.

  Returns:
    Variables on the host.

  Raises:
    UserError: an unknown source, or one that does not fit.
  """
  variables = stage.variables
  for source in stage.config['init_from'].split(','):
    source = source.strip()
    if source == 'random':
      continue
    if (other := stage_source(source)) is not None:
      if other not in stages:
        raise UserError(f'stages.{stage.name}.init_from names {other!r}, which is no stage')
      found, _ = checkpoints.load_final(workdir, other, stages[other].variables, sharding)
      variables = copy_equal_paths(variables, found, stages[other].modalities, stage.name)
    else:
      variables = _from_published(variables, stage, source)
  flat = flax.traverse_util.flatten_dict(variables)
  missing = [path for path, leaf in flat.items() if isinstance(leaf, jax.ShapeDtypeStruct)]
  whole = flax.traverse_util.unflatten_dict(flat | stage.random_variables(missing))
  return jax.device_get({'batch_stats': {}} | whole)


def copy_equal_paths(
  variables: Variables, source: Variables, modalities: tuple[str, ...], where: str
) -> Variables:
  """Takes over each leaf of `source` that stands at the same path here.

  Raises:
    UserError: an encoder parameter of one of the source's `modalities` is missing here or has
      another shape.
  """
  flatten = flax.traverse_util.flatten_dict
  out = dict(flatten(variables))
  for path, leaf in flatten(source).items():
    if path in out and out[path].shape == leaf.shape:
      out[path] = leaf
    elif path[1] in modalities:
      raise UserError(
        f'stages.{where}.init_from: {"/".join(path)} does not fit; the encoders of both stages '
        'must be configured alike'
      )
  return flax.traverse_util.unflatten_dict(out)


def _from_published(variables: Variables, stage: Stage, source: str) -> Variables:
  where = f'stages.{stage.name}.init_from'
  name, found = published.load(source, stage.model.encoders, where)
  given = stage.inputs[name]
  expected = {'mean': found.mean, 'std': found.std}
  same = all(np.allclose(given.options[k], value, atol=1e-3) for k, value in expected.items())
  if given.is_colour and not same:
    settings = ', '.join(f'config.inputs.{name}.{k}={value}' for k, value in expected.items())
    raise UserError(
      f'{where}={source}: {found.naming} trained these weights on another normalisation; set '
      f'{settings}'
    )
  params = convert.for_channels(found.params, variables['params'][name])
  encoder = {'params': {name: params}, 'batch_stats': {name: found.batch_stats}}
  return copy_equal_paths(variables, encoder, (name,), stage.name)


def _section(config: Mapping[str, Any], group: str, name: str) -> Mapping[str, Any]:
  if name not in config[group]:
    known = ', '.join(sorted(config[group].keys()))
    raise UserError(f'config.{group}.{name} is missing; there are: {known}')
  return config[group][name]
