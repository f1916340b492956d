"""Modalities that some examples lack, or that the head is made to do without."""

import jax
import jax.numpy as jnp
import numpy as np

from har.models import registry
from har.models.mode import Mode
from har.models.recogniser import drop_modalities
from har.models.types import Features

RNG = np.random.default_rng(0)
ENCODERS = {
  'imu': {'kind': 'cnn1d_bn', 'channels': (8, 8), 'kernels': (5, 3), 'pools': 1, 'dropout': 0.5},
  'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': 1},
}
INPUTS = {
  'imu': RNG.standard_normal((3, 20, 6)).astype(np.float32),
  'imu_mask': np.ones((3, 20), bool),
  'imu_present': np.array([True, False, True]),
  'skeleton': RNG.standard_normal((3, 8, 20, 3)).astype(np.float32),
}


def made(modalities=('imu', 'skeleton'), rate=0.0, head='decision'):
  return registry.build(modalities, ENCODERS, {'kind': head}, 5, modality_dropout=rate)


def test_features_alone():
  model = made()
  variables = model.init(jax.random.key(0), INPUTS)
  features = model.apply(variables, INPUTS, method='encode')
  outputs = model.apply(variables, INPUTS)
  assert set(features) == {'imu', 'skeleton'}
  assert features['imu'].pooled.shape == (3, 16)
  jax.tree.map(np.testing.assert_array_equal, features, outputs.features)


def test_what_is_absent_moves_neither_logits_nor_batch_statistics():
  model = made()
  variables = dict(model.init(jax.random.key(0), INPUTS))
  garbage = INPUTS | {'imu': np.where(INPUTS['imu_present'][:, None, None], INPUTS['imu'], 1e3)}
  rngs = {'dropout': jax.random.key(1)}

  @jax.jit
  def run(inputs):
    trained, updates = model.apply(
      variables, inputs, Mode(True), rngs=rngs, mutable=['batch_stats']
    )
    # Features of what is absent mean nothing.
    return model.apply(variables, inputs).deployed(), (trained.deployed(), updates)

  jax.tree.map(np.testing.assert_array_equal, run(INPUTS), run(garbage))
  # Where it is present it counts, and so do both tests.
  everywhere = garbage | {'imu_present': np.ones(3, bool)}
  still, (_, moved) = run(everywhere)
  assert not np.allclose(still.logits[1], run(INPUTS)[0].logits[1])
  before = run(INPUTS)[1][1]['batch_stats']['imu']['bn_0']['mean']
  assert not np.allclose(before, moved['batch_stats']['imu']['bn_0']['mean'])


def features(count, **present):
  x = jnp.zeros((count, 2))
  return {name: Features(x[:, None], x, present=there) for name, there in present.items()}


def test_modalities_are_dropped_at_the_rate_but_never_the_last():
  count = 20_000
  some = jnp.arange(count) % 2 == 0
  dropped = drop_modalities(jax.random.key(0), features(count, imu=some, rgb=None), 0.4)
  imu, rgb = np.asarray(dropped['imu'].present), np.asarray(dropped['rgb'].present)
  assert not imu[1::2].any()
  assert rgb[1::2].all()
  assert (imu | rgb).all()
  # Each falls out at 0.4, but for half of the 0.16 where both would.
  np.testing.assert_allclose([imu[::2].mean(), rgb[::2].mean()], 0.6 + 0.08, atol=0.015)


def test_who_has_nothing_keeps_nothing():
  nothing = jnp.zeros(4, bool)
  dropped = drop_modalities(jax.random.key(0), features(4, imu=nothing, rgb=nothing), 0.5)
  assert not any(f.present.any() for f in dropped.values())


def test_modality_dropout_only_where_the_head_trains():
  model = made(rate=0.5)
  variables = {'params': model.init(jax.random.key(0), INPUTS)['params']}
  variables['batch_stats'] = made().init(jax.random.key(0), INPUTS)['batch_stats']
  rngs = {'dropout': jax.random.key(1)}

  def run(model, mode):
    return np.asarray(model.apply(variables, INPUTS, mode, rngs=rngs).logits)

  for mode in (Mode(), Mode(True, ('elsewhere',))):
    np.testing.assert_array_equal(run(model, mode), run(made(), mode))
  moved = run(model, Mode(True, ('head',)))
  np.testing.assert_array_equal(moved, run(model, Mode(True, ('head',))))
  assert not np.allclose(moved, run(made(), Mode(True, ('head',))))


def test_one_modality_is_never_dropped_and_other_dropout_stays_the_same():
  inputs = {'imu': INPUTS['imu']}
  variables = made(('imu',)).init(jax.random.key(0), inputs)
  rngs = {'dropout': jax.random.key(1)}
  a, b = (
    made(('imu',), rate).apply(variables, inputs, Mode(True), rngs=rngs, mutable=['batch_stats'])
    for rate in (0.0, 0.9)
  )
  np.testing.assert_array_equal(a[0].logits, b[0].logits)
  jax.tree.map(np.testing.assert_array_equal, a[1], b[1])
