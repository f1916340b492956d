"""Evaluates every form of an experiment's stages, and trains those that need it."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import jax

from har.compress import finished, variants
from har.compress.finished import FinishedStage
from har.compress.options import Scheme
from har.errors import UserError
from har.evaluate import run as evaluation
from har.evaluate import tested
from har.train import checkpoints, loop
from har.train.experiment import Experiment
from har.train.interrupt import StopSignal

Stages = Mapping[str, FinishedStage]


def evaluate(experiment: Experiment, *, command: str) -> dict:
  """Evaluates the stages in float32, int8 and whatever has been trained, and writes the report.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: a stage is not finished, or the workdir cannot be written.
  """
  return evaluation.run(experiment, command=command, others=_forms(finished.of(experiment)))


def compress(experiment: Experiment, *, command: str) -> dict:
  """Trains the variants that the config asks for and that are not finished, then evaluates all.

  Returns:
    What `results.json` holds.

  Raises:
    Interrupted: SIGTERM or Ctrl-C; everything is saved.
    UserError: a stage is not finished, or a variant cannot be made.
  """
  # A variant comes after what it starts from.
  wanted = sorted(experiment.config.compress.variants, key=list(variants.TRAINED).index)
  for stage in experiment.deployed:
    checkpoints.check_finished(experiment.context.workdir, stage)
  stages = finished.of(experiment)
  _check(stages, wanted)
  with StopSignal() as stop:
    for one in stages.values():
      for name in wanted:
        _train(one, name, stop)
  others = _forms(stages) + _study(stages)
  return evaluation.run(experiment, command=command, others=others)


def _check(stages: Stages, wanted: Sequence[str]) -> None:
  """Whether all that is left to do can be pruned and slimmed, before hours of training."""
  for one in stages.values():
    have = variants.available(one)
    if variants.SLIM_QAT in wanted and variants.SLIM not in (*wanted, *have):
      raise UserError(
        f'config.compress.variants={tuple(wanted)}: {variants.SLIM_QAT} is made of '
        f'{variants.SLIM}; name that, too'
      )
    for variant in wanted:
      later = variant in (variants.QAT, variants.SLIM_QAT)
      if len(one.stage.modalities) == 1 and not later and variant not in have:
        variants.trained_stage(one, variant)


def _forms(stages: Stages) -> list[evaluation.Other]:
  """Every stage in int8 and in each form that has been trained."""
  others = []
  for name, one in stages.items():
    if not checkpoints.finished(one.experiment.context.workdir, name):
      break  # The evaluation says so.
    others += [_evaluate(one, variants.make(one, form)) for form in variants.available(one)[1:]]
  return others


def _study(stages: Stages) -> list[evaluation.Other]:
  """Every stage quantised by other schemes."""
  others = []
  for one in stages.values():
    settings = one.experiment.config.compress
    for name, changes in settings.study.items():
      scheme = Scheme.from_config({**settings.int8, **changes})
      made = variants.make(one, variants.INT8, scheme)
      others.append(_evaluate(one, dataclasses.replace(made, name=name)))
  return others


def _train(of: FinishedStage, name: str, stop: StopSignal) -> None:
  context = of.experiment.context
  place = variants.folder(of.name, name)
  _claim(of.experiment, place, name)
  if checkpoints.finished(context.workdir, place):
    _say(f'{place}: finished before')
    return
  one, variables = variants.trained_stage(of, name)
  loop.train_stage(one, context, variables, stop)
  _say(f'{place}: finished')


def _claim(experiment: Experiment, place: str, name: str) -> None:
  """Remembers what a variant is trained with, or checks that it is still asked for so."""
  settings = experiment.config.compress
  names = variants.needed(name)
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


def _evaluate(of: FinishedStage, variant: variants.Variant) -> evaluation.Other:
  scores, held_out = tested.predict_split(
    of.experiment, of.name, variant.model, variant.preprocess, variant.variables
  )
  left = ', '.join(variant.float_layers) or 'none'
  note = f'{variant.stage} {variant.name}: {variant.notes}.'
  if variant.quantised:
    note += f' Layers left in float32: {left}.'
  return evaluation.Other(variant.stage, variant.name, scores, held_out, variant.bytes, note)


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, file=sys.stderr, flush=True)
