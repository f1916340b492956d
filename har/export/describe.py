"""What someone who runs an exported file has to know: the JSON beside it."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from har.data.dataset import Dataset
from har.data.flow import Flow
from har.data.input import Input
from har.data.windows import Windowed
from har.evaluate import decision, robustness_table
from har.export.exportable import LOGITS, Exportable

_PACKAGES = {
  'tflite': ('jax', 'litert-converter', 'ai-edge-litert'),
  'onnx': ('jax', 'jax2onnx', 'onnx', 'onnxruntime'),
  'stablehlo': ('jax',),
}
# With the file and its inputs by name put in.
_OPEN = {
  'tflite': "ai_edge_litert.interpreter.Interpreter('{0}').get_signature_runner()"
  '(**{{{1}}})  # or tensorflow.lite.Interpreter',
  'onnx': "onnxruntime.InferenceSession('{0}').run(None, {{{1}}})",
  'stablehlo': "jax.export.deserialize(bytearray(open('{0}', 'rb').read())).call({{{1}}})",
}
_LOOKED_AT = 32  # recordings
_MEANINGS = {
  LOGITS: 'one per label; their softmax gives probabilities',
  'anomaly': 'how unlike the example is to what was trained on',
}


class Opened(Protocol):
  """What is told of a file by what runs it: `Runner` of each format."""

  names: Mapping[str, str]  # what inputs and outputs are called inside the file
  any_batch: bool  # whether it takes batches of any size


def describe(
  file: bytes,
  kind: str,
  variant: Exportable,
  runner: Opened,
  *,
  read: Mapping[str, Input],
  dataset: Dataset,
  alarm: Mapping[str, Any] | None = None,
  rows: Mapping[str, int] | None = None,
  measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The description of an exported file.

  Args:
    file: its content.
    kind: 'tflite', 'onnx' or 'stablehlo'.
    variant: what it was made of.
    runner: of the file.
    read: the stage's inputs.
    dataset: whose classes, channels and rates these are.
    alarm: the threshold of the score that tells abnormal from normal, and what it was fitted on,
      see `har.evaluate.anomaly.write_thresholds`; None if there is none.
    rows: by input, see `usual_rows`.
    measured: see `measured_of`.
  """
  names, batch = runner.names, 'batch' if runner.any_batch else 1

  def array(name: str, spec: Any) -> dict[str, Any]:
    shape = [batch, *spec.shape[1:]]
    return {'tensor': names[name], 'shape': shape, 'dtype': spec.dtype.name}

  inputs = {
    name: array(name, spec) | _input(name, variant.state, read, dataset)
    for name, spec in variant.inputs.items()
  }
  for name, count in (rows or {}).items():
    inputs[name]['rows'] = count
  back = {output: name for name, output in variant.state.items()}
  given = ', '.join(f'{name!r}: {name}' for name in inputs)
  packages = {p: importlib.metadata.version(p) for p in _PACKAGES[kind]}
  return {
    'stage': variant.stage,
    'variant': variant.variant,
    'format': kind,
    'dataset': dataset.name,
    'open': _OPEN[kind].format(f'{variant.stem}.{kind}', given),
    'batch': 'any' if runner.any_batch else 1,
    'inputs': inputs,
    'outputs': {
      name: array(name, spec) | _output(name, back) for name, spec in variant.outputs.items()
    },
    'labels': list(dataset.class_names),
    'abnormal': list(dataset.metadata.get('abnormal', ())),
    'alarm': alarm,
    **(measured or {}),
    'bytes': len(file),
    'sha256': hashlib.sha256(file).hexdigest(),
    'versions': {'python': platform.python_version(), **packages},
  }


def measured_of(workdir: Path, stage: str) -> dict[str, Any]:
  """What evaluations of a run found of a stage in float32, as far as there were any.

  `calibration`, how its outputs become probabilities that can be fused with others' (see
  `har.evaluate.decision.Expert`), and `harmless_shift`, seconds (see
  `har.evaluate.robustness_table`).

  Raises:
    UserError: a file is damaged.
  """
  experts = (decision.read(workdir) or {}).get('experts', {})
  shifts = (robustness_table.read(workdir) or {}).get('harmless_shift', {})
  found = {'calibration': experts.get(stage), 'harmless_shift': shifts.get(stage)}
  return {name: value for name, value in found.items() if value is not None}


def usual_rows(read: Mapping[str, Input], dataset: Dataset) -> dict[str, int]:
  """Samples or frames of a recording by input, the median of a few spread over the dataset."""
  found = {}
  for name, one in read.items():
    records = dataset.records((one.field,))
    places = np.unique(np.linspace(0, len(records) - 1, _LOOKED_AT).round().astype(int))
    lengths = [len(records[i][one.field]) for i in places.tolist()]
    if recorded := [count for count in lengths if count]:
      found[name] = int(np.median(recorded))
  return found


def _input(
  name: str, state: Mapping[str, str], read: Mapping[str, Input], dataset: Dataset
) -> dict[str, Any]:
  """What an input means."""
  source = name.removesuffix('_mask').removesuffix('_present')
  if name in state:
    text = 'state: zeros at the start of a stream, then what the step before gave as `from`'
    return {'meaning': text, 'from': state[name]}
  if name == f'{source}_present':
    return {'meaning': f'1 where the example has {source}, 0 where it has none at all'}
  if name != source:
    return {'meaning': f'1 where {source} is recorded, 0 where it is padded'}
  about = {'meaning': 'the next sample of the stream, as `steps` prepare a whole clip, unpadded'}
  return (about if state else {}) | _recording(read[name], dataset)


def _output(name: str, back: Mapping[str, str]) -> dict[str, Any]:
  """What an output means."""
  if name in back:
    return {'meaning': 'state: goes into the next step as `to`', 'to': back[name]}
  return {'meaning': _MEANINGS[name]} if name in _MEANINGS else {}


def _recording(one: Input, dataset: Dataset) -> dict[str, Any]:
  """What is recorded, and the way from there into the file."""
  before = dataset.steps(one.field) if isinstance(dataset, Windowed) else []
  notes = dataset.metadata.get('frames', {})
  stored = notes.get(one.field)
  if one.kind == Flow.kind and 'rgb' in notes:
    stored = f'{stored}; of frames stored as {notes["rgb"]}'
  return {
    'kind': one.kind,
    'field': one.field,
    'rate_hz': dataset.metadata.get('rates', {}).get(one.field),
    'stored': stored,
    'channels': [{'name': n, 'unit': unit} for n, unit in dataset.channels.get(one.field, ())],
    'steps': [*before, *one.steps()],
  }
