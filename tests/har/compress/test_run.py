"""Every form of a stage is trained, evaluated, listed and found again."""

import json

import jax
import numpy as np
import pytest

from configs import base
from har.compress import finished, run, variants
from har.data import dataset as dataset_lib
from har.errors import UserError
from har.evaluate import results
from har.export import exportable
from har.train import checkpoints, experiment
from har.train.interrupt import Interrupted, StopSignal
from tests import fakes
from tests.har.train import test_loop

TRAINED = ('int8_qat', 'pruned', 'slim', 'slim_int8_qat')
ALL = ('float32', 'int8', 'int8_qat', 'pruned', 'pruned_int8', 'slim', 'slim_int8', 'slim_int8_qat')
STUDY = ('int8_dynamic', 'w4a8')


def config():
  c = test_loop.config(('imu',), epochs=20.0)
  c.encoders.imu.update(channels=(32, 16))
  c.compress.int8.examples = 12
  c.compress.study = {'w4a8': {'weights': 4}, 'int8_dynamic': {'ranges': 'dynamic'}}
  c.compress.variants = TRAINED[::-1]
  for name in ('int8_qat', 'pruned', 'slim'):
    c.compress[name].epochs = 0.3
  return c


@pytest.fixture(autouse=True, scope='module')
def fake_dataset():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.FakeDataset())
    yield


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """An experiment whose stage is finished and evaluated, and what the evaluation returned."""
  opened = experiment.open_experiment(config(), tmp_path_factory.mktemp('run'))
  experiment.train(opened)
  return opened, run.evaluate(opened, command='test')


@pytest.fixture(scope='module')
def compressed(trained):
  opened, before = trained
  return opened, run.compress(opened, command='test'), before


def test_int8_is_part_of_every_evaluation(trained):
  opened, table = trained
  workdir = opened.context.workdir
  assert table['stages'].keys() == {'imu'}
  written = json.loads((workdir / 'results.json').read_text())
  assert list(written['stages']['imu'])[:2] == ['float32', 'int8']
  assert written['stages']['imu']['int8']['examples'] == 12
  assert written['bytes']['imu']['int8'] < 0.35 * written['bytes']['imu']['float32']
  predicted = results.read_predictions(workdir, 'imu', 'int8')
  exact = results.read_predictions(workdir, 'imu', 'float32')
  assert predicted.keys == exact.keys
  np.testing.assert_allclose(predicted.probabilities, exact.probabilities, atol=0.1)
  assert not np.array_equal(predicted.probabilities, exact.probabilities)
  page = (workdir / 'report.html').read_text()
  assert 'How the variants were made' in page
  assert 'Layers left in float32: none' in page
  assert 'ranges that cover all of 12 training examples' in page


def test_all_variants_are_trained_and_evaluated(compressed):
  opened, table, before = compressed
  assert tuple(table['stages']['imu']) == ALL + STUDY
  assert table['stages']['imu']['float32'] == before['stages']['imu']['float32']
  assert variants.available(finished.of(opened)['imu']) == ALL
  sizes = table['bytes']['imu']
  assert sizes['slim'] < 0.75 * sizes['float32']
  assert sizes['slim_int8'] < 0.35 * sizes['slim']
  assert sizes['w4a8'] < 0.7 * sizes['int8'] == 0.7 * sizes['int8_dynamic']


def test_a_finished_variant_is_not_trained_again(compressed, capfd):
  opened, table, _ = compressed
  assert run.compress(opened, command='test') == table
  err = capfd.readouterr().err
  assert [line for line in err.splitlines() if 'finished' in line] == [
    f'imu-{name}: finished before' for name in TRAINED
  ]


def test_the_slim_model_is_trained_on_quantised(compressed):
  opened, table, _ = compressed
  made, start = (
    variants.make(finished.of(opened)['imu'], name) for name in ('slim_int8_qat', 'slim_int8')
  )
  shapes = [[x.shape for x in jax.tree.leaves(one.variables['params'])] for one in (made, start)]
  assert shapes[0] == shapes[1]
  assert table['bytes']['imu']['slim_int8_qat'] == table['bytes']['imu']['slim_int8']
  values = (jax.tree.leaves(one.variables['params']) for one in (made, start))
  assert not all(np.array_equal(a, b) for a, b in zip(*values, strict=True))
  assert '% of the floating-point operations; trained on for' in made.notes


