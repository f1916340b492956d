"""ONNX files, in float and in int8 with QuantizeLinear and DequantizeLinear (QDQ)."""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend import core

from har.compress.fake_quant import MARK
from har.errors import UserError
from har.export import onnx_batch, onnx_rules, optional, portable, supported
from har.export.rewrite import Call, marked_layers, rewrite, trace
from har.export.values import attributes_of

OPSET = 21


def convert(call: Call, inputs: Mapping[str, jax.ShapeDtypeStruct], *, int8: bool = False) -> bytes:
  """The file that computes `call` for inputs of these shapes.

  If all of them begin with a batch of one, the file takes any batch, where its operations allow it.

  Args:
    call: maps inputs to outputs, both by name; for int8 with marks, see
      `har.compress.fake_quant.MARK`.
    inputs: shapes and types, by name.
    int8: what is marked must run in int8.

  Raises:
    UserError: ONNX lacks an operation, or a marked layer did not become int8.
  """
  supported.check('ONNX', trace(call, inputs).closed)
  return portable.of_any_batch(functools.partial(_convert, call, int8), Runner, inputs)


def _convert(call: Call, int8: bool, inputs, batch: int = 0) -> bytes:
  """A file for these shapes; if `batch`, with that left open, or nothing if it cannot be."""
  # Traced here, because jax2onnx replaces functions of JAX while it traces.
  traced = trace(rewrite(call, inputs), inputs)
  run = core.jaxpr_as_fun(traced.closed)
  with _lowerings():
    try:
      model = optional.load('jax2onnx').to_onnx(
        lambda *args: tuple(run(*args)),
        [inputs[n] for n in traced.inputs],
        model_name='har',
        opset=OPSET,
        input_names=traced.inputs,
        output_names=traced.outputs,
      )
      model, int8_layers = onnx_rules.optimise(model, batch)
    except (RuntimeError, ValueError, TypeError, KeyError) as e:
      lines = str(e).splitlines() or [type(e).__name__]
      raise UserError(f'ONNX cannot express the model: {lines[0]}') from e
  if model is None:
    return b''
  marked = marked_layers(traced.closed)
  if int8 and int8_layers < marked:
    raise UserError(
      f'ONNX would run {marked - int8_layers} of {marked} int8 layers '
      'in float: leave them to float by config.compress.int8.keep_float'
    )
  return model.SerializeToString()


@contextlib.contextmanager
def _lowerings() -> Iterator[None]:
  """Gives jax2onnx our lowerings for a while."""
  plugins = optional.load('jax2onnx.plugins.plugin_system')
  plugins.import_all_plugins()
  registry = plugins.PLUGIN_REGISTRY
  lower = {
    'broadcast_in_dim': _lower_broadcast,
    'composite': _lower_mark,
    'reduce_window_max': _lower_pool,
  }
  before = {name: registry.get(name) for name in lower}
  for name, function in lower.items():
    plugin = type('Plugin', (plugins.PrimitiveLeafPlugin,), {'lower': staticmethod(function)})()
    plugin.primitive, plugin.metadata = name, {}
    registry[name] = plugin
  try:
    yield
  finally:
    for name, plugin in before.items():
      if plugin is None:
        del registry[name]
      else:
        registry[name] = plugin


def _lower_broadcast(ctx: Any, eqn: Any) -> None:
  """jax2onnx stores constants as large as they are spread."""
  x = ctx.get_value_for_var(eqn.invars[0], name_hint=ctx.fresh_name('x'))
  shape, out = eqn.params['shape'], eqn.outvars[0]
  ones = np.ones(len(shape), np.int64)
  ones[list(eqn.params['broadcast_dimensions'])] = eqn.invars[0].aval.shape
  for operation, sizes in (('Reshape', ones), ('Expand', np.array(shape, np.int64))):
    name = ctx.fresh_name('shape')
    sizes_value = ctx.builder.add_initializer_from_array(name=name, array=sizes)
    like = ctx.get_value_for_var(out, name_hint=ctx.fresh_name('spread'))
    y = getattr(ctx.builder, operation)(x, sizes_value, _outputs=[ctx.fresh_name('spread')])
    y.type, y.shape = like.type, optional.load('onnx_ir').Shape(tuple(int(n) for n in sizes))
    x = y
  ctx.bind_value_for_var(out, x)


