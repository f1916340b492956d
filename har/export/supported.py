"""Which operations of JAX a format cannot hold, found in the trace: even before training."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.extend import core

from har.errors import UserError
from har.export.rewrite import INLINED, Call

_LOOPS = ('scan', 'while', 'cond')
_ALGEBRA = ('cholesky', 'eigh', 'eig', 'fft', 'lu', 'qr', 'svd', 'triangular_solve')
_RANDOM = ('random_bits', 'random_seed', 'random_wrap', 'threefry2x32', 'rng_bit_generator')
_SORTED = ('sort', 'top_k', 'cummax', 'cummin')
_CALLBACKS = ('pure_callback', 'io_callback', 'debug_callback')
_REFUSED = {
  'LiteRT': frozenset((*_LOOPS, *_ALGEBRA, *_RANDOM, *_CALLBACKS, *_SORTED)),
  'ONNX': frozenset((*_LOOPS, *_ALGEBRA, *_RANDOM, *_CALLBACKS)),
}


def check_exportable(call: Call, inputs: Mapping[str, Any]) -> None:
  """Checks a function for all formats; nothing is computed.

  Args:
    call: maps a dict of inputs to anything: of a model that is not trained yet, too.
    inputs: arrays, or shapes and types, by name.

  Raises:
    UserError: a format has no operation for one of JAX's; where it is in the model stands beside.
  """
  closed = jax.make_jaxpr(call)(dict(inputs))
  problems = [line for target in _REFUSED if (line := refusal(target, closed))]
  if problems:
    raise UserError('; '.join(problems))


def check(target: str, closed: Any) -> None:
  """Checks a jaxpr for one format.

  Args:
    target: 'LiteRT' or 'ONNX'.
    closed: what is to be written.

  Raises:
    UserError: see `check_exportable`.
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
    inner = [p for p in eqn.params.values() if isinstance(p, core.ClosedJaxpr | core.Jaxpr)]
    if eqn.primitive.name in INLINED and inner:
      body = inner[0]
      yield from _primitives(getattr(body, 'jaxpr', body), where)
    else:
      yield eqn.primitive.name, where
