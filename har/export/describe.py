"""What someone who runs an exported file has to know: the JSON beside it."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax

from har.data.dataset import Dataset
from har.data.input import Input

_PACKAGES = {
  'tflite': ('jax', 'litert-converter', 'ai-edge-litert'),
  'onnx': ('jax', 'jax2onnx', 'onnx', 'onnxruntime'),
  'stablehlo': ('jax',),
}


def describe(
  file: bytes,
  kind: str,
  *,
  stage: str,
  variant: str,
  inputs: Mapping[str, jax.ShapeDtypeStruct],
  read: Mapping[str, Input],
  dataset: Dataset,
) -> dict[str, Any]:
  """The description of an exported file.

  Args:
    file: its content.
    kind: 'tflite', 'onnx' or 'stablehlo'.
    stage: name of the stage.
    variant: 'float32', 'int8', ...
    inputs: shapes and types of a batch of one, by name.
    read: the stage's inputs.
    dataset: whose classes and rates these are.
  """
  rates = dataset.metadata.get('rates', {})
  described = {}
  batch: int | str = 'batch' if kind == 'stablehlo' else 1
  for name, spec in inputs.items():
    modality = name.removesuffix('_mask').removesuffix('_present')
    described[name] = {'shape': [batch, *spec.shape[1:]], 'dtype': spec.dtype.name}
    if name == f'{modality}_present':
      described[name]['meaning'] = f'false where the example has no {modality} at all'
      continue
    if name != modality:
      described[name]['meaning'] = f'true where {modality} is recorded, false where it is padded'
      continue
    one = read[name]
    described[name] |= {'field': one.field, 'rate_hz': rates.get(one.field)}
    channels = dataset.channels.get(one.field, ())
    described[name] |= {
      'kind': one.kind,
      'channels': [{'name': title, 'unit': unit} for title, unit in channels],
      'steps': one.steps(),
    }
  packages = {p: importlib.metadata.version(p) for p in _PACKAGES[kind]}
  return {
    'stage': stage,
    'variant': variant,
    'format': kind,
    'dataset': dataset.name,
    'inputs': described,
    'output': {'name': 'logits', 'shape': [batch, len(dataset.class_names)]},
    'labels': list(dataset.class_names),
    'bytes': len(file),
    'sha256': hashlib.sha256(file).hexdigest(),
    'versions': {'python': platform.python_version(), **packages},
  }
