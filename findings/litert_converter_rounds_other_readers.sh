#!/usr/bin/env bash
# LiteRT converter: a value that one reader wants rounded is rounded for all of its readers.
#
# Expected: converted with `strict_qdq_mode`, a file rounds to integers exactly where the program
# says so, by `quant.fake_quant`. A value that also goes elsewhere in float, here to an output of its
# own, arrives there as it was computed.
#
# What happens: the converter moves the rounding back through operations that only pass values on (a
# join, a maximum, a reshape) and puts it behind whatever computed them, in front of all readers. An
# output that the program leaves in float then holds multiples of the other's step. Nothing is
# reported. What is pooled both by mean and by maximum is rounded before the mean; the state of a
# recurrent step that also feeds an int8 layer is rounded at each step, and the error adds up.
# Without the mode the rounding is no operation of the file at all, but an opaque composite.
#
# Seen with litert-converter 0.5.0, ai-edge-litert 2.3.0: with a step of 0.5, the float output
# tanh(0.1, 0.2, 0.3, 0.6) comes out as 0, 0, 0.5, 0.5 in all three cases.
#
# Instead: put an operation that changes no bit that matters between the value and what is rounded,
# for instance a product with 1 + 2^-23, and compare float outputs with the original.
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

PROGRAM = '''module {{
  func.func public @main(%x: tensor<1x4xf32>, %y: tensor<1x4xf32>)
      -> (tensor<1x4xf32>, tensor<1x{size}xf32>) {{
    %f = stablehlo.tanh %x : tensor<1x4xf32>
    %j = {operation}
    %q = stablehlo.composite "quant.fake_quant" {rounded} {{
      composite_attributes = {{
        dtype = "i8", narrow_range = false, quantization_dimension = -1 : i32,
        scale = dense<0.5> : tensor<1xf32>, zero_point = dense<0> : tensor<1xi32>
      }}, decomposition = @same}} : (tensor<1x{size}xf32>) -> tensor<1x{size}xf32>
    return %f, %q : tensor<1x4xf32>, tensor<1x{size}xf32>
  }}
  func.func private @same(%a: tensor<1x{size}xf32>) -> tensor<1x{size}xf32> {{
    return %a : tensor<1x{size}xf32>
  }}
}}'''
CASES = {
  'join': (8, 'stablehlo.concatenate %f, %y, dim = 1 : (tensor<1x4xf32>, tensor<1x4xf32>) -> '
           'tensor<1x8xf32>'),
  'maximum': (4, 'stablehlo.maximum %f, %y : tensor<1x4xf32>'),
  'reshape': (4, 'stablehlo.reshape %f : (tensor<1x4xf32>) -> tensor<1x4xf32>'),
}


def convert(program):
  context = ir.Context()
  api.prepare_mlir_context(context)
  config = api.ConvertToTFLConfig()
  config.model_origin_framework = 'JAX'
  config.strict_qdq_mode = True
  with context:
    module = ir.Module.parse(program)
    api.set_signature(
      module.operation, signature_name='serve', input_names=['x', 'y'],
      output_names=['float', 'rounded'])
    module = api.merge_modules([module])
    api.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
    return bytes(api.export_flatbuffer_to_bytes(module.operation))


x = np.array([[0.1, 0.2, 0.3, 0.6]], np.float32)
y = np.array([[0.05, -0.3, 0.7, 0.2]], np.float32)
for name, (size, operation) in CASES.items():
  file = convert(PROGRAM.format(size=size, operation=operation, rounded='%j'))
  found = Interpreter(model_content=file).get_signature_runner('serve')(x=x, y=y)['float']
  print(f'{name}: float output {found.tolist()}, computed {np.tanh(x).tolist()}')
  np.testing.assert_array_equal(found, [[0, 0, 0.5, 0.5]])

# Where what is rounded is another value, the float output is right.
file = convert(PROGRAM.format(size=4, operation=CASES['reshape'][1], rounded='%y'))
found = Interpreter(model_content=file).get_signature_runner('serve')(x=x, y=y)['float']
np.testing.assert_allclose(found, np.tanh(x), rtol=1e-5)
PYTHON
venv/bin/python check.py
