"""Trained stages that are trained on after pruning, as stages of their own.

`har.train.loop.train_stage` trains, saves and continues them like any other.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from har.compress import channels, options, prune
from har.compress.options import Pruning, Slimming
from har.errors import UserError
from har.options import defaults
from har.train.stage import Stage

Variables = dict[str, Any]


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
  pruning = Pruning(**options.own(options.PRUNED, settings, 'pruned'))
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
  slimming = Slimming(**options.own(options.SLIM, settings, 'slim'))
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


def _training(stage: Stage, settings: Mapping[str, Any], **fixed: Any) -> ConfigDict:
  given = {**defaults(options.TRAINING), **settings}
  config = ConfigDict(dict(stage.config)).copy_and_resolve_references()
  config.epochs = config.epochs * given['epochs']
  config.optimizer.learning_rate = config.optimizer.learning_rate * given['learning_rate']
  config.trained = tuple(given['trained'])
  config.init_from = f'stage:{stage.name}'
  for key, value in {**given['changes'], **fixed}.items():
    if key not in config:
      raise UserError(f'changes.{key}: no such option of config.stages.{stage.name}')
    if isinstance(config[key], ConfigDict):
      config[key].update(value)
    else:
      config[key] = value
  return config


def _seed(stage: Stage, name: str) -> int:
  return zlib.crc32(f'{stage.seed}/{name}'.encode())
