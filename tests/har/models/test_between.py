"""What those around a sample do not let one expect is the example's anomaly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from har.errors import UserError
from har.models.between import Between, Forecaster
from har.models.types import Features
from tests import fakes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 16, 4)).astype(np.float32)
SIZES = {'features': (4,), 'kernel': 3, 'hidden': 6, 'channels': 3, 'floor': 0.2}
HEAD = Between(**SIZES, skip=2)
FORECASTER = Forecaster(**SIZES, skip=2, horizon=3)


def features(x, mask=None, present=None):
  return Features(x, x.mean(1), mask, present)


@pytest.fixture(scope='module')
def drawn():
  variables = fakes.draw_variables(HEAD, {'imu': features(X)})
  return variables, jax.jit(HEAD.apply)


def with_outputs(variables, mean, spread):
  """The variables of a head that always tells the same mean and logarithm of a variance."""
  params = dict(variables['params'])
  for name, bias in {'imu_mean': mean, 'imu_spread': spread}.items():
    params[name] = {
      'kernel': np.zeros_like(params[name]['kernel']),
      'bias': np.array(bias, np.float32),
    }
  return {**variables, 'params': params}


def surprise(mean, spread, judged=slice(3, 13)):
  """Of the samples, by SciPy: less what no sample can be below."""
  v = np.exp(np.array(spread)) + 0.2
  found = -stats.norm.logpdf(X[:, judged, :3], mean, np.sqrt(v))
  return (found - 0.5 * np.log(2 * np.pi * 0.2)).mean(-1)


def test_the_greatest_surprise_is_the_anomaly_and_the_mean_is_trained(drawn):
  variables, apply = drawn
  mean, spread = [0.3, -0.2, 0.1], [-1.0, 0.5, -9.0]
  found = apply(with_outputs(variables, mean, spread), {'imu': features(X)})
  expected = surprise(mean, [-1.0, 0.5, -6.0])
  np.testing.assert_allclose(found.anomaly, expected.max(1), rtol=1e-5)
  np.testing.assert_allclose(found.trained, expected.mean(1), rtol=1e-5)
  assert found.named().keys() == {'anomaly'}
  assert found.deployed().trained is None


def test_no_sample_is_less_surprising_than_one_that_is_known(drawn):
  variables, apply = drawn
  known = with_outputs(variables, [0.0, 0.0, 0.0], [-99.0] * 3)
  found = apply(known, {'imu': features(np.zeros_like(X))})
  np.testing.assert_allclose(found.anomaly, 0.5 * np.log1p(np.exp(-6) / 0.2), rtol=1e-3)


def test_a_sample_has_no_say_in_what_is_told_of_it(drawn):
  variables, _ = drawn

  @jax.jit
  def told(x):
    state = HEAD.apply(variables, {'imu': features(x)}, capture_intermediates=True)[1]
    return state['intermediates']['imu_mean']['__call__'][0]

  before = np.asarray(told(X))
  for t in range(3, 13):
    changed = X.copy()
    changed[:, t] += 1
    others = np.abs(np.asarray(told(changed)) - before).max((0, 2)) > 0
    assert not others[t - 3]
    assert others[: t - 3].any() or others[t - 2 :].any()


def test_what_is_not_recorded_is_not_judged(drawn):
  variables, _ = drawn
  mask = np.arange(16) < np.array([[16], [9]])
  present = np.array([True, False])
  given = {'imu': features(X, mask), 'watch': features(X, None, present)}
  both = fakes.draw_variables(HEAD, given)
  both['params'] |= variables['params']
  known = with_outputs(both, [0.0] * 3, [0.0] * 3)
  apply = jax.jit(HEAD.apply)
  expected = surprise([0.0] * 3, [0.0] * 3)
  found = apply(known, given)
  # The second example is judged by the first signal alone, up to its ninth sample.
  np.testing.assert_allclose(found.anomaly[1], expected[1, :6].max(), rtol=1e-5)
  np.testing.assert_allclose(found.trained[1], expected[1, :6].mean(), rtol=1e-5)
  alone = {'imu': given['imu'], 'watch': features(X, None, np.zeros(2, bool))}
  np.testing.assert_allclose(apply(known, alone).anomaly[0], expected[0].max(), rtol=1e-5)


def test_nothing_is_learnt_below(drawn):
  variables, _ = drawn

  def loss(variables, x):
    return HEAD.apply(variables, {'imu': features(x)}).trained.mean()

  own, below = jax.jit(jax.grad(loss, (0, 1)))(variables, jnp.asarray(X))
  assert not below.any()
  assert all(leaf.any() for leaf in jax.tree.leaves(own['params']))


def test_too_few_samples_are_refused():
  for head, samples, reach in ((HEAD, 6, 'skip=2'), (FORECASTER, 5, 'skip=2, horizon=3')):
    with pytest.raises(UserError, match=f'any of the {samples} samples that imu gives; {reach}'):
      head.init(jax.random.key(0), {'imu': features(X[:, :samples])})


def test_a_forecaster_tells_what_comes_from_the_past_alone():
  variables = fakes.draw_variables(FORECASTER, {'imu': features(X)})
  mean, spread = [0.3, -0.2, 0.1], [-1.0, 0.5, -2.0]
  apply = jax.jit(FORECASTER.apply, static_argnames='capture_intermediates')
  mask = np.arange(16) < np.array([[16], [9]])
  found = apply(with_outputs(variables, mean, spread), {'imu': features(X, mask)})
  expected = surprise(mean, spread, slice(5, 16))
  np.testing.assert_allclose(found.trained, [expected[0].mean(), expected[1, :4].mean()], rtol=1e-5)
  np.testing.assert_allclose(found.anomaly, [expected[0].max(), expected[1, :4].max()], rtol=1e-5)

  def told(x):
    _, state = apply(variables, {'imu': features(x)}, capture_intermediates=True)
    return np.asarray(state['intermediates']['imu_mean']['__call__'][0])

  before, changed = told(X), X.copy()
  changed[:, 7] += 1
  # The sample 7 is what those from the tenth on are told by.
  np.testing.assert_array_equal(told(changed)[:, :5], before[:, :5])
  assert (np.abs(told(changed)[:, 5] - before[:, 5]) > 0).any(-1).all()
