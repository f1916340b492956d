#!/usr/bin/env bash
# LiteRT converter: remainders and cube roots of negative numbers come out wrong, silently.
#
# Expected: a .tflite file computes what the StableHLO program that it is converted from defines: a
# remainder has the sign of the dividend (-190 rem 180 is -10, as in C and numpy.fmod), and the cube
# root of -27 is -3.
#
# What happens: stablehlo.remainder becomes FLOOR_MOD, whose result has the sign of the divisor
# (-190 gives 170), for floats and integers. stablehlo.cbrt becomes POW with an exponent of a third,
# and gives NaN for negative numbers. Neither the converter nor the runtime complains. jax.lax.rem,
# jnp.fmod and jnp.cbrt lower to these two operations: joint angles and signed accelerations are
# inputs for which they differ.
#
# Seen with litert-converter 0.5.0, ai-edge-litert 2.3.0: as above.
#
# Instead: write x - y * trunc(x / y) for the remainder (or use jnp.mod, which comes out right), and
# sign(x) * abs(x) ** (1 / 3) for the cube root; compare files with the original on negative inputs.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  litert-converter==0.5.0 ai-edge-litert==2.3.0 numpy==2.4.6

cat > check.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_converter.mlir import ir, passmanager
from litert_converter.mlir._mlir_libs import converter_api_ext as api

print('litert-converter', version('litert-converter'), 'ai-edge-litert', version('ai-edge-litert'))


def run(operation, *inputs):
  """Outputs of the converted program that consists of one StableHLO operation."""
  types = [f'tensor<4x{"f32" if x.dtype == np.float32 else "i32"}>' for x in inputs]
  names = [f'x{i}' for i in range(len(inputs))]
  arguments = ', '.join(f'%{n}: {t}' for n, t in zip(names, types))
  operands = ', '.join(f'%{n}' for n in names)
  program = f'''func.func @main({arguments}) -> {types[0]} {{
    %y = stablehlo.{operation} {operands} : {types[0]}
    return %y : {types[0]}
  }}'''
  context = ir.Context()
  api.prepare_mlir_context(context)
  config = api.ConvertToTFLConfig()
  config.model_origin_framework = 'JAX'
  with context:
    module = ir.Module.parse(program)
    api.set_signature(
      module.operation, signature_name='serve', input_names=names, output_names=['y'])
    module = api.merge_modules([module])
    api.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
    content = bytes(api.export_flatbuffer_to_bytes(module.operation))
  runner = Interpreter(model_content=content).get_signature_runner('serve')
  return runner(**dict(zip(names, inputs)))['y']


angles, turn = np.array([-190, -7.5, 7.5, 190], np.float32), np.full(4, 180, np.float32)
numbers, divisors = np.array([-7, -3, 3, 7], np.int32), np.array([2, 2, -2, -2], np.int32)
cubes = np.array([-27, -1, 1, 27], np.float32)
cases = {
  'remainder of floats': (run('remainder', angles, turn), np.fmod(angles, turn)),
  'remainder of integers': (run('remainder', numbers, divisors), np.fmod(numbers, divisors)),
  'cube root': (run('cbrt', cubes), np.cbrt(cubes)),
}
for name, (got, expected) in cases.items():
  print(f'{name}: LiteRT {got.tolist()}, as defined {expected.tolist()}')

np.testing.assert_allclose(cases['remainder of floats'][0], np.mod(angles, turn))
np.testing.assert_array_equal(cases['remainder of integers'][0], np.mod(numbers, divisors))
assert np.isnan(cases['cube root'][0]).tolist() == [True, True, False, False]
PYTHON
venv/bin/python check.py
