"""Trained stages that are trained on after pruning, as stages of their own.

`har.train.loop.train_stage` trains, saves and continues them like any other.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from har.compress import channels, prune
from har.compress.channels import Slimming
from har.compress.prune import Pruning
from har.errors import UserError
from har.train.stage import Stage

Variables = dict[str, Any]

# Of `settings`, beside the fields of `Pruning` or `Slimming`.
_TRAINING = {'epochs': 1.0, 'learning_rate': 1.0, 'trained': ('*',), 'changes': {}}


def pruned_stage(
  stage: Stage, variables: Variables, settings: Mapping[str, Any]
) -> tuple[Stage, Variables]:
  """`{stage.name}-pruned`, which zeroes weights as it trains, and the variables it starts from.

  Args:
    stage: finished.
    variables: its result; the same at each run of the stage.
    settings: fields of `har.compress.prune.Pruning`; `epochs` and `learning_rate` as factors on
      the stage's own; `trained`, its path patterns of trained parameters; `changes`, other values
      of the stage's config, where a dict changes only the keys it has.

  Raises:
    UserError: a setting is unknown, or there is nothing to prune.
  """
  pruning = Pruning(**_fields(Pruning, settings, 'pruning'))
  name = f'{stage.name}-pruned'
  # The best step on validation would be an early one, not yet pruned.
  config = _training(stage, settings, keep='last', early_stopping=0)
  params, wrap = prune.gradually(variables['params'], pruning, config.trained)
  pruned = dataclasses.replace(stage, name=name, config=config, seed=_seed(stage, name), wrap=wrap)
  return pruned, {**variables, 'params': params}


def slim_stage(
  stage: Stage, variables: Variables, settings: Mapping[str, Any]
) -> tuple[Stage, Variables]:
  """`{stage.name}-slim`, whose encoders have fewer channels, and the variables that it starts from.

  Args:
    stage: finished.
    variables: its result; the same at each run of the stage.
    settings: as for `pruned_stage`, with the fields of `har.compress.channels.Slimming`.

  Raises:
    UserError: a setting is unknown, or as `har.compress.channels.shrink`.
  """
  slimming = Slimming(**_fields(Slimming, settings, 'slimming'))
  model, out = channels.shrink(stage.model, jax.device_get(variables), stage.example, slimming)
  name, config = f'{stage.name}-slim', _training(stage, settings)
  slim = dataclasses.replace(
    stage,
    name=name,
    config=config,
    trained=config.trained,
    model=model,
    seed=_seed(stage, name),
  )
  return slim, out


def _fields(kind: type, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
  names = [field.name for field in dataclasses.fields(kind)]
  unknown = sorted(set(settings) - set(names) - set(_TRAINING))
  if unknown:
    raise UserError(
      f'{where}.{unknown[0]} is no setting: use {", ".join(sorted([*names, *_TRAINING]))}'
    )
  return {n: _tuple(settings[n]) for n in names if n in settings}


def _tuple(value: Any) -> Any:
  return tuple(value) if isinstance(value, list) else value


def _training(stage: Stage, settings: Mapping[str, Any], **fixed: Any) -> ConfigDict:
  given = {**_TRAINING, **settings}
  config = ConfigDict(dict(stage.config)).copy_and_resolve_references()
  config.epochs = config.epochs * given['epochs']
  config.optimizer.learning_rate = config.optimizer.learning_rate * given['learning_rate']
  config.trained = _tuple(given['trained'])
  config.init_from = f'stage:{stage.name}'
  for key, value in {**given['changes'], **fixed}.items():
    if key not in config:
      raise UserError(f'changes.{key} is no value of stages.{stage.name}')
    if isinstance(config[key], ConfigDict):
      config[key].update(value)
    else:
      config[key] = value
  return config


def _seed(stage: Stage, name: str) -> int:
  return zlib.crc32(f'{stage.seed}/{name}'.encode())
