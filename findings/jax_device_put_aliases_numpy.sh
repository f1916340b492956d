#!/usr/bin/env bash
# JAX: on a CPU, device_put may share memory with the NumPy array even if it is asked to copy.
#
# Expected: a JAX array never changes, and device_put(x, may_alias=False) copies, as its
# documentation says. A loader may fill one NumPy buffer again and again.
#
# What happens: if the buffer starts at a multiple of 64 bytes, the JAX array is that buffer, with
# may_alias=False too, and writing into the NumPy array changes the JAX array. If it starts anywhere
# else there is a copy. Where an array lies is up to the allocator, so a loader that reuses its
# buffer works in a small test and now and then trains on the wrong batch.
#
# Seen with jax 0.10.2, numpy 2.4.6 on x86-64: device_put and device_put(may_alias=False) change
# with the buffer at offset 0, and do not at offsets 4, 16, 32; jnp.array and jnp.asarray never
# change.
#
# Instead: copy with jnp.array(x), or give device_put a buffer that nothing writes to again.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

cat > check.py <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np

print('jax', jax.__version__, 'numpy', np.__version__, 'on', jax.default_backend())
WAYS = {
  'device_put': jax.device_put,
  'device_put, may_alias=False': lambda x: jax.device_put(x, may_alias=False),
  'jnp.array': jnp.array,
  'jnp.asarray': jnp.asarray,
}


def buffer(offset):
  """A NumPy array that starts `offset` bytes after a multiple of 64."""
  memory = np.zeros(4096 + 128, np.uint8)
  start = -memory.ctypes.data % 64 + offset
  return memory[start : start + 4096].view(np.float32)


def changes(way, offset):
  x = buffer(offset)
  x[:] = 1
  y = jax.block_until_ready(way(x))
  x[:] = 2
  return float(y[0]) != 1


seen = {name: [changes(way, offset) for offset in (0, 4, 16, 32)] for name, way in WAYS.items()}
for name, changed in seen.items():
  print(f'{name}: JAX array changes with the buffer at offset 0, 4, 16, 32: {changed}')

assert seen['device_put'] == seen['device_put, may_alias=False'] == [True, False, False, False]
assert not any(seen['jnp.array'] + seen['jnp.asarray'])
PYTHON
venv/bin/python check.py
