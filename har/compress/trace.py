"""A function's jaxpr as a flat list of operations, with one of its own for each `scan`."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.extend import core

from har.compress.operations import Loop, Operation, Value, called, constant, plain_branch


@dataclasses.dataclass
class Trace:
  """A traced function.

  Attributes:
    inputs: by name.
    operations: in order.
    outputs: what the function returns, flat.
    tree: how they are arranged.
  """

  inputs: dict[str, Value]
  operations: list[Operation]
  outputs: list[Value]
  tree: Any

  def everything(self) -> Iterator[Operation]:
    """All operations, those of loops before the loops."""
    return _flat(self.operations)


def _flat(operations: list[Operation]) -> Iterator[Operation]:
  for operation in operations:
    if operation.loop is not None:
      yield from _flat(operation.loop.operations)
    yield operation


def trace(fn: Callable[[Any, Any], Any], variables: Any, inputs: Mapping[str, Any]) -> Trace:
  """Traces `fn(variables, inputs)`; see `har.compress.graph.Graph`."""
  closed, shapes = jax.make_jaxpr(fn, return_shape=True)(variables, inputs)
  flat, _ = jax.tree_util.tree_flatten_with_path((variables, inputs))
  env: dict[core.Var, Value] = {}
  named: dict[str, Value] = {}
  operations: list[Operation] = []
  for (path, _), var in zip(flat, closed.jaxpr.invars, strict=True):
    leaf = tuple(str(k.key) for k in path[1:])
    is_input = path[0].idx == 1
    env[var] = Value(var.aval.shape, var.aval.dtype, leaf=leaf, static=not is_input)
    if is_input:
      named[leaf[0]] = env[var]
  outputs = _inline(closed.jaxpr, closed.consts, env, operations)
  return Trace(named, operations, outputs, jax.tree.structure(shapes))


def _inline(jaxpr, consts, env, operations: list[Operation], outer: str = '') -> list[Value]:
  env.update(zip(jaxpr.constvars, map(constant, consts), strict=True))

  def read(atom) -> Value:
    return constant(atom.val) if isinstance(atom, core.Literal) else env[atom]

  for eqn in jaxpr.eqns:
    args = [read(atom) for atom in eqn.invars]
    inner = called(eqn)
    where = '/'.join(filter(None, (outer, str(eqn.source_info.name_stack))))
    if inner is not None:
      args = args[1:] if plain_branch(eqn) else args
      bound = dict(zip(inner.jaxpr.invars, args, strict=True))
      results = _inline(inner.jaxpr, inner.consts, bound, operations, where)
    else:
      static = all(a.static for a in args)
      results = [Value(v.aval.shape, v.aval.dtype, static=static) for v in eqn.outvars]
      repeated = eqn.primitive.name == 'scan' and not static
      loop = _loop(eqn, args, where) if repeated else None
      operation = Operation(eqn, args, results, loop, where)
      for result in results:
        result.source = operation
      operations.append(operation)
    env.update(zip(eqn.outvars, results, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _loop(eqn: core.JaxprEqn, args: list[Value], where: str) -> Loop:
  inner = eqn.params['jaxpr']
  consts, carry = _counts(eqn.params)
  given = [Value(v.aval.shape, v.aval.dtype) for v in inner.jaxpr.invars[consts:]]
  bound = dict(zip(inner.jaxpr.invars, [*args[:consts], *given], strict=True))
  operations: list[Operation] = []
  outputs = _inline(inner.jaxpr, inner.consts, bound, operations, where)
  return Loop(given, operations, outputs, consts, carry)


def _counts(params: Mapping[str, Any]) -> tuple[int, int]:
  """How many operands of a `scan` stay the same, and how many are carried on."""
  if 'num_consts' in params:
    return params['num_consts'], params['num_carry']
  consts, carry, _ = params['ft_in'].unpack()  # JAX 0.12
  return len(consts), len(carry)
