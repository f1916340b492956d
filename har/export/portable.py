"""What LiteRT's converter leaves that not every reader of its files takes.

TFLite Micro and tfjs-tflite refuse paddings of 64 bits, OpenVINO and OpenCV values without a name.
And the converter fixes the batch: see `any_batch`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from har.errors import UserError
from har.export import optional
from har.export.rewrite import BATCH, batched

ANY_BATCH = b'any batch'
# Operations with the places of operands that are shapes, places or axes.
_INDICES = {'PAD': (1,), 'PADV2': (1,), 'MIRROR_PAD': (1,), 'SLICE': (1, 2), 'BROADCAST_TO': (1,)}


def name_values(graph: Any) -> None:
  """Gives short names to all values but inputs and outputs."""
  kept = {*graph.inputs, *graph.outputs}
  for i, tensor in enumerate(graph.tensors):
    if i not in kept:
      tensor.name = f't{i}'


def short_indices(model: Any, graph: Any) -> None:
  """Stores paddings and shapes of 64 bits in 32."""
  types = optional.load('ai_edge_litert.schema_py_generated').TensorType
  for name, operator in operators(model, graph):
    for place in _INDICES.get(name, ()):
      tensor = graph.tensors[operator.inputs[place]]
      data = model.buffers[tensor.buffer].data
      if tensor.type == types.INT64 and data is not None:
        tensor.type = types.INT32
        tensor.buffer = _add(model, data.view(np.int64).astype(np.int32))


def any_batch(model: Any, graph: Any, batch: int) -> bool:
  """Lets a file that was converted for a batch of a conspicuous size take any other.

  Readers work out the sizes of all values from those of the inputs, but for what is reshaped:
  there the file says -1. (What is cut could say so too, but XNNPACK then keeps the first size.)
  The file gives 1 as the size of a batch to those that ask no further.

  Args:
    model: the file's content.
    graph: its only graph.
    batch: a prime that divides no size but the batch's.

  Returns:
    Whether it could be done; if not, the content is of no use any more.
  """
  shapes: set[int] = set()
  others: set[int] = set()
  for name, operator in operators(model, graph):
    if name == 'RESHAPE':
      operator.builtinOptions = None  # the same shape once more
      operator.builtinOptionsType = 0
    for place, i in enumerate(operator.inputs):
      (shapes if (name, place) == ('RESHAPE', 1) else others).add(int(i))
  for i, tensor in enumerate(graph.tensors):
    shape = np.array(tensor.shape if tensor.shape is not None else (), np.int32)
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
      opened = _opened(shape, batch)
      if opened is None or np.all(opened == shape):
        return False
      tensor.shape = np.where(opened == -1, shape // batch, shape)
    elif i in shapes - others:
      opened = _opened(data.view(np.int32), batch)
      if opened is None:
        return False
      tensor.buffer = _add(model, opened)
    elif np.any(shape % batch == 0) or _counts(model, tensor, batch):
      return False
  # In the description, because LiteRT.js refuses inputs of open sizes; resizing needs none.
  model.description = ANY_BATCH
  return True


def of_any_batch(
  make: Callable[..., bytes],
  open_file: Callable[[bytes], Callable],
  inputs: Mapping[str, jax.ShapeDtypeStruct],
) -> bytes:
  """A file that takes any batch where that can be, else one for the batch of these shapes.

  Args:
    make: `make(inputs, batch)` writes a file for shapes that begin with a batch of that size, which
      it leaves open, or nothing if it cannot; `make(inputs)` leaves nothing open.
    open_file: runs a file.
    inputs: shapes and types, by name.
  """
  many = batched(inputs)
  file = make(many, BATCH) if many else b''
  if file and _takes_batches(open_file, file, inputs):
    return file
  return make(inputs)


def _takes_batches(
  open_file: Callable[[bytes], Callable], file: bytes, inputs: Mapping[str, Any]
) -> bool:
  """Whether a runtime indeed runs a file with a batch of two."""
  try:
    outs = open_file(file)({n: np.zeros((2, *s.shape[1:]), s.dtype) for n, s in inputs.items()})
  except UserError:
    return False
  return all(len(x) == 2 for x in outs.values())


def _opened(shape: np.ndarray, batch: int) -> np.ndarray | None:
  """The shape with -1 for what the batch multiplies, None if there are several."""
  found = (shape % batch == 0) & (shape > 0)
  return np.where(found, -1, shape).astype(np.int32) if found.sum() <= 1 else None


def _counts(model: Any, tensor: Any, batch: int) -> bool:
  """Whether a constant of whole numbers has the batch's size among them."""
  types = optional.load('ai_edge_litert.schema_py_generated').TensorType
  kinds: dict[Any, Callable] = {types.INT32: np.int32, types.INT64: np.int64}
  if tensor.type not in kinds or (tensor.quantization and tensor.quantization.scale is not None):
    return False
  values = model.buffers[tensor.buffer].data.view(kinds[tensor.type])
  return bool(np.any((values % batch == 0) & (values > 0)))


def operators(model: Any, graph: Any):
  """(name, operation) of each."""
  builtin = optional.load('ai_edge_litert.schema_py_generated').BuiltinOperator
  names = {value: name for name, value in vars(builtin).items() if isinstance(value, int)}
  for operator in graph.operators:
    yield names[model.operatorCodes[operator.opcodeIndex].builtinCode], operator


def _add(model: Any, values: np.ndarray) -> int:
  """Stores a constant; returns its place."""
  schema = optional.load('ai_edge_litert.schema_py_generated')
  buffer = schema.BufferT()
  buffer.data = values.view(np.uint8)
  model.buffers.append(buffer)
  return len(model.buffers) - 1