def _lower_mark(ctx: Any, eqn: Any) -> None:
  if eqn.params['name'] != MARK:
    raise NotImplementedError(f'the composite {eqn.params["name"]}')
  ir = optional.load('onnx_ir')
  attributes = attributes_of(eqn)
  x = ctx.get_value_for_var(eqn.invars[0], name_hint=ctx.fresh_name('x'))
  out = ctx.get_value_for_var(eqn.outvars[0], name_hint=ctx.fresh_name('rounded'))
  scale: Any = np.float32(attributes['scale'])
  zero: Any = np.int8(attributes['zero_point'])
  kind, axis = ir.DataType.INT8, {}
  if 'quantization_dimension' in attributes:
    axis = {'axis': int(attributes['quantization_dimension'])}
  else:
    # Unsigned, which ONNX Runtime's kernels for x86 want.
    scale, zero = scale.reshape(()), np.uint8(np.int16(zero) + 128).reshape(())
    kind = ir.DataType.UINT8
  add = ctx.builder.add_initializer_from_array
  scale = add(name=ctx.fresh_name('scale'), array=scale)
  zero = add(name=ctx.fresh_name('zero'), array=zero)
  q = ctx.builder.QuantizeLinear(x, scale, zero, _outputs=[ctx.fresh_name('q')], **axis)
  q.type, q.shape = ir.TensorType(kind), out.shape
  y = ctx.builder.DequantizeLinear(q, scale, zero, _outputs=[ctx.fresh_name('rounded')], **axis)
  y.type, y.shape = out.type, out.shape
  ctx.bind_value_for_var(eqn.outvars[0], y)


def _lower_pool(ctx: Any, eqn: Any) -> None:
  """jax2onnx pools over all axes, which ONNX Runtime refuses for more than three."""
  ir = optional.load('onnx_ir')
  p = eqn.params
  window, strides, pads = p['window_dimensions'], p['window_strides'], p['padding']
  if len(window) != 4 or {window[0], window[3]} != {1}:
    raise NotImplementedError(f'a max pool with the window {window}')
  x = ctx.get_value_for_var(eqn.invars[0], name_hint=ctx.fresh_name('x'))
  out = ctx.get_value_for_var(eqn.outvars[0], name_hint=ctx.fresh_name('pooled'))
  shapes = [eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape]
  first = [(n, c, h, w) for n, h, w, c in shapes]

  def typed(value, shape):
    value.type, value.shape = out.type, ir.Shape(shape)
    return value

  x = ctx.builder.Transpose(x, _outputs=[ctx.fresh_name('nchw')], perm=(0, 3, 1, 2))
  y = ctx.builder.MaxPool(
    typed(x, first[0]),
    _outputs=[ctx.fresh_name('pool')],
    kernel_shape=[int(n) for n in window[1:3]],
    strides=[int(n) for n in strides[1:3]],
    pads=[int(n) for n in (pads[1][0], pads[2][0], pads[1][1], pads[2][1])],
  )
  y = typed(y, first[1])
  y = ctx.builder.Transpose(y, _outputs=[ctx.fresh_name('nhwc')], perm=(0, 2, 3, 1))
  ctx.bind_value_for_var(eqn.outvars[0], typed(y, shapes[1]))


class Runner:
  """Runs a file with ONNX Runtime."""

  def __init__(self, file: bytes | str | os.PathLike, threads: int = 1, optimised: str = ''):
    """Opens a file, or takes its content.

    Args:
      file: path or content.
      threads: of computation.
      optimised: a path where ONNX Runtime writes the graph that it made of the file.

    Raises:
      UserError: ONNX Runtime cannot read or run it.
    """
    library = optional.load('onnxruntime')
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On x86 without VNNI, sums of unsigned times signed products would saturate.
    options.add_session_config_entry('session.x64quantprecision', '1')
    if optimised:
      options.optimized_model_filepath = optimised
    self._file = 'the model' if isinstance(file, bytes) else file
    with self._errors():
      source = file if isinstance(file, bytes) else os.fspath(file)
      self._session = library.InferenceSession(source, options, ['CPUExecutionProvider'])
    self.inputs = tuple(i.name for i in self._session.get_inputs())
    self._outputs = tuple(o.name for o in self._session.get_outputs())
    self.names = {n: n for n in (*self.inputs, *self._outputs)}
    self.any_batch = all(i.shape[0] == onnx_batch.NAME for i in self._session.get_inputs())

  def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, as logits float32 `[B, C]`, of inputs `[B, ...]`; others are left alone.

    B is 1 unless `any_batch`.

    Raises:
      UserError: ONNX Runtime cannot run the file on these shapes.
    """
    with self._errors():
      outs = self._session.run(self._outputs, {n: np.asarray(inputs[n]) for n in self.inputs})
    return dict(zip(self._outputs, outs, strict=True))

  @contextlib.contextmanager
  def _errors(self) -> Iterator[None]:
    """Says in a line what ONNX Runtime raises; its errors have nothing else in common."""
    state = optional.load('onnxruntime').capi.onnxruntime_pybind11_state
    errors = (
      *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
      *(state.NoSuchFile, state.NotImplemented, state.RuntimeException),
    )
    try:
      yield
    except errors as e:
      raise UserError(f'ONNX Runtime cannot run {self._file}: {" ".join(str(e).split())}') from e