def test_a_quantised_slim_model_without_the_slim_one_is_refused(trained, monkeypatch):
  opened, _ = trained
  monkeypatch.setattr(variants, 'available', lambda _: ('float32', 'int8'))
  with pytest.raises(UserError, match='slim_int8_qat is made of slim; name that, too'):
    run._check(finished.of(opened), ['slim_int8_qat'])


def test_pruned_weights_stay_zero_in_int8(compressed):
  opened, _, _ = compressed
  for name in ('pruned', 'pruned_int8'):
    made = variants.make(finished.of(opened)['imu'], name)
    kernels = [x for x in jax.tree.leaves(made.variables['params']) if x.ndim > 1]
    zeros = sum(int((x == 0).sum()) for x in kernels)
    assert zeros == pytest.approx(0.8 * sum(x.size for x in kernels), abs=1)
  assert '80% of the kernel weights zero' in made.notes


def test_a_changed_setting_of_a_trained_variant_is_refused(compressed):
  opened, _, _ = compressed
  c = config()
  c.compress.pruned.sparsity = 0.5
  other = experiment.open_experiment(c, opened.context.workdir)
  with pytest.raises(UserError, match='imu-pruned was trained with other values of'):
    run.compress(other, command='test')


def test_an_interrupted_variant_continues_to_the_same_bytes(compressed, tmp_path, monkeypatch):
  opened, _, _ = compressed
  whole = opened.context.workdir / 'checkpoints'
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'checkpoints' / 'imu').symlink_to(whole / 'imu')
  c = config()
  c.compress.variants = ('int8_qat',)
  again = experiment.open_experiment(c, tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(StopSignal, 'requested', lambda self, step: step == 5)
    with pytest.raises(Interrupted, match='stage imu-int8_qat is saved at step 5 of 9'):
      run.compress(again, command='test')
  assert not checkpoints.finished(tmp_path, 'imu-int8_qat')
  run.compress(again, command='test')
  both = (finished.of(e)['imu'] for e in (opened, again))
  first, second = (variants.make(one, 'int8_qat').variables for one in both)
  test_loop.assert_equal_trees(first, second)
  assert float(np.abs(second['batch_stats']['ranges']).sum()) > 0


def test_training_a_quantised_stage_moves_its_parameters_but_not_its_ranges(compressed):
  one = finished.of(compressed[0])['imu']
  start, end = (variants.make(one, name).variables for name in ('int8', 'int8_qat'))
  test_loop.assert_equal_trees(start['batch_stats'], end['batch_stats'])
  for a, b in zip(*map(jax.tree.leaves, (start['params'], end['params'])), strict=True):
    assert not np.array_equal(a, b)


def test_what_is_frozen_is_computed_once_for_a_quantised_stage(tmp_path, capsys):
  settings = {'trained': ('head',), 'cached_views': 2}
  c = test_loop.config(('imu',), epochs=4.0, **settings)
  c.compress.int8.examples = 12
  c.compress.int8_qat.epochs = 1.0
  c.compress.variants = ('int8_qat',)
  opened = experiment.open_experiment(c, tmp_path)
  experiment.train(opened)
  capsys.readouterr()
  table = run.compress(opened, command='test')
  line = 'imu-int8_qat: imu up to what trains is computed once, for 24 views of'
  assert line in capsys.readouterr().err
  assert table['stages']['imu']['int8_qat']['examples'] == 12
  one = finished.of(opened)['imu']
  start, end = (variants.make(one, name).variables for name in ('int8', 'int8_qat'))
  test_loop.assert_equal_trees(start['params']['imu'], end['params']['imu'])
  test_loop.assert_equal_trees(start['batch_stats'], end['batch_stats'])
  heads = (jax.tree.leaves(one['params']['head']) for one in (start, end))
  assert not any(np.array_equal(a, b) for a, b in zip(*heads, strict=True))


def test_what_exporters_get(compressed):
  one = finished.of(compressed[0])['imu']
  shapes = {'imu': (1, 48, 6)}
  x = {'imu': np.random.default_rng(0).normal(size=(3, 48, 6)).astype(np.float32)}
  for name in ALL:
    exported = exportable.load(one, name)
    assert {n: s.shape for n, s in exported.inputs.items()} == shapes
    assert exported.call(x)['logits'].shape == (3, 3)
    text = jax.jit(exported.marked).lower(x).as_text()
    marks = text.count('stablehlo.composite "quant.fake_quant"')
    # Five points, two values that a pool and a maximum have kept, three kernels.
    assert marks == (0 if name in ('float32', 'pruned', 'slim') else 10)


def test_a_variant_that_is_not_trained_is_refused(tmp_path):
  one = finished.of(experiment.open_experiment(config(), tmp_path))['imu']
  with pytest.raises(UserError, match="holds no variant 'pruned' of stage 'imu': make it first"):
    exportable.load(one, 'pruned')
  with pytest.raises(UserError, match="holds no finished stage 'imu'"):
    exportable.load(one, 'int8')


def test_dynamic_ranges_cannot_be_trained(trained):
  opened, _ = trained
  c = config()
  c.compress.int8.ranges = 'dynamic'
  other = experiment.open_experiment(c, opened.context.workdir)
  with pytest.raises(UserError, match="ranges must be 'static' to train"):
    variants.trained_stage(finished.of(other)['imu'], 'int8_qat')


def test_pruned_fusions_are_made_of_pruned_encoders(tmp_path, monkeypatch):
  c = test_loop.config(('imu', 'skeleton'), epochs=2.0)
  c.encoders.imu.update(channels=(32, 16))
  c.encoders.skeleton.update(channels=(32, 32), kernels=(5, 5), strides=(2, 1))
  c.stages.fusion = base.fusion(('imu', 'skeleton'), learning_rate=1e-2, epochs=2.0, batch_size=8)
  c.stages.fusion.head = {'kind': 'residual', 'hidden': 8}
  c.order = ('imu', 'skeleton', 'fusion')
  c.compress.int8.examples = 12
  c.compress.update(variants=('pruned', 'slim'), study={})
  opened = experiment.open_experiment(c, tmp_path)
  experiment.train(opened)
  # Other tests evaluate variants, eighteen of which there would be here.
  monkeypatch.setattr(run, '_forms', lambda _: [])
  run.compress(opened, command='test')
  trained = ('pruned', 'pruned_int8', 'slim', 'slim_int8')
  stages = finished.of(opened)
  assert variants.available(stages['fusion']) == ('float32', 'int8', *trained)
  quantised = variants.make(stages['fusion'], 'slim_int8')
  assert quantised.float_layers == ()
  for name in ('pruned', 'slim'):
    fused = variants.make(stages['fusion'], name).variables['params']
    for modality in ('imu', 'skeleton'):
      single = variants.make(stages[modality], name).variables['params']
      for a, b in zip(*map(jax.tree.leaves, (fused[modality], single[modality])), strict=True):
        assert a.shape == b.shape
        if a.ndim > 1 and name == 'pruned':
          np.testing.assert_array_equal(a == 0, b == 0)
          assert (np.asarray(a) == 0).mean() > 0.3


def test_stages_that_may_lack_a_modality_are_quantised_with_what_says_so(tmp_path, monkeypatch):
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: fakes.SilentDataset())
  c = test_loop.config(('imu', 'skeleton'), epochs=2.0)
  c.inputs.imu.update(rates=(50.0, 50.0))
  c.stages.fusion = base.fusion(('imu', 'skeleton'), learning_rate=1e-2, epochs=2.0, batch_size=8)
  c.stages.fusion.head = {'kind': 'residual', 'hidden': 8}
  c.order = ('imu', 'skeleton', 'fusion')
  c.compress.int8.examples = 12
  opened = experiment.open_experiment(c, tmp_path)
  experiment.train(opened)
  table = run.evaluate(opened, command='test')
  assert list(table['stages']['fusion']) == ['float32', 'int8']
  exact, rounded = (
    results.read_predictions(tmp_path, 'fusion', v).probabilities for v in ('float32', 'int8')
  )
  np.testing.assert_allclose(rounded, exact, atol=0.1)
  made = exportable.load(finished.of(opened)['fusion'], 'int8')
  assert set(made.inputs) == {'imu', 'imu_mask', 'imu_present', 'skeleton'}
  # What an absent signal holds does not come through, quantised or not.
  x = {n: np.ones((1, *s.shape[1:]), s.dtype) for n, s in made.inputs.items()}
  logits = []
  for present in (True, False):
    for scale in (1, 3):
      given = {**x, 'imu': scale * x['imu'], 'imu_present': np.float32([present])}
      logits.append(np.asarray(made.call(given)['logits']))
  np.testing.assert_array_equal(logits[2], logits[3])
  assert not np.array_equal(logits[0], logits[1])
