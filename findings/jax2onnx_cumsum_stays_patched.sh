#!/usr/bin/env bash
# jax2onnx: one export changes jnp.cumsum for the rest of the process.
#
# Expected: exporting a function leaves JAX as it was. What jax2onnx replaces while it traces, it
# puts back, as it does with the other functions that it replaces.
#
# What happens: after to_onnx of a function that has no cumsum in it, jax.numpy.cumsum is another
# function, and jnp.cumsum(x, 1) raises "TypeError: jnp.cumsum expects a single positional
# argument". A training script that exports its best model at the end of an epoch fails in the next
# one, far from the export.
#
# Seen with jax2onnx 0.17.1, jax 0.10.2: cumsum is the only public function of jax.numpy, jax.lax
# and jax.nn that differs afterwards.
#
# Instead: write jnp.cumsum(x, axis=1), export in a process of its own, or keep the function before
# the export and assign it back after.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 jax2onnx==0.17.1 numpy==2.4.6

cat > check.py <<'PYTHON'
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from jax2onnx import to_onnx

print('jax2onnx', version('jax2onnx'), 'jax', jax.__version__)
MODULES = (jnp, jax.lax, jax.nn)


def functions():
  return {(m.__name__, name): getattr(m, name) for m in MODULES for name in dir(m)}


x = np.arange(6, dtype=np.float32).reshape(2, 3)
before = functions()
print('before the export:', jnp.cumsum(x, 1).tolist())
to_onnx(lambda a: a + 1, [(2, 3)])
after = functions()
changed = [key for key in before if after[key] is not before[key]]
print('functions that are others after the export:', changed)
try:
  jnp.cumsum(x, 1)
  message = 'works'
except TypeError as e:
  message = f'TypeError: {e}'
print('jnp.cumsum(x, 1) after the export:', message)
print('jnp.cumsum(x, axis=1) after the export:', jnp.cumsum(x, axis=1).tolist())

assert changed == [('jax.numpy', 'cumsum')], changed
assert message.startswith('TypeError'), message
PYTHON
venv/bin/python check.py
