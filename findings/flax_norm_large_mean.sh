#!/usr/bin/env bash
# Flax: BatchNorm and LayerNorm of values far from zero are wrong by a thousand times, silently.
#
# Expected: a normalisation layer gives outputs of mean 0 and standard deviation 1 whatever the
# offset of its inputs, as far as float32 can hold them. Float32 holds 10000 +- 5 to 0.001.
#
# What happens: Flax computes the variance as mean(x^2) - mean(x)^2 (use_fast_variance=True is the
# default). In float32 the two terms cancel: at a mean of 10000 and a deviation of 5 the variance
# comes out as zero or as noise, and outputs reach thousands. No warning, no NaN. Raw sensor counts,
# pressure in pascals and times in milliseconds are such inputs.
#
# Seen with flax 0.12.8, jax 0.10.2, on a CPU: for 10000 +- 5 a deviation of the outputs of about
# 740 (BatchNorm) and 1130 (LayerNorm); with use_fast_variance=False it is 1.00 for both.
#
# Instead: subtract a fixed offset from the inputs before the first layer, or pass
# use_fast_variance=False to the layers that see raw values.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 numpy==2.4.6

cat > check.py <<'PYTHON'
import flax
import flax.linen as nn
import jax
import numpy as np

print('flax', flax.__version__, 'jax', jax.__version__)
noise = np.random.default_rng(0).standard_normal((256, 8))


def deviation(layer, x):
  y, _ = layer.apply(layer.init(jax.random.key(0), x), x, mutable=['batch_stats'])
  return float(np.std(y))


def layers(**options):
  return nn.BatchNorm(use_running_average=False, **options), nn.LayerNorm(**options)


results = {}
for mean in (10, 1000, 10000, 101325):
  x = (mean + 5 * noise).astype(np.float32)
  fast = [deviation(layer, x) for layer in layers()]
  exact = [deviation(layer, x) for layer in layers(use_fast_variance=False)]
  results[mean] = fast, exact
  print(f'inputs {mean} +- 5: deviation of BatchNorm, LayerNorm: {fast}; exact variance: {exact}')

assert all(abs(d - 1) < 0.01 for _, exact in results.values() for d in exact)
assert all(abs(d - 1) < 0.01 for d in results[10][0])
assert all(d > 100 for mean in (10000, 101325) for d in results[mean][0])
PYTHON
venv/bin/python check.py
