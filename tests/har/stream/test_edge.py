"""What requirements-edge.txt names is what recordings and live sources take, and it is enough."""

import ast
import json
import pathlib
import re
import subprocess
import sys

import numpy as np

from har.stream import predict
from har.stream.exported import open_model
from har.stream.options import Options
from tests.har.stream import exports
from tests.launching import ROOT

MODULES = {'ai-edge-litert': 'ai_edge_litert', 'pillow': 'PIL'}
# Of the picture and of MAT files, as the file says above what it names.
BESIDES = {'matplotlib', 'scipy', 'h5py'}
OURS = ('har', 'data_builders')
RUN = """
import sys

class Missing:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in BLOCKED:
      raise ModuleNotFoundError(f'No module named {name!r}')

BLOCKED = set(sys.argv[1].split(','))
sys.meta_path.insert(0, Missing())
from har.stream import __main__ as live
from har.stream import delays, predict
model, inputs, output, *flags = sys.argv[2:]
assert predict.main([model, f'--input={inputs}', f'--output={output}', *flags]) == 0
assert live.main([model, f'--source={inputs}', *flags]) == 0
assert not BLOCKED & set(sys.modules)
"""
BLOCKED = (
  *('jax', 'jaxlib', 'flax', 'optax', 'orbax', 'chex', 'tensorflow', 'tensorflow_datasets'),
  *('grain', 'ml_collections', 'absl', 'etils', 'sklearn', 'cv2', 'onnxruntime', *BESIDES),
)


def modules(tree):
  """Names that a file may import, wherever in it."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f'{node.module}.{one.name}' for one in node.names)


def imported(paths):
  """Packages of others that files import, by themselves and by what of ours they import."""
  left, seen, found = list(paths), set(), set()
  while left:
    path = left.pop()
    if path in seen or not path.exists():
      continue
    seen.add(path)
    for name in modules(ast.parse(path.read_text())):
      first = name.partition('.')[0]
      if first in OURS:
        place = pathlib.Path(ROOT, *name.split('.'))
        left += [place.with_suffix('.py'), place / '__init__.py']
      elif first not in sys.stdlib_module_names:
        found.add(first)
  return found


def test_the_requirements_are_what_is_imported_and_no_more():
  text = pathlib.Path(ROOT, 'requirements-edge.txt').read_text()
  named = set(re.findall(r'^([a-z][\w-]*)', text, re.MULTILINE))
  paths = pathlib.Path(ROOT, 'har', 'stream').glob('*.py')
  assert imported(paths) - BESIDES == {MODULES.get(one, one) for one in named}
  for one in BESIDES:
    assert one in text.partition('numpy')[0]


def test_it_runs_where_nothing_else_is_installed(both, tmp_path):
  samples = exports.table(tmp_path / 'a.csv', exports.movement(6.0))
  pictures = np.zeros((90, 24, 32, 3), np.uint8)
  inputs = [str(samples), str(exports.film(tmp_path / 'a.mkv', pictures))]
  out = tmp_path / 'out'
  arguments = [f'--model={both}', ','.join(inputs), str(out), '--seconds=1', '--step=0.25']
  done = subprocess.run(
    [sys.executable, '-c', RUN, ','.join(BLOCKED), *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert 'timeline.png is not drawn: it takes Matplotlib (pip install matplotlib)' in done.stderr
  assert sorted(one.name for one in out.iterdir()) == ['timeline.csv', 'timeline.json']
  predict.predict(open_model(both), inputs, tmp_path / 'here', Options(seconds=1.0, step=0.25))
  here = (tmp_path / 'here' / 'timeline.csv').read_text()
  assert (out / 'timeline.csv').read_text() == here
  counted = json.loads(done.stdout.splitlines()[-1])
  assert counted['taken'] == {'imu': 300, 'video': 90}
  assert counted['windows'] == {'known': len(here.splitlines()) - 1, 'passed_over': 0}
