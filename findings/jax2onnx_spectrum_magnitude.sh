#!/usr/bin/env bash
# jax2onnx: the magnitude of a spectrum exports as the absolute values of its real and imaginary
# parts.
#
# Expected: abs(rfft(x)) becomes the magnitude, or the export says that it cannot do complex
# numbers.
#
# What happens: inside the graph a complex array is an array of pairs with one axis more, and abs is
# the real-valued Abs of each of them: the output has the shape (batch, bins, 2) where JAX gives
# (batch, bins), and the numbers are |re| and |im|. The export raises nothing, and the graph that it
# writes declares the shape (batch, bins). ONNX Runtime only logs a warning on merging shapes. A sum
# over all bins behind it hides the wrong shape, and is off by up to the square root of 2.
#
# Seen with jax2onnx 0.17.1, jax 0.10.2, onnxruntime 1.31.1: as above; the spectrum as sqrt(real^2 +
# imag^2) exports right.
#
# Instead: write the magnitude with the real and imaginary parts, and compare each exported file
# with JAX on some inputs, shapes included.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 jax2onnx==0.17.1 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6

cat > check.py <<'PYTHON'
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

for package in ('jax2onnx', 'jax', 'onnxruntime'):
  print(package, version(package))
onnxruntime.set_default_logger_severity(3)
x = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)


def magnitude(x):
  return jnp.abs(jnp.fft.rfft(x))


def by_parts(x):
  z = jnp.fft.rfft(x)
  return jnp.sqrt(jnp.square(z.real) + jnp.square(z.imag))


def exported(function):
  model = to_onnx(function, [x.shape])
  declared = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
  session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=['CPUExecutionProvider'])
  return declared, session.run(None, {session.get_inputs()[0].name: x})[0]


expected = np.asarray(magnitude(x))
declared, got = exported(magnitude)
spectrum = np.fft.rfft(x)
parts = np.abs(np.stack([spectrum.real, spectrum.imag], axis=-1))
print('JAX:', expected.shape, expected[0, :3], 'sum', expected.sum())
print('ONNX declares', declared, 'and gives', got.shape, got[0, :3].tolist(), 'sum', got.sum())
assert declared == [2, 9] and got.shape == (2, 9, 2)
np.testing.assert_allclose(got, parts, atol=1e-4)
assert got.sum() > 1.2 * expected.sum()

_, right = exported(by_parts)
print('by parts:', right.shape, right[0, :3])
np.testing.assert_allclose(right, expected, atol=1e-4)
PYTHON
venv/bin/python check.py
