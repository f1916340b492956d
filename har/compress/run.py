"""Evaluates every form of an experiment's stages, and trains those that need it."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import jax

from har.compress import variants
from har.compress.options import Scheme
from har.errors import UserError
from har.evaluate import run as evaluation
from har.train import checkpoints, loop
from har.train.experiment import Experiment
from har.train.interrupt import StopSignal


def evaluate(experiment: Experiment, *, command: str) -> dict:
  """Evaluates the stages in float32, int8 and whatever has been trained, and writes the report.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: a stage is not finished, or the workdir cannot be written.
  """
  return evaluation.run(experiment, command=command, others=_forms(experiment))


def compress(experiment: Experiment, *, command: str) -> dict:
  """Trains the variants that the config asks for and that are not finished, then evaluates all.

  Returns:
    What `results.json` holds.

  Raises:
    Interrupted: SIGTERM or Ctrl-C; everything is saved.
    UserError: a stage is not finished, or a variant cannot be made.
  """
  wanted = tuple(experiment.config.compress.variants)
  for stage in experiment.stages:
    checkpoints.check_finished(experiment.context.workdir, stage)
  _check(experiment, wanted)
  with StopSignal() as stop:
    for stage in experiment.stages:
      for name in wanted:
        _train(experiment, stage, name, stop)
  others = _forms(experiment) + _study(experiment)
  return evaluation.run(experiment, command=command, others=others)


def _check(experiment: Experiment, wanted: Sequence[str]) -> None:
  """Whether all that is left to do can be pruned and slimmed, before hours of training."""
  for name, stage in experiment.stages.items():
    have = variants.available(experiment, name)
    for variant in wanted:
      if len(stage.modalities) == 1 and variant not in (variants.QAT, *have):
        variants.trained_stage(experiment, name, variant)


def _forms(experiment: Experiment) -> list[evaluation.Other]:
  """Every stage in int8 and in each form that has been trained."""
  others = []
  for stage in experiment.stages:
    if not checkpoints.finished(experiment.context.workdir, stage):
      break  # The evaluation says so.
    for name in variants.available(experiment, stage)[1:]:
      others.append(_evaluate(experiment, variants.make(experiment, stage, name)))
  return others


def _study(experiment: Experiment) -> list[evaluation.Other]:
  """Every stage quantised by other schemes."""
  settings = experiment.config.compress
  others = []
  for stage in experiment.stages:
    for name, changes in settings.study.items():
      scheme = Scheme.from_config({**settings.int8, **changes})
      made = variants.make(experiment, stage, variants.INT8, scheme)
      others.append(_evaluate(experiment, dataclasses.replace(made, name=name)))
  return others


def _train(experiment: Experiment, stage: str, name: str, stop: StopSignal) -> None:
  context = experiment.context
  place = variants.folder(stage, name)
  _claim(experiment, place, name)
  if checkpoints.finished(context.workdir, place):
    _say(f'{place}: finished before')
    return
  one, variables = variants.trained_stage(experiment, stage, name)
  loop.train_stage(one, context, variables, stop)
  _say(f'{place}: finished')


def _claim(experiment: Experiment, place: str, name: str) -> None:
  """Remembers what a variant is trained with, or checks that it is still asked for so."""
  settings = experiment.config.compress
  names = ('int8', name) if name == variants.QAT else (name,)
  mine = json.loads(json.dumps({n: settings[n].to_dict() for n in names}))
  path = pathlib.Path(experiment.context.workdir) / 'checkpoints' / place / 'settings.json'
  if path.exists():
    if json.loads(path.read_text()) != mine:
      raise UserError(
        f'{path.parent} was trained with other values of '
        f'{", ".join(f"config.compress.{n}" for n in names)}: use those, or delete that folder'
      )
  elif jax.process_index() == 0:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(mine, indent=2))
    os.replace(temporary, path)


def _evaluate(experiment: Experiment, variant: variants.Variant) -> evaluation.Other:
  scores = evaluation.predict_split(
    experiment, variant.stage, variant.model, variant.preprocess, variant.variables
  )
  left = ', '.join(variant.float_layers) or 'none'
  note = f'{variant.stage} {variant.name}: {variant.notes}.'
  if variant.quantised:
    note += f' Layers left in float32: {left}.'
  return evaluation.Other(variant.stage, variant.name, scores, variant.bytes, note)


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
