#!/usr/bin/env bash
# jax2onnx: a nearest-neighbour resize to half the length exports as one that takes other frames.
#
# Expected: jax.image.resize(x, shape, "nearest") in the ONNX file takes the frames that JAX takes.
#
# What happens: halving 8 frames, JAX takes 1, 3, 5, 7 and the exported file 0, 2, 4, 6. Wherever
# the wanted position lies exactly between two frames, JAX takes the later one and ONNX, by the
# rounding mode that the exporter picks, the earlier. Nothing is raised; lengths without such ties
# agree, so a test of another ratio passes.
#
# Seen with jax2onnx 0.17.1, jax 0.10.2, onnxruntime 1.31.1: 8 -> 4, 8 -> 5 and 8 -> 12 differ, 7 ->
# 3, 10 -> 4 and 8 -> 16 agree.
#
# Instead: take frames by an index array worked out with NumPy outside the exported function, or by
# a strided slice.
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
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

for package in ('jax2onnx', 'jax', 'onnxruntime'):
  print(package, version(package))


def taken(frames, wanted):
  """Numbers of the frames that JAX and the exported file take."""
  x = np.arange(frames, dtype=np.float32)[None, :, None]
  resize = lambda a: jax.image.resize(a, (1, wanted, 1), 'nearest')
  session = onnxruntime.InferenceSession(
    to_onnx(resize, [x.shape]).SerializeToString(), providers=['CPUExecutionProvider'])
  outputs = session.run(None, {session.get_inputs()[0].name: x})[0]
  return np.asarray(resize(x)).ravel().tolist(), outputs.ravel().tolist()


differs = {}
for lengths in ((8, 4), (8, 5), (8, 12), (7, 3), (10, 4), (8, 16)):
  of_jax, of_onnx = taken(*lengths)
  differs[lengths] = of_jax != of_onnx
  print(f'{lengths[0]} -> {lengths[1]}: JAX {of_jax}, ONNX {of_onnx}')

assert taken(8, 4) == ([1, 3, 5, 7], [0, 2, 4, 6])
assert [k for k, v in differs.items() if v] == [(8, 4), (8, 5), (8, 12)], differs
PYTHON
venv/bin/python check.py
