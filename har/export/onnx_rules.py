"""Brings an ONNX graph into the form that ONNX Runtime fuses and quantises, in few nodes.

jax2onnx writes each operation as JAX has it: convolutions between transpositions, biases and ReLUs
as additions and maxima. Int8 kernels are used only where DequantizeLinear, the layer with its bias
and QuantizeLinear follow each other directly.
"""

from typing import Any

import numpy as np

from har.export import onnx_int8
from har.export.onnx_batch import any_batch
from har.export.onnx_graph import Graph, Node

_ALIKE = ('Relu', 'Clip', 'QuantizeLinear')
_MOVING = ('Reshape', 'Transpose')
_POINTWISE = ('Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Pow', 'Where', 'Greater', 'Less')
# Attributes that say nothing when all their numbers are this.
_DEFAULTS = {
  'Conv': {'dilations': 1, 'strides': 1, 'pads': 0},
  'MaxPool': {'pads': 0},
  'DequantizeLinear': {'axis': 1},
}


def optimise(model: Any, batch: int = 0) -> tuple[Any, int]:
  """The model, rewritten, and how many layers are int8.

  Numbers stay the same but for biases, which int8 layers round.

  Args:
    model: `onnx.ModelProto`.
    batch: if not 0, a prime that divides no size but the batch's; that is then left open.

  Returns:
    None for the model if the batch cannot be left open.

  Raises:
    UserError: the model needs a loop or a branch.
  """
  graph = Graph(model)
  for step in (_fold_constants, _drop_expansions, _name_relus, _drop_zero_bias):
    step(graph)
  while any(
    step(graph) for step in (_add_bias, _sink_transposes, _sink_sums, _move_integers, _join_moves)
  ):
    pass
  onnx_int8.round_biases(graph)
  for step in (
    onnx_int8.pool_integers,
    onnx_int8.drop_clipped_relus,
    _drop_defaults,
    _share_results,
  ):
    step(graph)
  onnx_int8.unsign_shared_weights(graph)
  int8_layers = sum(1 for _ in onnx_int8.int8_layers(graph, graph.makers()))
  graph.drop_unused()
  return graph.finish() if not batch or any_batch(graph, batch) else None, int8_layers


def _fold_constants(graph: Graph) -> None:
  """Weights are stored as they are used: rounded, reshaped and transposed."""
  makers = {}
  for node in list(graph.nodes):
    kind, source = node.op_type, node.input[0] if node.input else ''
    attributes = node.attributes
    if source in graph.constants:
      x = graph.constants[source]
      if kind == 'Reshape' and node.input[1] in graph.constants:
        shape = [int(n) or x.shape[i] for i, n in enumerate(graph.constants[node.input[1]])]
        graph.constants[node.output[0]] = x.reshape(shape)
      elif kind == 'Transpose':
        graph.constants[node.output[0]] = x.transpose(attributes['perm'])
      elif kind == 'Concat' and all(name in graph.constants for name in node.input):
        parts = [graph.constants[name] for name in node.input]
        graph.constants[node.output[0]] = np.concatenate(parts, attributes['axis'])
      elif kind in ('Cast', 'Expand', 'Identity', 'Concat'):
        continue
      elif kind == 'QuantizeLinear':
        graph.constants[node.output[0]] = _rounded(x, *_scales(graph, node), attributes.get('axis'))
      else:
        makers[node.output[0]] = node
        continue
      graph.nodes.remove(node)
    elif kind == 'Transpose' and source in makers and makers[source].op_type == 'DequantizeLinear':
      _transpose_rounded(graph, makers[source], node, attributes['perm'])
      makers[node.output[0]] = graph.makers()[node.output[0]]


def _drop_expansions(graph: Graph) -> None:
  """Operands are spread over the shape of the others by the operation itself."""
  makers = graph.makers()

  def expansion(name: str) -> Node | None:
    node = makers.get(name)
    return node if node is not None and node.op_type == 'Expand' else None

  for node in graph.nodes:
    whole = [n for n in node.input if n not in graph.constants and expansion(n) is None]
    if node.op_type not in _POINTWISE or not whole:
      continue
    for place, name in enumerate(node.input):
      spread = expansion(name)
      x = graph.constants.get(name)
      if spread is not None:
        node.input[place] = spread.input[0]
      elif x is not None and x.size > 1 and np.all(x == x.flat[0]):
        node.input[place] = graph.constant(np.array(x.flat[0]), 'number')


def _scales(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray]:
  return graph.constants[node.input[1]], graph.constants[node.input[2]]


def _rounded(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int | None) -> np.ndarray:
  if scale.ndim:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    scale, zero = scale.reshape(shape), zero.reshape(shape)
  return np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)


