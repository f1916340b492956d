"""LiteRT files without repetition: what is equal is stored once.

The converter gives each channel of each layer a zero point of eight bytes, all of them zero, and
stores shapes, steps and options once per use. In a narrow network that is a tenth of the int8
file. A FlatBuffer may refer to one part from many places, so no reader notices.
"""

from typing import Any

import numpy as np

from har.export import optional

_IDENTIFIER = b'TFL3'
_ALIGNMENT = 16  # of the bytes of constants, as the schema asks


def compact(model: Any) -> bytes:
  """The file of a model (`ModelT`); its operations and every number in it stay as they are."""
  parts: dict[Any, _Once] = {}

  def once(part: Any) -> Any:
    return part if part is None else parts.setdefault(_content(part), _Once(part))

  _drop_empty_buffers(model)
  for graph in model.subgraphs:
    for tensor in graph.tensors:
      tensor.quantization = once(tensor.quantization)
    for operator in graph.operators:
      operator.builtinOptions = once(operator.builtinOptions)
  builder = _sharing_builder()(1024)
  builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
  return bytes(builder.Output())


def _drop_empty_buffers(model: Any) -> None:
  """Whatever has no content refers to the first buffer, which has none by convention."""
  users = (*(t for graph in model.subgraphs for t in graph.tensors), *(model.metadata or ()))
  used = {user.buffer for user in users}
  kept, places = model.buffers[:1], {}
  for i, buffer in enumerate(model.buffers):
    places[i] = 0
    if i in used and buffer.data is not None and len(buffer.data):
      places[i] = len(kept)
      kept.append(buffer)
  model.buffers = kept
  for user in users:
    user.buffer = places[user.buffer]


class _Once:
  """A table that is written when it is first met; after that, only its place is told."""

  def __init__(self, table: Any):
    self._table = table
    self._place: int | None = None

  def Pack(self, builder: Any) -> int:
    """Called by the generated code of what holds the table."""
    if self._place is None:
      self._place = self._table.Pack(builder)
    return self._place


def _content(x: Any) -> Any:
  """What tells a table of the schema from others, hashable."""
  if isinstance(x, np.ndarray):
    return (x.dtype.str, x.tobytes())
  if isinstance(x, list):
    return tuple(map(_content, x))
  if hasattr(x, '__dict__'):
    return (type(x), *((name, _content(value)) for name, value in sorted(vars(x).items())))
  return x


def _sharing_builder() -> Any:
  flatbuffers: Any = optional.load('flatbuffers')

  class Builder(flatbuffers.Builder):
    """Writes a vector that was written before as a reference to it."""

    def __init__(self, size: int):
      super().__init__(size)
      self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
      key = (x.dtype.str, x.tobytes())
      if key not in self._places:
        self._places[key] = self._write(x)
      return self._places[key]

    def _write(self, x: np.ndarray) -> int:
      alignment = _ALIGNMENT if x.dtype == np.uint8 else x.dtype.itemsize
      self.StartVector(x.dtype.itemsize, x.size, alignment)
      content = x.astype(x.dtype.newbyteorder('<')).tobytes()
      self.head -= len(content)
      self.Bytes[self.head : self.head + len(content)] = content
      return self.EndVector()

  return Builder
