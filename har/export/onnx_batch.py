"""Leaves the size of the batch open in an ONNX graph that was traced for a conspicuous one."""

from typing import Any

import numpy as np

from har.export.onnx_graph import Graph

NAME = 'batch'


def any_batch(graph: Graph, batch: int) -> bool:
  """Puts what means "whatever it is" in the place of the batch's size.

  Args:
    graph: whose inputs begin with the batch.
    batch: a prime that divides no size but the batch's.

  Returns:
    Whether it could be done; if not, the graph is of no use any more.
  """
  # What is stored for the whole batch is the same for each example.
  for name, array in graph.constants.items():
    if array.ndim and array.dtype != np.int64 and array.shape[0] % batch == 0 and array.size:
      if np.any(array != array[:1]):
        return False
      graph.constants[name] = array[:1]
  for node in graph.nodes:
    if any(_holds(value, batch) for value in node.attributes.values()):
      return False
    for place, name in enumerate(node.input):
      array = graph.constants.get(name)
      if array is None or array.dtype != np.int64 or not _holds(array, batch):
        continue
      # A reshape works the size out, an expansion takes it from its operand.
      mark = {('Reshape', 1): -1, ('Expand', 1): 1}.get((node.op_type, place))
      alone = node.op_type == 'Expand' and node.input[0] in graph.constants
      if mark is None or alone or np.sum(array % batch == 0) > 1:
        return False
      opened = np.where(array % batch == 0, mark, array)
      node.input[place] = graph.constant(opened, 'shape')
  if any(_holds(np.array(x.shape), batch) for x in graph.constants.values()):
    return False
  for value in (*graph.model.graph.input, *graph.model.graph.output):
    first, *rest = value.type.tensor_type.shape.dim
    if first.dim_value != batch or any(size.dim_value % batch == 0 for size in rest):
      return False
    first.dim_param = NAME
  return True


def _holds(value: Any, batch: int) -> bool:
  """Whether there is a multiple of the batch's size in it."""
  if isinstance(value, int | list | tuple | np.ndarray):
    numbers = np.asarray(value)
    if np.issubdtype(numbers.dtype, np.integer):
      return bool(np.any((numbers > 0) & (numbers % batch == 0)))
  return False
