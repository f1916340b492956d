"""What a browser takes to run models by itself.

ONNX Runtime's files, exported .onnx files, and their preprocessing, as far as `page/local.js`
knows it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.stream.exported import SOURCES, Model, describe
from har.stream.serve.offers import Offer

RUNTIME = ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
"""Of the package onnxruntime-web."""
_SIGNALS = ('resample', 'pad', 'resample_sensors', 'pad_sensors')
_FRAMES = ('square', 'whole')
_REST = ('window', 'smooth', 'normalise', 'mask', 'choose_frames', 'crop_centre')


def runtime(folder: str) -> dict[str, Path]:
  """The runtime's files by address.

  Raises:
    UserError: they are not there.
  """
  found = {f'/runtime/{name}': Path(folder) / name for name in RUNTIME}
  for path in found.values():
    if not path.is_file():
      raise UserError(
        f'--browser_runtime={folder}: has no {path.name}; npm pack onnxruntime-web, unpack it, and '
        'give the folder package/dist'
      )
  return found


def add(offers: Mapping[Any, Offer], folder: str) -> dict[str, Path]:
  """Tells of offers how a browser runs them; returns the files by address that it needs.

  Raises:
    UserError: the runtime is not there, or no model can be run so.
  """
  files = runtime(folder)
  for offer in offers.values():
    found = about(offer.open(), offer.file)
    if found is not None and found['sources'] == offer.about['sources']:
      offer.about['local'] = found
      files[f'/{found["model"]}'] = offer.file.with_suffix('.onnx')
  if len(files) == len(RUNTIME):
    raise UserError('--browser_runtime: no .onnx file beside the others that a browser can run')
  return files


def about(model: Model, file: Path) -> dict[str, Any] | None:
  """What a page has to know to run a model's .onnx file; None if it cannot.

  Args:
    model: opened.
    file: its .tflite file.
  """
  onnx = file.with_suffix('.onnx')
  if not onnx.is_file() or not all(map(_known, model.recorded.values())):
    return None
  described = describe(onnx)['inputs']
  inputs = []
  for name, one in model.recorded.items():
    steps = [step for step in one['steps'] if step['operation'] != 'window']
    known = {'name': name, 'source': SOURCES[one['kind']], 'shape': one['shape'][1:]}
    inputs.append(known | {'rate': _rate(one), 'steps': steps})
  return {
    'model': f'models/{onnx.parent.name}.onnx',
    'inputs': inputs,
    'names': list(described),
    'sources': sorted(model.sources),
  }


def _rate(one: Mapping[str, Any]) -> float:
  rates = next((step['rates'] for step in one['steps'] if step.get('rates')), [one['rate_hz']])
  return float(rates[0] or 0)


def _known(one: Mapping[str, Any]) -> bool:
  names = [step['operation'] for step in one['steps']]
  fits = {'signal': _SIGNALS, 'frames': _FRAMES}.get(one['kind'], ())
  same = all(len(set(s.get('rates') or [0])) == 1 for s in one['steps'])
  known = all(name in (*fits, *_REST) for name in names)
  return bool(fits) and known and same and _rate(one) > 0
