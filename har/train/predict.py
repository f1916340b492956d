"""Scores of a whole split."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from har.train import mesh as mesh_lib


def predict(
  eval_step: Callable[[Any, dict[str, jax.Array]], Any],
  variables: Any,
  batches: Iterable[dict[str, np.ndarray]],
  mesh: Mesh,
) -> Any:
  """Runs the model over every example once.

  Args:
    eval_step: jitted `har.train.step.make_eval_step`, or another function whose result is a tree of
      arrays `[B, ...]`.
    variables: the model's variables, on the mesh.
    batches: this process's batches, padding marked by `mask`; every process has as many.
    mesh: the devices.

  Returns:
    What the step returns, on the host with N examples in place of B: without padding, in the
    split's order.
  """
  parts = []
  for batch in batches:
    placed = mesh_lib.put_batch(batch, mesh)
    out = (eval_step(variables, placed), placed['mask'])
    if jax.process_count() > 1:
      host = multihost_utils.process_allgather(out, tiled=True)
    else:
      host = jax.device_get(out)
    found, real = host
    parts.append(jax.tree.map(lambda x, real=real: x[real], found))
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)
