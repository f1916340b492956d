"""What someone who runs an exported file has to know: the JSON beside it."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax

from har.data import options
from har.data.dataset import Dataset

_PACKAGES = {
  'tflite': ('jax', 'litert-converter', 'ai-edge-litert'),
  'onnx': ('jax', 'jax2onnx', 'onnx', 'onnxruntime'),
  'stablehlo': ('jax',),
}
_UNITS = {
  'imu': 'accelerometer x y z in g, gyroscope x y z in degrees per second; samples first',
  'rgb': 'RGB in [0, 1]; frames, rows, columns, channels',
  'depth': "a person's depth as three equal channels in [0, 1]; frames, rows, columns, channels",
  'skeleton': 'joint positions x y z in metres; frames, joints, coordinates',
}
_STEPS = {
  'imu': 'fit to length, then (x - mean) / std',
  'rgb': 'choose frames, resize the short side, crop the centre to size, then (x - mean) / std',
  'depth': 'choose frames, crop to the person, encode, crop the centre, then (x - mean) / std',
  'skeleton': 'fit to length, centre, scale, then (x - mean) / std; with velocity frame, the '
  'central differences of that, per recorded frame, after the coordinates',
}


def describe(
  file: bytes,
  kind: str,
  *,
  stage: str,
  variant: str,
  inputs: Mapping[str, jax.ShapeDtypeStruct],
  options_of: Mapping[str, Any],
  dataset: Dataset,
) -> dict[str, Any]:
  """The description of an exported file.

  Args:
    file: its content.
    kind: 'tflite', 'onnx' or 'stablehlo'.
    stage: name of the stage.
    variant: 'float32', 'int8', ...
    inputs: shapes and types of a batch of one, by name.
    options_of: `config.inputs` of the stage's modalities.
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
    described[name] |= {
      'units': f'{_UNITS[modality]}, before normalisation',
      'rate_hz': rates.get(modality),
      'steps': _STEPS[modality],
      'preprocessing': options.input_options(options_of[modality], modality),
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
