"""LiteRT files (.tflite), for Android, iOS and microcontrollers; no TensorFlow is needed."""

import collections
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core

from har.errors import UserError
from har.export import compact, optional, portable, supported
from har.export.rewrite import Call, Traced, marked_layers, rewrite, trace

_SIGNATURE = 'serving_default'
_LAYERS = ('CONV_2D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED', 'BATCH_MATMUL', 'CONV_3D')


def convert(call: Call, inputs: Mapping[str, jax.ShapeDtypeStruct], *, int8: bool = False) -> bytes:
  """The file that computes `call` for inputs of these shapes.

  If all of them begin with a batch of one, the file takes any batch, where its operations allow it.

  Args:
    call: maps inputs to outputs, both by name; for int8 with marks, see
      `har.compress.fake_quant.MARK`.
    inputs: shapes and types, by name.
    int8: what is marked must run in int8.

  Raises:
    UserError: LiteRT lacks an operation, or a marked layer did not become int8.
  """
  supported.check('LiteRT', trace(call, inputs).closed)
  return portable.of_any_batch(functools.partial(_convert, call, int8), Runner, inputs)


def _convert(call: Call, int8: bool, inputs, batch: int = 0) -> bytes:
  """A file for these shapes; if `batch`, with that left open, or nothing if it cannot be."""
  traced = trace(rewrite(call, inputs), inputs)
  run = jax.jit(core.jaxpr_as_fun(traced.closed), keep_unused=True)
  lowered = run.lower(*traced.closed.in_avals).compiler_ir('stablehlo')
  assert lowered is not None
  text = lowered.operation.get_asm(enable_debug_info=False, large_elements_limit=None)
  model = _compile(text, traced, int8)
  graph, *called = model.subgraphs
  if called:
    names = [name for name, _ in portable.operators(model, graph)]
    left = [name for name in names if name.startswith('STABLEHLO')] or names
    raise UserError(f'LiteRT cannot run the operation {left[0]}')
  portable.short_indices(model, graph)
  portable.name_values(graph)
  if batch and not portable.any_batch(model, graph, batch):
    return b''
  file = compact.compact(model)
  if int8:
    _check(file, marked_layers(traced.closed))
  return file


def _compile(stablehlo: str, traced: Traced, int8: bool) -> Any:
  ir = optional.load('litert_converter.mlir.ir')
  passes = optional.load('litert_converter.mlir.passmanager')
  api = optional.load('litert_converter.mlir._mlir_libs.converter_api_ext')
  context = ir.Context()
  api.prepare_mlir_context(context)
  config = api.ConvertToTFLConfig()
  config.model_origin_framework = 'JAX'
  config.unsafe_fuse_dynamic_shaped_broadcast = True
  config.strict_qdq_mode = int8
  try:
    with context:
      module = ir.Module.parse(stablehlo)
      api.set_signature(
        module.operation,
        signature_name=_SIGNATURE,
        input_names=traced.inputs,
        output_names=traced.outputs,
      )
      module = api.merge_modules([module])
      api.run_convert_to_tfl_passes(module, passes.PassManager(), config)
      file = bytes(api.export_flatbuffer_to_bytes(module.operation))
  except (ValueError, RuntimeError) as e:
    lines = str(e).splitlines()
    found = re.search(r"operation '([\w.]+)'|'([\w.]+)' op", str(e))
    what = f'the operation {found[1] or found[2]}' if found else 'the model'
    raise UserError(f'LiteRT cannot run {what}: {lines[0] if lines else e}') from e
  return optional.load('ai_edge_litert.schema_py_generated').ModelT.InitFromPackedBuf(file, 0)


def operations(file: bytes) -> collections.Counter[tuple[str, str]]:
  """How often each (operation, type of its first output) occurs in a file."""
  interpreter = _interpreter(file, 1, delegate=False)
  types = {d['index']: np.dtype(d['dtype']).name for d in interpreter.get_tensor_details()}
  return collections.Counter(
    (op['op_name'], types[int(op['outputs'][0])]) for op in interpreter._get_ops_details()
  )


def _check(file: bytes, layers: int) -> None:
  found = operations(file)
  left = [name for name, _ in found if name.startswith(('STABLEHLO', 'Flex', 'CUSTOM'))]
  if left:
    raise UserError(f'LiteRT cannot run the operation {left[0]}')
  done = sum(n for (name, kind), n in found.items() if name in _LAYERS and kind == 'int8')
  if done < layers:
    rest = sorted({name for name, kind in found if name in _LAYERS and kind == 'float32'})
    raise UserError(
      f'LiteRT would run {layers - done} of {layers} int8 layers in float ({", ".join(rest)}): '
      'leave them to float by config.compress.int8.keep_float'
    )


def _interpreter(file: bytes | str | os.PathLike, threads: int, delegate: bool = True) -> Any:
  library = optional.load('ai_edge_litert.interpreter')
  source = {'model_content': file} if isinstance(file, bytes) else {'model_path': os.fspath(file)}
  kinds = library.OpResolverType
  kind = kinds.AUTO if delegate else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
  try:
    interpreter = library.Interpreter(
      **source, num_threads=threads, experimental_op_resolver_type=kind
    )
    interpreter.allocate_tensors()
  except (ValueError, RuntimeError) as e:
    name = 'the model' if isinstance(file, bytes) else file
    raise UserError(f'LiteRT cannot run {name}: {" ".join(str(e).split())}') from e
  return interpreter


class Runner:
  """Runs a file, one example at a time."""

  def __init__(self, file: bytes | str | os.PathLike, threads: int = 1):
    """Opens a file, or takes its content.

    Raises:
      UserError: LiteRT cannot read or run it.
    """
    self._interpreter = _interpreter(file, threads)
    signature = self._interpreter.get_signature_runner(_SIGNATURE)
    self.inputs = {n: d['index'] for n, d in signature.get_input_details().items()}
    self._shapes = {d['index']: tuple(d['shape']) for d in signature.get_input_details().values()}
    details = signature.get_input_details() | signature.get_output_details()
    self._outputs = {n: d['index'] for n, d in signature.get_output_details().items()}
    self.names = {n: d['name'] for n, d in details.items()}
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    schema = optional.load('ai_edge_litert.schema_py_generated')
    self.any_batch = schema.Model.GetRootAs(content, 0).Description() == portable.ANY_BATCH

  def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, as logits float32 `[B, C]`, of inputs `[B, ...]`; others are left alone.

    B is 1 unless `any_batch`.

    Raises:
      UserError: LiteRT cannot run the file on these shapes.
    """
    try:
      return self._run(inputs)
    except (ValueError, RuntimeError) as e:
      raise UserError(f'LiteRT cannot run the model: {" ".join(str(e).split())}') from e

  def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    shapes = {index: np.shape(inputs[name]) for name, index in self.inputs.items()}
    if shapes != self._shapes:
      for index, shape in shapes.items():
        self._interpreter.resize_tensor_input(index, shape)
      self._interpreter.allocate_tensors()
      self._shapes = shapes
    for name, index in self.inputs.items():
      self._interpreter.set_tensor(index, np.asarray(inputs[name]))
    self._interpreter.invoke()
    return {n: self._interpreter.get_tensor(index) for n, index in self._outputs.items()}
