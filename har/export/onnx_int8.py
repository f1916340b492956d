"""Rules for int8 layers of an ONNX graph, which come last (see `har.export.onnx_rules`)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from har.export.onnx_graph import Graph, Node

LAYERS = ('Conv', 'Gemm')


def round_biases(graph: Graph) -> None:
  """Biases of int8 layers in the steps of their sums: input step times weight step."""
  makers = graph.makers()
  for layer in int8_layers(graph, makers):
    if len(layer.input) != 3:
      continue
    step = graph.constants[makers[layer.input[0]].input[1]]
    steps = np.asarray(step * graph.constants[makers[layer.input[1]].input[1]])
    limits = np.iinfo(np.int32)
    bias = np.round(np.float64(graph.constants[layer.input[2]]) / steps)
    bias = np.clip(bias, limits.min, limits.max).astype(np.int32)
    values = graph.constant(np.asarray(bias), 'bias')
    scale = graph.constant(steps, 'bias_scale')
    name = f'{values}.float'
    per_channel: dict[str, Any] = {'axis': 0} if steps.ndim else {}
    graph.nodes.append(Node('DequantizeLinear', [values, scale], [name], per_channel))
    layer.input[2] = name


def int8_layers(graph: Graph, makers: Mapping[str, Node]) -> Iterator[Node]:
  """Layers both of whose operands are int8 values."""
  for layer in list(graph.nodes):
    if layer.op_type in LAYERS:
      sources = [makers.get(name) for name in layer.input[:2]]
      if all(s is not None and s.op_type == 'DequantizeLinear' for s in sources):
        yield layer


def unsign_shared_weights(graph: Graph) -> None:
  """Weights of several layers as uint8, into which ONNX Runtime fails to convert them twice.

  See `session.x64quantprecision` in `har.export.onnx.Runner`.
  """
  makers, users = graph.makers(), graph.users()
  for name in dict.fromkeys(layer.input[1] for layer in int8_layers(graph, makers)):
    node = makers[name]
    if len(users[name]) > 1 and graph.constants[node.input[0]].dtype == np.int8:
      values = graph.constants[node.input[0]].astype(np.int16) + 128
      zeros = np.full(graph.constants[node.input[1]].shape, 128, np.uint8)
      node.input[:] = [
        graph.constant(np.asarray(values.astype(np.uint8)), 'weight'),
        node.input[1],
        graph.constant(zeros, 'zero'),
      ]


def pool_integers(graph: Graph) -> None:
  """Maxima of int8 values instead of the same ones in float."""
  makers, users = graph.makers(), graph.users()
  for pool in [node for node in graph.nodes if node.op_type == 'MaxPool']:
    before = makers.get(pool.input[0])
    after = graph.only_user(users, pool.output[0])
    if before is None or after is None or before.op_type != 'DequantizeLinear':
      continue
    if after.op_type != 'QuantizeLinear' or not _same_steps(graph, before, after):
      continue
    pool.input[0], pool.output[0] = before.input[0], after.output[0]
    graph.nodes.remove(after)


def _same_steps(graph: Graph, one: Node, other: Node) -> bool:
  return all(
    np.array_equal(graph.constants[a], graph.constants[b])
    for a, b in zip(one.input[1:], other.input[1:], strict=True)
  )


def drop_clipped_relus(graph: Graph) -> None:
  """QuantizeLinear whose lowest value stands for zero is a ReLU itself.

  And one that reaches no higher than a limit from above is that, too.
  """
  makers = graph.makers()
  for node in graph.nodes:
    relu = makers.get(node.input[0]) if node.op_type == 'QuantizeLinear' else None
    if relu is None or relu.op_type not in ('Relu', 'Clip'):
      continue
    step, zero = (graph.constants[name] for name in node.input[1:])
    limits = [graph.constants[name] for name in relu.input[1:]]
    types = np.iinfo(zero.dtype)
    highest = step * (np.int32(types.max) - zero)
    within = not limits or (limits[0] == 0 and np.all(highest <= limits[1] + step / 2))
    if within and np.all(zero == types.min):
      node.input[0] = relu.input[0]
