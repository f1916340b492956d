"""An ONNX graph as lists and dicts, far quicker to work on than its protocol buffer."""

import dataclasses
import itertools
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from har.errors import UserError
from har.export import optional

_LETTERS = string.ascii_letters + string.digits


@dataclasses.dataclass(eq=False)
class Node:
  """An operation."""

  op_type: str
  input: list[str]
  output: list[str]
  attributes: dict[str, Any]


class Graph:
  """Nodes, and constants by name."""

  def __init__(self, model: Any):
    """Takes the content of an `onnx.ModelProto`.

    Raises:
      UserError: it has a loop or a branch.
    """
    self.onnx = optional.load('onnx')
    self.model = model
    value = self.onnx.helper.get_attribute_value
    for node in model.graph.node:
      if any(a.type == self.onnx.AttributeProto.GRAPH for a in node.attribute):
        raise UserError(f'the model would need the ONNX operation {node.op_type}')
    self.nodes = [
      Node(n.op_type, list(n.input), list(n.output), {a.name: value(a) for a in n.attribute})
      for n in model.graph.node
    ]
    arrays = self.onnx.numpy_helper
    self.constants = {i.name: arrays.to_array(i) for i in model.graph.initializer}
    self.inputs = {i.name for i in model.graph.input}
    self.outputs = {o.name for o in model.graph.output}
    self.made = 0

  def users(self) -> dict[str, list[Node]]:
    """The nodes that read each value."""
    found: dict[str, list[Node]] = {}
    for node in self.nodes:
      for name in node.input:
        found.setdefault(name, []).append(node)
    return found

  def makers(self) -> dict[str, Node]:
    """The node that makes each value."""
    return {name: node for node in self.nodes for name in node.output}

  def only_user(self, users: Mapping[str, list[Node]], name: str) -> Node | None:
    """The only node of `users` that reads a value, if it is read by one alone."""
    found = users.get(name, [])
    return found[0] if len(found) == 1 and name not in self.outputs else None

  def constant(self, array: np.ndarray, hint: str) -> str:
    """Adds a constant; returns its name."""
    self.made += 1
    name = f'{hint}.{self.made}'
    self.constants[name] = array
    return name

  def replace(self, old: str, new: str) -> None:
    """Everything that read `old` reads `new`."""
    for node in self.nodes:
      node.input[:] = [new if name == old else name for name in node.input]

  def drop_unused(self) -> None:
    """Leaves out what no output depends on, and brings nodes into an order that can be run."""
    needed, kept = set(self.outputs), []
    for node in reversed(self.ordered()):
      if needed & set(node.output):
        kept.append(node)
        needed.update(node.input)
    self.nodes = kept[::-1]
    self.constants = {name: array for name, array in self.constants.items() if name in needed}

  def finish(self) -> Any:
    """The model, with what is not used left out, and short names."""
    self.drop_unused()
    graph = self.model.graph
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    names = short_names(self.nodes, self.constants, self.inputs | self.outputs)
    make = self.onnx.helper.make_node
    for node in self.nodes:
      inputs, outputs = ([names[n] for n in group] for group in (node.input, node.output))
      graph.node.append(make(node.op_type, inputs, outputs, **node.attributes))
    stored = {names[name]: array for name, array in self.constants.items()}
    graph.initializer.extend(self._tensor(name, array) for name, array in stored.items())
    return self.model

  def _tensor(self, name: str, array: np.ndarray) -> Any:
    array = np.array(array, order='C')
    if array.dtype != np.int64:
      return self.onnx.numpy_helper.from_array(array, name)
    # Shapes, as numbers of a byte or two instead of eight.
    return self.onnx.helper.make_tensor(
      name, self.onnx.TensorProto.INT64, array.shape, array.ravel().tolist()
    )

  def ordered(self) -> list[Node]:
    """The nodes, each behind those whose values it reads."""
    makers, ordered, done = self.makers(), [], set()
    stack = list(reversed(self.nodes))
    while stack:
      node = stack[-1]
      waiting = [makers[i] for i in node.input if i in makers and makers[i] not in done]
      if waiting:
        stack.extend(waiting)
        continue
      stack.pop()
      if node not in done:
        done.add(node)
        ordered.append(node)
    return ordered


def short_names(
  nodes: Sequence[Node], constants: Mapping[str, np.ndarray], kept: set[str]
) -> dict[str, str]:
  """New names of a letter or a few for all values; in small networks names count.

  Args:
    nodes: all operations.
    constants: arrays by name; equal shapes and equal numbers get one name. (Zero points of
      channels that are shared confuse ONNX Runtime's quantiser.)
    kept: names that stay.
  """
  names = {name: name for name in kept}
  equal: dict[tuple[str, tuple[int, ...], bytes], str] = {}
  free = (name for name in map(_letters, itertools.count()) if name not in kept)
  for name in (*constants, *(name for node in nodes for name in node.output)):
    if name in names:
      continue
    x = np.asarray(constants.get(name, np.nan))
    if name in constants and (x.dtype == np.int64 or x.ndim == 0):
      key = (x.dtype.str, x.shape, x.tobytes())
      names[name] = equal[key] = equal.get(key) or next(free)
    else:
      names[name] = next(free)
  return names


def _letters(number: int) -> str:
  text = ''
  while True:
    number, digit = divmod(number, len(_LETTERS))
    text = _LETTERS[digit] + text
    if not number:
      return text
    number -= 1
