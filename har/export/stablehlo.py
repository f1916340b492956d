"""StableHLO files, for any batch size and for CPU, CUDA and TPU (`jax.export`)."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax import export

from har.errors import UserError
from har.export.rewrite import Call

PLATFORMS = ('cpu', 'cuda', 'tpu')


def convert(call: Call, inputs: Mapping[str, jax.ShapeDtypeStruct]) -> bytes:
  """The file that computes `call` for batches of any size.

  Args:
    call: maps inputs to outputs, both by name, whatever their batch size.
    inputs: shapes and types, by name; the first axis is the batch.
  """
  (batch,) = export.symbolic_shape('batch')
  specs = {n: jax.ShapeDtypeStruct((batch, *s.shape[1:]), s.dtype) for n, s in inputs.items()}
  with _no_locations():
    return bytes(export.export(jax.jit(call), platforms=PLATFORMS)(specs).serialize())


@contextlib.contextmanager
def _no_locations() -> Iterator[None]:
  """Keeps the names of this machine's files, which JAX notes for error messages, out of a file."""
  name = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, before)


class Runner:
  """Runs a file with JAX."""

  def __init__(self, file: bytes | str | os.PathLike):
    """Opens a file, or takes its content.

    Raises:
      UserError: it cannot be read.
    """
    try:
      content = file if isinstance(file, bytes) else Path(file).read_bytes()
      self.exported = export.deserialize(bytearray(content))
    except OSError as e:
      raise UserError(f'cannot read {file!r}: {e.strerror}') from e
    except Exception as e:  # Whatever a broken flatbuffer leads to.
      name = 'the model' if isinstance(file, bytes) else file
      raise UserError(f'{name} is no StableHLO file of jax.export: {e}') from e
    self._call = jax.jit(self.exported.call)
    self.inputs = tuple(jax.tree.unflatten(self.exported.in_tree, self.exported.in_avals)[0][0])
    outputs = jax.tree.unflatten(self.exported.out_tree, self.exported.out_avals)
    self.names = {n: n for n in (*self.inputs, *outputs)}
    self.any_batch = True

  def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, as logits float32 `[B, C]`, of inputs `[B, ...]`; others are left alone."""
    return jax.device_get(self._call({n: inputs[n] for n in self.inputs}))