def _transpose_rounded(graph: Graph, dequantise: Any, transpose: Any, perm: list[int]) -> None:
  attributes = dequantise.attributes
  if 'axis' in attributes:
    attributes['axis'] = list(perm).index(attributes['axis'])
  values = graph.constant(graph.constants[dequantise.input[0]].transpose(perm), 'weight')
  inputs = [values, *dequantise.input[1:]]
  new = Node('DequantizeLinear', inputs, [transpose.output[0]], attributes)
  graph.nodes[graph.nodes.index(transpose)] = new


def _name_relus(graph: Graph) -> None:
  """Maxima with zero, and what limits them from above, by the names that runtimes fuse."""
  for node in graph.nodes:
    if node.op_type == 'Max' and len(node.input) == 2:
      numbers = [i for i in node.input if i in graph.constants]
      if len(numbers) == 1 and not np.any(graph.constants[numbers[0]]):
        node.input.remove(numbers[0])
        node.op_type = 'Relu'
  makers, users = graph.makers(), graph.users()
  for node in list(graph.nodes):
    limits = [i for i in node.input if np.size(graph.constants.get(i, ())) == 1]
    relu = next((makers[i] for i in node.input if i in makers), None)
    if node.op_type != 'Min' or len(node.input) != 2 or len(limits) != 1 or relu is None:
      continue
    if relu.op_type == 'Relu' and graph.only_user(users, relu.output[0]) is node:
      limit = graph.constants[limits[0]].reshape(())
      zero = graph.constant(np.zeros((), limit.dtype), 'zero')
      graph.nodes.remove(relu)
      node.op_type = 'Clip'
      node.input[:] = [relu.input[0], zero, graph.constant(limit, 'limit')]


def _drop_zero_bias(graph: Graph) -> None:
  # A scalar crashes ONNX Runtime's quantiser, a vector of zeros makes its int8 product wrong.
  for node in graph.nodes:
    zero = len(node.input) == 3 and not np.any(graph.constants.get(node.input[2], 1))
    if node.op_type == 'Gemm' and zero:
      del node.input[2]


def _channels(array: np.ndarray, rank: int, axis: int, count: int) -> np.ndarray | None:
  """The numbers of each channel, if an array that is broadcast differs along that axis alone."""
  array = array.reshape((1,) * (rank - array.ndim) + array.shape)
  vector = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
  if array.shape[axis] not in (1, count) or np.any(vector != vector[:1]):
    return None
  return np.broadcast_to(vector[0], count)


def _add_bias(graph: Graph) -> bool:
  """Additions behind a layer, also behind a transposition, become its bias."""
  users = graph.users()
  for layer in graph.nodes:
    if layer.op_type not in onnx_int8.LAYERS or len(layer.input) != 2:
      continue
    after = graph.only_user(users, layer.output[0])
    perm = None
    last = layer.output[0]
    if after is not None and after.op_type == 'Transpose':
      perm, last = after.attributes['perm'], after.output[0]
      after = graph.only_user(users, last)
    if after is None or after.op_type != 'Add':
      continue
    other = next((i for i in after.input if i != last), '')
    if other not in graph.constants:
      continue
    rank = 2 if layer.op_type == 'Gemm' else 4
    axis = perm.index(1) if perm else 1
    count = _weight(graph, layer).shape[0 if layer.op_type == 'Conv' else 1]
    bias = _channels(graph.constants[other], rank, axis, count)
    if bias is not None:
      layer.input.append(graph.constant(bias.astype(np.float32), 'bias'))
      if layer.op_type == 'Gemm':
        layer.attributes = {}  # a factor of 0 for the bias that was not there
      graph.nodes.remove(after)
      _rename_output(graph, last, after.output[0])
      return True
  return False


def _rename_output(graph: Graph, old: str, new: str) -> None:
  """What made `old` makes `new`."""
  maker = graph.makers()[old]
  maker.output[0] = new


def _weight(graph: Graph, layer: Any) -> np.ndarray:
  name = layer.input[1]
  if name in graph.constants:
    return graph.constants[name]
  return graph.constants[graph.makers()[name].input[0]]


def _sink_transposes(graph: Graph) -> bool:
  """Behind what treats all elements alike, so that the layer meets what can be fused with it."""
  users = graph.users()
  for node in graph.nodes:
    if node.op_type != 'Transpose' or node.output[0] in graph.outputs:
      continue
    after = graph.only_user(users, node.output[0])
    if after is None or after.op_type not in _ALIKE or after.input[0] != node.output[0]:
      continue
    if any(np.ndim(graph.constants.get(i, 0)) for i in after.input[1:]):
      continue
    before, between, behind = node.input[0], node.output[0], after.output[0]
    after.input[0], after.output[0] = before, between
    node.input[0], node.output[0] = between, behind
    return True
  return False


