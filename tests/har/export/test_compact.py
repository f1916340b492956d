"""Files without repetition hold the same numbers, and are smaller by what they repeated."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from har.export import compact, litert
from tests.har.export.stand_in import example, network, quantised


@pytest.fixture(scope='module')
def files():
  """An int8 file as the converter writes it, and compacted."""
  call, inputs = network('skeleton')
  rounded = quantised(call, example(inputs))
  found = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(compact, 'compact', lambda model: found.append(_plainly(model)) or found[0])
    litert.convert(lambda x: rounded(x, mark=True), inputs, int8=True)
  return inputs, found[0], compact.compact(schema.ModelT.InitFromPackedBuf(found[0], 0))


def _plainly(model):
  builder = flatbuffers.Builder(1024)
  builder.Finish(model.Pack(builder), file_identifier=b'TFL3')
  return bytes(builder.Output())


def _tensors(file):
  model = schema.ModelT.InitFromPackedBuf(file, 0)
  (graph,) = model.subgraphs
  return [
    (
      list(t.shape),
      t.type,
      None if model.buffers[t.buffer].data is None else model.buffers[t.buffer].data.tobytes(),
      None if t.quantization.scale is None else t.quantization.scale.tolist(),
      None if t.quantization.zeroPoint is None else t.quantization.zeroPoint.tolist(),
      t.quantization.quantizedDimension,
    )
    for t in graph.tensors
  ]


def test_every_tensor_and_operation_stays(files):
  _, before, after = files
  assert _tensors(after) == _tensors(before)
  assert litert.operations(after) == litert.operations(before)


def test_numbers_stay_bit_equal(files):
  inputs, before, after = files
  for seed in range(3):
    given = example(inputs, seed)
    np.testing.assert_array_equal(*(litert.Runner(f)(given)['logits'] for f in (after, before)))


def test_zero_points_of_channels_are_stored_once(files):
  _, before, after = files
  lengths = [len(zero) for *_, zero, _ in _tensors(before) if zero is not None and len(zero) > 1]
  assert len(lengths) > len(set(lengths))
  repeated = 8 * (sum(lengths) - sum(set(lengths)))
  assert len(after) <= len(before) - repeated


def test_constants_are_aligned(files):
  _, _, after = files
  model = schema.Model.GetRootAs(after, 0)
  found = 0
  for i in range(model.BuffersLength()):
    buffer = model.Buffers(i)
    if not buffer.DataIsNone() and buffer.DataLength():
      at = buffer._tab.Vector(buffer._tab.Offset(4))
      assert at % 16 == 0
      found += 1
  assert found >= 3
