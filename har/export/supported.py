"""Which operations of JAX a format cannot hold, found in the trace: even before training."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend import core

from har.compress import finetune, variants
from har.compress.operations import plain_branch
from har.errors import UserError
from har.export.rewrite import INLINED
from har.models.mode import INFERENCE, UNROLLED
from har.train import checkpoints
from har.train.experiment import Experiment
from har.train.stage import Stage

_LOOPS = ('scan', 'while', 'cond')
_ALGEBRA = ('cholesky', 'eigh', 'eig', 'fft', 'lu', 'qr', 'svd', 'triangular_solve')
_RANDOM = ('random_bits', 'random_seed', 'random_wrap', 'threefry2x32', 'rng_bit_generator')
_SORTED = ('sort', 'top_k', 'cummax', 'cummin')
_CALLBACKS = ('pure_callback', 'io_callback', 'debug_callback')
_REFUSED = {
  'LiteRT': frozenset((*_LOOPS, *_ALGEBRA, *_RANDOM, *_CALLBACKS, *_SORTED)),
  'ONNX': frozenset((*_LOOPS, *_ALGEBRA, *_RANDOM, *_CALLBACKS)),
}


def announce(experiment: Experiment) -> None:
  """Says on stderr what will not be possible with the stages that are still to be trained.

  Which formats cannot hold them, and which encoders cannot be slimmed if the config asks for it.
  Nothing is computed: a model is traced, with its loops over time step by step if that is needed.
  """
  if jax.process_index():
    return
  for name, stage in experiment.deployed.items():
    if checkpoints.finished(experiment.context.workdir, name):
      continue
    lines = problems(stage.model, stage.variables, stage.example)
    lines = [f'{line}: it can be trained but not exported' for line in lines]
    slim = variants.SLIM in experiment.config.compress.variants and len(stage.modalities) == 1
    if slim and (line := _slim_problem(stage, experiment.config.compress[variants.SLIM].to_dict())):
      lines.append(f'{line}: it can be trained but not slimmed')
    for line in lines:
      print(f'{name}: {line}', file=sys.stderr, flush=True)


def _slim_problem(stage: Stage, settings: Mapping[str, Any]) -> str:
  """Why a stage cannot be slimmed, found with random values."""
  rng = np.random.default_rng(0)
  values = jax.tree.map(lambda x: rng.random(x.shape, np.float32), stage.variables)
  try:
    finetune.slim_stage(stage, values, settings)
  except UserError as e:
    return str(e)
  return ''


def problems(model: Any, variables: Any, inputs: Mapping[str, Any]) -> list[str]:
  """What each format cannot hold of a model that maps inputs to `har.models.types.Outputs`."""
  found: list[str] = []
  for mode in (INFERENCE, UNROLLED):

    def infer(variables, inputs, mode=mode):
      return model.apply(variables, inputs, mode).named()

    closed = jax.make_jaxpr(infer)(variables, dict(inputs))
    found = [line for target in _REFUSED if (line := refusal(target, closed))]
    if not found:
      break
  return found


def check(target: str, closed: Any) -> None:
  """Checks a jaxpr for one format.

  Args:
    target: 'LiteRT' or 'ONNX'.
    closed: what is to be written.

  Raises:
    UserError: the format has no operation for one of JAX's; where it is in the model stands beside.
  """
  if line := refusal(target, closed):
    raise UserError(line)


def refusal(target: str, closed: Any) -> str:
  """What a format cannot hold, empty if nothing."""
  found = dict.fromkeys(
    f'{name} ({where})' if where else name
    for name, where in _primitives(closed.jaxpr, '')
    if name in _REFUSED[target]
  )
  return f'{target} has no operation for {", ".join(found)}' if found else ''


def _primitives(jaxpr: Any, outer: str) -> Iterator[tuple[str, str]]:
  """(primitive, path of modules) of all operations, without those inside loops."""
  for eqn in jaxpr.eqns:
    where = '/'.join(filter(None, (outer, str(eqn.source_info.name_stack))))
    branch = plain_branch(eqn)
    inner = [p for p in eqn.params.values() if isinstance(p, core.ClosedJaxpr | core.Jaxpr)]
    if branch is not None:
      yield from _primitives(branch.jaxpr, where)
    elif eqn.primitive.name in INLINED and inner:
      body = inner[0]
      yield from _primitives(getattr(body, 'jaxpr', body), where)
    else:
      yield eqn.primitive.name, where