def _sink_sums(graph: Graph) -> bool:
  """A sum of what was transposed alike is transposed once, behind it, as in residual networks."""
  makers, users = graph.makers(), graph.users()
  for node in graph.nodes:
    sides = [_before_transpose(graph, makers, name) for name in node.input]
    if node.op_type != 'Add' or node.output[0] in graph.outputs or None in sides:
      continue
    perms = [side[0].attributes['perm'] for side in sides if side]
    after = graph.only_user(users, node.output[0])
    if perms[0] != perms[1] or len(perms[0]) != 4 or after is None:
      continue
    for place, (transpose, rounded) in enumerate(filter(None, sides)):
      node.input[place] = transpose.input[0]
      if rounded is not None:
        plain = f'{node.output[0]}.{place}'
        new = Node('DequantizeLinear', [transpose.input[0], *rounded.input[1:]], [plain], {})
        graph.nodes.append(new)
        node.input[place] = plain
    out, node.output[0] = node.output[0], f'{node.output[0]}.sum'
    graph.nodes.append(Node('Transpose', [node.output[0]], [out], {'perm': perms[0]}))
    return True
  return False


def _before_transpose(graph, makers, name: str) -> tuple[Node, Node | None] | None:
  """The transpose that gives a value, and a DequantizeLinear behind it with one step for all."""
  node = makers.get(name)
  rounded = node if node is not None and node.op_type == 'DequantizeLinear' else None
  if rounded is not None:
    node = makers.get(rounded.input[0])
    if np.ndim(graph.constants[rounded.input[1]]):
      return None
  return (node, rounded) if node is not None and node.op_type == 'Transpose' else None


def _move_integers(graph: Graph) -> bool:
  """Reshapes and transposes come before DequantizeLinear, which then meets a layer."""
  makers, users = graph.makers(), graph.users()
  for node in graph.nodes:
    source = makers.get(node.input[0]) if node.op_type in _MOVING else None
    if source is None or source.op_type != 'DequantizeLinear' or source.input[0] not in makers:
      continue
    if np.ndim(graph.constants[source.input[1]]):
      continue
    moved = f'{node.output[0]}.int8'
    new = Node('DequantizeLinear', [moved, *source.input[1:]], [node.output[0]], {})
    node.input[0], node.output[0] = source.input[0], moved
    graph.nodes.append(new)
    if len(users[source.output[0]]) == 1:
      graph.nodes.remove(source)
    return True
  return False


def _join_moves(graph: Graph) -> bool:
  """Two transposes or reshapes in a row become one or none."""
  makers = graph.makers()
  for node in graph.nodes:
    first = makers.get(node.input[0]) if node.op_type in _MOVING else None
    if first is None or first.op_type != node.op_type:
      continue
    if node.op_type == 'Reshape':
      shape = graph.constants.get(node.input[1])
      if shape is None or 0 in shape:
        continue
      node.input[0] = first.input[0]
      return True
    perm = [first.attributes['perm'][i] for i in node.attributes['perm']]
    if perm == sorted(perm) and node.output[0] not in graph.outputs:
      graph.nodes.remove(node)
      graph.replace(node.output[0], first.input[0])
    else:
      new = Node('Transpose', [first.input[0]], [node.output[0]], {'perm': perm})
      graph.nodes[graph.nodes.index(node)] = new
    return True
  return False


def _drop_defaults(graph: Graph) -> None:
  for node in graph.nodes:
    for name, value in _DEFAULTS.get(node.op_type, {}).items():
      if name in node.attributes and np.all(np.equal(node.attributes[name], value)):
        del node.attributes[name]
    if node.op_type == 'Conv':  # Readers may infer it from the kernel, but not all do.
      node.attributes['kernel_shape'] = list(_weight(graph, node).shape[2:])


def _share_results(graph: Graph) -> None:
  """What is computed twice from the same values is computed once."""
  first: dict[Any, list[str]] = {}
  for node in graph.ordered():
    attributes = sorted((name, str(value)) for name, value in node.attributes.items())
    inputs = [_identity(graph, name) for name in node.input]
    key = (node.op_type, *inputs, *attributes)
    if key not in first:
      first[key] = node.output
    elif not graph.outputs & set(node.output):
      for name, same in zip(node.output, first[key], strict=True):
        graph.replace(name, same)


def _identity(graph: Graph, name: str) -> Any:
  """The same for constants that are equal, else the value's name."""
  if name not in graph.constants:
    return name
  x = np.asarray(graph.constants[name])
  return (x.dtype.str, x.shape, x.tobytes())
