"""Opens a run's exported files with every client that is installed, and compares predictions.

    python tests/clients.py --config=configs/demo.py --workdir=runs/demo

The flags and overrides of the config are those of the run, whose files must have been exported
(--mode=export). Each .tflite and .onnx file is opened by ONNX Runtime, LiteRT, OpenVINO, TensorFlow
and tract, those that can be imported, and predicts test examples one by one. The table
says how many predictions agree with JAX's, and the largest difference of logits. `--save=FOLDER`
writes examples and logits too, for clients in other languages; clients.mjs reads it.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

import launch  # noqa: E402, F401  # its flags
from har.compress import variants  # noqa: E402
from har.evaluate.files import aligned  # noqa: E402
from har.export import exportable, run  # noqa: E402
from har.train import experiment  # noqa: E402

_EXAMPLES = flags.DEFINE_integer('examples', 100, 'At most; spread over the test split.')
_SAVE = flags.DEFINE_string('save', None, 'A folder for examples and logits.')


def _onnxruntime(file, about):
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.add_session_config_entry('session.x64quantprecision', '1')
  session = onnxruntime.InferenceSession(file, options, ['CPUExecutionProvider'])
  return lambda inputs: session.run(['logits'], inputs)[0]


def _interpreter(library):
  def opened(file, about):
    signature = library.Interpreter(file).get_signature_runner()
    return lambda inputs: signature(**inputs)['logits']

  return opened


def _litert(file, about):
  from ai_edge_litert import interpreter

  return _interpreter(interpreter)(file, about)


def _tensorflow(file, about):
  import tensorflow

  return _interpreter(tensorflow.lite)(file, about)


def _openvino(file, about, **settings):
  import openvino

  core = openvino.Core()
  # Kernels of lower precision are chosen by default where the processor has them.
  model = core.compile_model(file, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32', **settings})
  names = {name: about['inputs'][name]['tensor'] for name in about['inputs']}
  output = about['outputs']['logits']['tensor']

  def call(inputs):
    return model({names[name]: x for name, x in inputs.items()})[output]

  return call


def _openvino_float(file, about):
  """Without int8 kernels, which overflow on x86 processors without VNNI."""
  return _openvino(file, about, LP_TRANSFORMS_MODE='NO')


def _tract(file, about):
  import tract

  model = tract.onnx().load(file)
  names = [model.input_name(i) for i in range(model.input_count())]
  for i, name in enumerate(names):
    size = ','.join(str(n if isinstance(n, int) else 1) for n in about['inputs'][name]['shape'])
    model.set_input_fact(i, f'{size},f32')
  runnable = model.into_model().into_runnable()
  return lambda inputs: runnable.run([inputs[name] for name in names])[0].to_numpy()


# (client, suffix, what must be importable, what opens a file)
CLIENTS = (
  ('ONNX Runtime', '.onnx', 'onnxruntime', _onnxruntime),
  ('OpenVINO', '.onnx', 'openvino', _openvino),
  ('OpenVINO, float kernels', '.onnx', 'openvino', _openvino_float),
  ('tract', '.onnx', 'tract', _tract),
  ('LiteRT', '.tflite', 'ai_edge_litert', _litert),
  ('TensorFlow', '.tflite', 'tensorflow', _tensorflow),
  ('OpenVINO', '.tflite', 'openvino', _openvino),
  ('OpenVINO, float kernels', '.tflite', 'openvino', _openvino_float),
)


def _try(file, open_file, examples, expected):
  """(agreeing predictions, largest difference) or what went wrong."""
  about = json.loads(pathlib.Path(f'{file}.json').read_text())
  inputs = list(about['inputs'])
  try:
    call = open_file(str(file), about)
    logits = np.concatenate([call({n: one[n] for n in inputs}) for one in examples])
  except Exception as e:  # Whatever a client raises goes into the table.
    return ' '.join(str(e).split())[:70] or type(e).__name__, ''
  equal = (logits.argmax(-1) == expected.argmax(-1)).mean()
  return f'{100 * equal:.1f}%', f'{np.abs(logits - expected).max():.2g}'


def main(_):
  """See above."""
  import importlib.util

  config, workdir = flags.FLAGS['config'].value, pathlib.Path(flags.FLAGS['workdir'].value)
  places = {name: flags.FLAGS[name].value for name in ('data_dir', 'raw_dir')}
  opened = experiment.open_experiment(config, workdir, **places)
  rows = [('File', 'Client', 'Agree', 'Difference')]
  for one in run.choose(opened, flags.FLAGS['stages'].value):
    stage = one.name
    split = run.read_split(opened, stage)
    count = min(_EXAMPLES.value, len(split.examples))
    chosen = np.linspace(0, len(split.examples) - 1, count).round().astype(int)
    few = run.TestSplit([split.examples[i] for i in chosen], split.labels[chosen])
    for variant in variants.available(one):
      expected = run.run_jax(exportable.load(one, variant), few)[exportable.LOGITS]
      _save(few, expected, f'{stage}-{variant}')
      for client, suffix, package, open_file in CLIENTS:
        file = run.folder(opened, stage) / f'{variant}{suffix}'
        if file.exists() and importlib.util.find_spec(package):
          row = _try(file, open_file, few.examples, expected)
          rows.append((f'{stage}/{file.name}', client, *row))
          print(*rows[-1], flush=True)
  print(aligned(rows, left=2))


def _save(few, expected, name):
  """Raw float32 little-endian, and the shapes in a JSON."""
  if not _SAVE.value:
    return
  folder = pathlib.Path(_SAVE.value)
  folder.mkdir(parents=True, exist_ok=True)
  arrays = run.joined(few.examples) | {'expected': expected}
  for key, x in arrays.items():
    (folder / f'{name}.{key}.bin').write_bytes(np.ascontiguousarray(x, '<f4').tobytes())
  shapes = {key: x.shape for key, x in arrays.items()}
  (folder / f'{name}.json').write_text(json.dumps(shapes))


if __name__ == '__main__':
  app.run(main)
