"""What the benchmark of streams times is what it names, and its figures are right."""

import jax
import numpy as np
import pytest

from har.compress.options import Scheme
from har.export import litert, onnx, stream_benchmark
from har.models import registry
from tests import fakes

CLIPS = np.random.default_rng(0).standard_normal((1, 3, 12, 12, 3)).astype(np.float32)
ENCODERS = {
  'tsm': {'temporal': 'mean', 'shift': 'causal'},
  'lstm': {'temporal': 'lstm', 'features': 4},
  'gru': {'temporal': 'gru', 'features': 4},
  'tcn': {'temporal': 'tcn', 'features': 4},
}


@pytest.mark.parametrize('scheme', [None, Scheme()], ids=['float', 'int8'])
@pytest.mark.parametrize('name', ENCODERS)
def test_files_of_steps_and_of_clips_give_the_same_logits(monkeypatch, scheme, name):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', fakes.TinyFrames)
  (clip, whole), (step, first) = stream_benchmark.forms_of(
    {'kind': 'tiny', **ENCODERS[name]}, CLIPS, scheme, step=True
  )
  np.testing.assert_array_equal(first['rgb'], CLIPS[:, 0])
  expected = np.asarray(jax.jit(clip)(whole)['logits'])
  for library in (litert, onnx):
    whole_file, step_file = (
      library.convert(call, stream_benchmark.shapes_of(given), int8=scheme is not None)
      for call, given in ((clip, whole), (step, first))
    )
    atol = 1e-5 if scheme is None else 0.02
    np.testing.assert_allclose(library.Runner(whole_file)(whole)['logits'], expected, atol=atol)
    runner, state = library.Runner(step_file), {n: x for n, x in first.items() if n != 'rgb'}
    for t in range(CLIPS.shape[1]):
      outs = runner({'rgb': CLIPS[:, t], **state})
      state = {name: outs[f'next_{name}'] for name in state}
    np.testing.assert_allclose(outs['logits'], expected, atol=atol)


def test_clips_are_timed_at_every_sixth_round():
  calls = []
  names = [('image network', 'int8'), ('lstm, clip', 'int8')]
  seconds = stream_benchmark.timed({n: lambda n=n: calls.append(n) for n in names}, 7)
  assert [len(seconds[n]) for n in names] == [7, 2]
  assert calls.count(names[1]) == 3


def test_table():
  times = {'image network': (6, 4), 'lstm, clip': (90, 45), 'lstm, step': (7, 5)}
  seconds = {
    (what, form): [n / 1e3, n / 1e3, 1.0]
    for what, both in times.items()
    for form, n in zip(('float32', 'int8'), both, strict=True)
  }
  line = 'int8 step / image network 1.250, step / clip 0.111, int8 clip / float clip 0.500'
  assert stream_benchmark.table(seconds, ['lstm'])[-1] == f'lstm: {line}'
