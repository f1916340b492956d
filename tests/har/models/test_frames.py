"""Image networks on frames: sizes, models of time, streams, frozen parts, smaller forms."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.compress import units
from har.compress.quantise import FoldedModel
from har.compress.streaming import StepModel, refusal
from har.errors import UserError
from har.models import registry
from har.models.efficientnet import EfficientNetLite
from har.models.frames import TEMPORAL, FrameCNN, divisible, padding
from har.models.mobilenet import MobileNetV2
from har.models.mode import Mode, matches
from tests import fakes
from tests.fakes import TinyFrames as Tiny


def clip(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
  ('model', 'count', 'channels'),
  [
    (MobileNetV2(), 3_504_872, 1280),
    (MobileNetV2(width=1.4), 0, 1792),
    (MobileNetV2(width=0.25), 0, 1280),
    (EfficientNetLite(), 4_652_008, 1280),
    (EfficientNetLite(variant=1), 5_416_680, 1280),
    (EfficientNetLite(variant=2), 6_092_072, 1280),
    (EfficientNetLite(variant=4), 13_006_568, 1280),
  ],
)
def test_the_published_sizes(model, count, channels):
  x = jax.ShapeDtypeStruct((1, 2, 33, 40, 3), jnp.float32)
  features, variables = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), x)
  assert features.sequence.shape == (1, 2, channels)
  ours = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
  assert count in (0, ours + 1000 * (channels + 1))


def test_a_frame_is_seen_alone_and_its_place_in_the_batch_does_not_matter():
  x = clip(2, 3, 17, 20, 3)
  variables = fakes.draw_variables(Tiny(), x)
  features = jax.jit(Tiny().apply)(variables, x)
  assert features.sequence.shape == (2, 3, 16)
  frames = jax.jit(FrameCNN(Tiny().layout()).apply)
  params, stats = variables['params']['cnn'], variables['batch_stats']['cnn']
  alone = frames({'params': params, 'batch_stats': stats}, x[1, 2:])
  assert alone.std() > 0.01
  np.testing.assert_allclose(features.sequence[1, 2], alone[0], atol=1e-5)
  np.testing.assert_allclose(features.pooled, features.sequence.mean(1), atol=1e-6)


@pytest.mark.parametrize(
  ('temporal', 'shift'), [('mean', 'none'), ('mean', 'causal'), ('bilstm', 'none'), ('tcn', 'none')]
)
def test_models_of_time_train_and_stream(temporal, shift):
  x, size = clip(2, 3, 9, 9, 3), 16 if temporal == 'mean' else 4
  encoder = Tiny(temporal=temporal, shift=shift, features=4, layers=2)
  variables = fakes.draw_variables(encoder, x)
  whole = jax.jit(encoder.apply)(variables, x)
  assert whole.pooled.shape == (2, 8 if temporal == 'bilstm' else size)

  @jax.jit
  def gradient(params):
    def loss(params):
      given, rngs = variables | {'params': params}, {'dropout': jax.random.key(0)}
      out, _ = encoder.apply(given, x, None, Mode(True), rngs=rngs, mutable=['batch_stats'])
      return (out.pooled**2).sum()

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables['params'])):
    assert np.any(leaf), path
  if encoder.bidirectional:
    return
  carry = encoder.apply(variables, 2, x.shape[2:], method='initial_carry')
  step = jax.jit(lambda carry, x: encoder.apply(variables, carry, x, method='step'))
  for t in range(3):
    carry, features = step(carry, x[:, t])
    np.testing.assert_allclose(features.sequence[:, 0], whole.sequence[:, t], atol=1e-5)
  np.testing.assert_allclose(features.pooled, whole.pooled, atol=1e-5)


@pytest.mark.parametrize('temporal', TEMPORAL)
def test_a_second_stage_trains_what_there_is(temporal):
  encoder = MobileNetV2(width=0.125, temporal=temporal, features=8)
  clip = np.zeros((1, 2, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), clip))['params']
  paths = list(flax.traverse_util.flatten_dict(shapes))
  for pattern in encoder.fine_tuned:
    assert any(matches(path, [pattern]) for path in paths), pattern
  trained = {path[:2] for path in paths if matches(path, encoder.fine_tuned)}
  assert {part for top, part in trained if top == 'cnn'} >= {'stage5_0', 'stage6_0', 'head'}
  assert any(path[0] == 'time' for path in trained) == (temporal != 'mean')


def test_frozen_parts_keep_their_statistics():
  x, encoder = clip(1, 2, 9, 9, 3), Tiny()
  variables = fakes.draw_variables(encoder, x)
  mode = Mode(True, ('cnn/stage1_*', 'cnn/head'))
  _, updates = jax.jit(lambda v: encoder.apply(v, x, None, mode, mutable=['batch_stats']))(
    variables
  )
  before, after = (flax.traverse_util.flatten_dict(v['batch_stats']) for v in (variables, updates))
  changed = {path[1] for path in before if not np.array_equal(before[path], after[path])}
  assert changed == {'stage1_0', 'stage1_1', 'head'}


@pytest.fixture
def recogniser(monkeypatch):
  monkeypatch.setitem(registry.ENCODERS, 'tiny', Tiny)

  def build(temporal, shift='none'):
    encoder = {'kind': 'tiny', 'temporal': temporal, 'shift': shift, 'features': 8}
    model = registry.build(['rgb'], {'rgb': encoder}, {'kind': 'linear'}, 3)
    x = {'rgb': clip(2, 3, 12, 12, 3)}
    return model, fakes.draw_variables(model, x), x

  return build


@pytest.mark.parametrize(('temporal', 'shift'), [('mean', 'causal'), ('tcn', 'none')])
def test_slim_models_compute_and_stream(recogniser, temporal, shift):
  model, variables, x = recogniser(temporal, shift)
  found = units.find(model, variables, x)
  assert not found.opaque('rgb')
  counts = {name: unit.count for name, unit in found.units.items() if '/cnn/' in name}
  assert counts == {
    # What the stem gives goes through a depthwise convolution, what the blocks add is shared.
    'rgb/cnn/stem/conv': 8,
    'rgb/cnn/stage1_0/expand/conv': 16,
    'rgb/cnn/stage1_0/project/conv': 8,
    'rgb/cnn/stage1_1/expand/conv': 16,
    'rgb/cnn/head/conv': 16,
  }
  kept = {name: np.arange(unit.count // 2) for name, unit in found.units.items()}
  small, slim = model.clone(widths=found.widths(kept)), found.cut(variables, kept)
  assert found.difference(units.find(small, slim, x), kept) == ''
  whole = jax.jit(small.apply)(slim, x).logits
  assert not refusal(small)
  step = StepModel(small)
  state, apply = step.initial(slim, x['rgb'].shape[2:], 2), jax.jit(lambda x: step.apply(slim, x))
  for t in range(3):
    state = apply({**state, 'rgb': x['rgb'][:, t]})
    logits = state.pop('logits')
  np.testing.assert_allclose(logits, whole, atol=1e-5)


UNITS = {'expand': 2, 'depthwise': 2, 'project': 0}


def test_norms_and_relu6_are_folded(recogniser):
  model, variables, x = recogniser('mean')
  folded = FoldedModel(model, variables, None)
  graph = folded.graph(x)
  assert not graph.unseen
  layers = {layer.name.removeprefix('rgb/cnn/'): len(layer.clips) for layer in graph.layers[:-1]}
  assert layers == {
    'stem/conv': 2,
    'stage0_0/depthwise/conv': 2,
    'stage0_0/project/conv': 0,
    **{f'stage1_{i}/{unit}/conv': n for i in (0, 1) for unit, n in UNITS.items()},
    'head/conv': 2,
  }
  values = folded.fold(variables, x)
  run = jax.jit(lambda x: folded.apply(values, x).logits)
  assert run.lower(x).as_text().count('stablehlo.convolution') == 1  # the stem: others run faster
  logits = run(x)
  np.testing.assert_allclose(logits, jax.jit(model.apply)(variables, x).logits, atol=1e-4)


def test_bfloat16_is_near_float32():
  x = clip(1, 2, 12, 12, 3)
  variables = fakes.draw_variables(Tiny(), x)
  exact = jax.jit(Tiny().apply)(variables, x).pooled
  rounded = jax.jit(Tiny(dtype=jnp.bfloat16).apply)(variables, x).pooled
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_allclose(rounded.astype(np.float32), exact, atol=0.05 * float(exact.max()))


def test_channels_and_padding():
  assert [divisible(c) for c in (24, 32 * 0.35, 16 * 0.25, 24 * 0.75)] == [24, 16, 8, 24]
  # TensorFlow pads nothing before what the symmetric form pads on both sides.
  assert padding((224, 15), 3, 2, same=True) == ((0, 1), (1, 1))
  assert padding((224, 15), 5, 2, same=False) == ((2, 2), (2, 2))


def test_user_errors():
  x = clip(1, 2, 8, 8, 3)
  for model, inputs, match in (
    (Tiny(temporal='rnn'), (x,), "one of mean, lstm, bilstm, gru, tcn, not 'rnn'"),
    (Tiny(shift='on'), (x,), "shift must be one of none, both, causal, not 'on'"),
    (Tiny(), (x[0],), 'TinyFrames needs clips'),
    (Tiny(), (x, np.ones((1, 2), bool)), 'TinyFrames takes no mask'),
  ):
    with pytest.raises(UserError, match=match):
      model.init(jax.random.key(0), *inputs)
