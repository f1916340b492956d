"""Likelihoods of what comes next."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.forecast import Forecast
from har.objectives.objective import Facts

FACTS = Facts(('walk', 'fall'), ('fall',), np.array([3, 1]))


def test_errors_are_normal_likelihoods():
  rng = np.random.default_rng(0)
  x, mean, spread = (rng.normal(size=(2, 9, n)).astype(np.float32) for n in (3, 2, 2))
  outputs = Outputs(forecast={'imu': jnp.concatenate([mean, spread], -1)})
  objective = Forecast(FACTS, horizon=3, skip=2)
  # Of the samples 5 to 8 the first two channels, forecast at 2 to 5.
  logpdf = stats.norm.logpdf(x[:, 5:, :2], mean[:, 2:6], np.exp(spread[:, 2:6] / 2))
  expected = -logpdf - 0.5 * np.log(2 * np.pi)
  found = objective.errors(outputs, {'imu': x})
  np.testing.assert_allclose(found, expected.mean((1, 2)), rtol=1e-5)
  mask = np.arange(9) < np.array([[7], [5]])
  found = objective.errors(outputs, {'imu': x, 'imu_mask': mask})
  np.testing.assert_allclose(found, [expected[0, :2].mean(), 0], rtol=1e-5)
  given = {'scores': objective.scores(outputs, {'imu': x})}['scores']
  np.testing.assert_array_equal(objective.anomaly(given), given['error'])


def test_variances_have_bounds():
  x = jnp.zeros((1, 4, 1))
  sure = Outputs(forecast={'imu': jnp.full((1, 4, 2), -99.0).at[..., 0].set(0.0)})
  found = Forecast(FACTS, horizon=1, skip=1).errors(sure, {'imu': x})
  np.testing.assert_allclose(found, [-3.0])


def test_what_leaves_nothing_to_judge_is_refused():
  outputs = Outputs(forecast={'imu': jnp.zeros((1, 5, 2))})
  with pytest.raises(UserError, match='leave nothing of the 5 samples of imu'):
    Forecast(FACTS, horizon=3, skip=2).errors(outputs, {'imu': jnp.zeros((1, 5, 1))})
  with pytest.raises(UserError, match=r'head\.kind=forecaster'):
    Forecast(FACTS).errors(Outputs(), {})
