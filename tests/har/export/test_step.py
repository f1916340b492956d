"""Causal models become files that take a step of a stream, as the JSON beside each describes."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ai_edge_litert import interpreter

from configs import base
from har.compress import variants
from har.compress.quantise import FoldedModel, Scheme, calibrate
from har.compress.streaming import step_form
from har.data import dataset as dataset_lib
from har.errors import UserError
from har.export import exportable, litert, onnx, run
from har.models import registry
from har.train import experiment
from tests import fakes

README = pathlib.Path(exportable.__file__).with_name('README.md')
LENGTH = 5
FILES = ['float32.tflite', 'float32.onnx', 'float32.stablehlo', 'int8.tflite', 'int8.onnx']


class ShortDataset(fakes.SilentDataset):
  """Recordings of 3 to 5 samples; every third is absent."""

  def records(self, modalities):
    records = super().records(modalities)
    for i, one in enumerate(records):
      one.update({n: one[n][: 3 + i // 2 % 3] for n in ('imu', 'imu_mask')})
    return records


@pytest.fixture
def opened(tmp_path, monkeypatch):
  """Opens an experiment whose only stage, of this encoder, has drawn variables."""
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: ShortDataset())

  def load(opened, name, **_):
    stage = opened.stages[name]
    zeros = {n: np.zeros(x.shape, x.dtype) for n, x in stage.example.items()}
    return fakes.draw_variables(stage.model, zeros), {}

  def open_(**encoder):
    c = base.experiment('fake', ('imu',))
    c.runtime.update(devices=1, eval_batch_size=8)
    c.inputs.imu = {'length': LENGTH, 'fit': 'pad', 'rates': (50.0, 50.0)}
    c.encoders.imu = encoder
    c.stages.imu = base.stage(['imu'], learning_rate=1e-3, batch_size=8)
    c.order = ('imu',)
    found = experiment.open_experiment(c, tmp_path / 'run')
    monkeypatch.setattr(experiment, 'load', load)
    return found

  return open_


def stream_onnx(path, samples):
  """Logits after the last of `[T, C]`, by the code in the README."""
  (code,) = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
  code, count = re.subn(r"^path = '.*'$", f'path = {str(path)!r}', code, flags=re.MULTILINE)
  assert count == 1
  names = {'stream': samples}
  exec(code, names)
  return names['outputs']['logits']


def stream_tflite(path, samples):
  """Logits after the last of `[T, C]`, by what the description says."""
  about = json.loads(path.with_name(f'{path.name}.json').read_text())
  inputs, outputs = about['inputs'], about['outputs']
  carried = {name: one['from'] for name, one in inputs.items() if 'from' in one}
  assert {outputs[output]['to']: output for output in carried.values()} == carried
  state = {n: np.zeros([1, *inputs[n]['shape'][1:]], inputs[n]['dtype']) for n in carried}
  step = interpreter.Interpreter(str(path)).get_signature_runner()
  for x in samples:
    outs = step(imu=x[None], **state)
    state = {name: outs[output] for name, output in carried.items()}
  return outs['logits']


@pytest.mark.parametrize(
  'encoder',
  [
    {'kind': 'lstm', 'features': 8, 'layers': 1},
    {'kind': 'tcn', 'features': (8,), 'kernel': 3, 'pooling': 'mean_max'},
  ],
  ids=['lstm', 'tcn'],
)
def test_a_stream_by_the_description_gives_the_logits_of_whole_clips(
  opened, encoder, monkeypatch, capsys
):
  found, targets = opened(**encoder), run.targets
  # Other tests write those of whole clips.
  monkeypatch.setattr(run, 'targets', lambda form: targets(form) if form.state else ())
  steps = [name.replace('.', '.step.') for name in FILES]
  assert [path.name for path in run.run(found)] == steps
  lines = capsys.readouterr().out.splitlines()
  split = run.read_split(found, 'imu')
  there = [i for i, one in enumerate(split.examples) if one['imu_present'][0]]
  assert len(there) < len(split.examples)
  lengths = [int(split.examples[i]['imu_mask'].sum()) for i in there]
  assert set(lengths) == {3, 4, 5}
  (one,) = run.choose(found, None)
  whole = run.run_jax(exportable.load(one, 'float32'), split)['logits']
  for kind, stream in (('tflite', stream_tflite), ('onnx', stream_onnx)):
    path = run.folder(found, 'imu') / f'float32.step.{kind}'
    logits = [
      stream(path, split.examples[i]['imu'][0][:n]) for i, n in zip(there, lengths, strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(logits), whole[there], atol=1e-4)
  assert len(lines) == len(steps)
  for line in lines:
    assert f' in {len(there)} recordings sample by sample' in line
    assert line.endswith(' from whole clips') == ('float32' in line)


def test_what_is_not_causal_has_no_step(opened):
  found = opened(kind='lstm', features=8, layers=1, bidirectional=True)
  (one,) = run.choose(found, None)
  assert exportable.load(one, 'float32').step is None


def test_steps_that_disagree_with_whole_clips_are_removed(opened, monkeypatch, capsys):
  found = opened(kind='gru', features=8, layers=1)
  matrix = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)

  def whole(inputs):
    return {'logits': (inputs['imu'] * inputs['imu_mask'][..., None]).sum(1) @ matrix}

  def forgetful(inputs):
    total = 0.5 * inputs['carry_0'] + inputs['imu']
    return {'logits': total @ matrix, 'next_carry_0': total}

  shapes = {'imu': (1, LENGTH, 6), 'imu_mask': (1, LENGTH)}, {'imu': (1, 6), 'carry_0': (1, 6)}
  inputs, inputs_of_step = (
    {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in one.items()} for one in shapes
  )
  state = {'carry_0': 'next_carry_0'}
  made = exportable.Exportable
  step = made('imu', 'float32', forgetful, forgetful, inputs_of_step, state)
  monkeypatch.setattr(variants, 'available', lambda *_: ('float32',))
  monkeypatch.setattr(
    exportable, 'load', lambda *_: made('imu', 'float32', whole, whole, inputs, step=step)
  )
  with pytest.raises(UserError, match=r'3 of 6 files are not written: imu/float32\.step\.tflite, '):
    run.run(found)
  left = {path.name for path in run.folder(found, 'imu').iterdir()}
  assert left == {name + end for name in FILES[:3] for end in ('', '.json')}
  lines = capsys.readouterr().err.splitlines()
  assert sum('disagrees with JAX and was removed' in line for line in lines) == 3


def test_the_int8_step_of_an_lstm_is_at_most_four_tenths_of_the_float_one():
  x = {'imu': np.random.default_rng(0).standard_normal((4, 4, 6)).astype(np.float32)}
  encoder = {'kind': 'lstm', 'features': 64, 'layers': 2}
  model = registry.build(['imu'], {'imu': encoder}, {'kind': 'linear'}, 27)
  variables = fakes.draw_variables(model, x)
  sizes = {}
  for scheme in (None, Scheme()):
    whole = FoldedModel(model, variables, scheme)
    folded = calibrate(whole, whole.fold(variables, x), [x])
    step, values, first = step_form(whole, folded, x)
    values = jax.tree.map(np.asarray, values)

    def call(inputs, step=step, values=values):
      outs = step.apply(values, inputs, mark=True)
      return {'logits': outs['logits']} | {f'next_{n}': outs[n] for n in inputs if n != 'imu'}

    shapes = {n: jax.ShapeDtypeStruct(one.shape, one.dtype) for n, one in first.items()}
    for library in (litert, onnx):
      sizes[library, scheme] = len(library.convert(call, shapes, int8=scheme is not None))
  for library in (litert, onnx):
    assert sizes[library, Scheme()] <= 0.4 * sizes[library, None]
