"""Logits of a whole split."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from har.train import mesh as mesh_lib


def predict(
  eval_step: Callable[[Any, dict[str, jax.Array]], jax.Array],
  variables: Any,
  batches: Iterable[dict[str, np.ndarray]],
  mesh: Mesh,
) -> tuple[np.ndarray, np.ndarray]:
  """Runs the model over every example once.

  Args:
    eval_step: jitted `har.train.step.make_eval_step`.
    variables: the model's variables, on the mesh.
    batches: this process's batches, padding marked by `mask`; every process has as many.
    mesh: the devices.

  Returns:
    Logits float32 `[N, C]` and labels int32 `[N]`, without padding, in the split's order.
  """
  logits, labels = [], []
  for batch in batches:
    placed = mesh_lib.put_batch(batch, mesh)
    out = {'logits': eval_step(variables, placed), 'label': placed['label'], 'mask': placed['mask']}
    if jax.process_count() > 1:
      host = multihost_utils.process_allgather(out, tiled=True)
    else:
      host = jax.device_get(out)
    logits.append(host['logits'][host['mask']])
    labels.append(host['label'][host['mask']])
  return np.concatenate(logits), np.concatenate(labels)
