"""Temperatures, weights and what is left of a fusion of decisions when one side is missing."""

import numpy as np
import pytest
from scipy import special

from har.evaluate import decision
from har.metrics import calibration

CLASSES = 4


def drawn(count=4000, scale=2.0, seed=0):
  """Labels drawn from what logits `[N, C]` say: these are calibrated."""
  rng = np.random.default_rng(seed)
  logits = scale * rng.standard_normal((count, CLASSES))
  labels = (special.log_softmax(logits, -1) + rng.gumbel(size=logits.shape)).argmax(-1)
  return logits, labels


@pytest.mark.parametrize('temperature', [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature):
  logits, labels = drawn()
  assert calibration.fit_temperature(temperature * logits, labels) == pytest.approx(
    temperature, rel=0.05
  )


def test_calibration_error_of_known_bins():
  confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
  log_p = np.log(np.stack([confidence, 1 - confidence], 1))
  labels = np.array([0, 0, 0, 1, 0, 1])
  # Four at 95% of which 3 are right, two at 55% of which 1 is.
  expected = (4 * (0.95 - 0.75) + 2 * (0.55 - 0.5)) / 6
  assert calibration.expected_error(log_p, labels) == pytest.approx(expected)
  temperate, right = drawn()
  sure = special.log_softmax(5 * temperate, -1)
  found = calibration.fit_temperature(5 * temperate, right)
  after = special.log_softmax(5 * temperate / found, -1)
  assert calibration.expected_error(sure, right) > 0.1
  assert calibration.expected_error(after, right) < 0.03


def test_weights_follow_what_experts_know():
  logits, labels = drawn()
  noise = np.random.default_rng(1).standard_normal(logits.shape)
  log_p = special.log_softmax(np.stack([logits, noise]), -1)
  np.testing.assert_allclose(calibration.fit_weights(log_p, labels), [1, 0], atol=0.05)
  # Two halves of the evidence: each is to be believed in whole.
  halves = special.log_softmax(np.stack([0.3 * logits, 0.7 * logits]), -1)
  weights = calibration.fit_weights(halves, labels)
  assert 0.3 * weights[0] + 0.7 * weights[1] == pytest.approx(1, abs=0.05)


def test_a_line_leads_from_scores_to_log_odds():
  rng = np.random.default_rng(0)
  scores = 5 + 3 * rng.standard_normal(20000)
  abnormal = rng.random(len(scores)) < special.expit(0.8 * scores - 5)
  slope, offset = calibration.fit_line(scores, abnormal)
  assert (slope, offset) == (pytest.approx(0.8, rel=0.05), pytest.approx(-5, rel=0.05))
  # Separable scores have a line that is not infinitely steep.
  slope, _ = calibration.fit_line(np.array([0.0, 1, 2, 3]), np.array([False, False, True, True]))
  assert 0 < slope < 10


def test_with_one_side_missing_a_decision_is_the_other_side():
  (a, labels), (b, _) = drawn(200), drawn(200, seed=1)
  b = 0.5 * b + 0.5 * np.eye(CLASSES)[labels]
  there = np.arange(200) % 3 > 0
  fitted = decision.fit({'imu': a, 'rgb': b}, labels, np.zeros(CLASSES, bool), {'rgb': there})
  both = fitted.fuse({'imu': a, 'rgb': b}, {'rgb': there})
  alone = special.log_softmax(a / fitted.experts['imu'].temperature, -1)
  np.testing.assert_allclose(both[~there], alone[~there], rtol=1e-12)
  np.testing.assert_allclose(fitted.fuse({'imu': a}), alone, rtol=1e-12)
  own = fitted.experts['rgb'].log_probabilities(b, fitted.abnormal)
  w = fitted.weights['imu', 'rgb']
  np.testing.assert_allclose(
    both[there], special.log_softmax(w[0] * alone + w[1] * own, -1)[there], rtol=1e-12
  )
  nobody = {'imu': np.zeros(200, bool), 'rgb': np.zeros(200, bool)}
  np.testing.assert_allclose(np.exp(fitted.fuse({'imu': a, 'rgb': b}, nobody)), 1 / CLASSES)


def test_a_detector_moves_a_recogniser_between_normal_and_abnormal():
  logits, labels = drawn(2000, scale=1.0)
  abnormal = np.array([False, False, True, True])
  rng = np.random.default_rng(2)
  error = np.exp(abnormal[labels] * 2.0 + 0.5 * rng.standard_normal(len(labels)))
  fitted = decision.fit({'imu': logits, 'auto': error}, labels, abnormal)
  detector = fitted.experts['auto']
  assert detector.logarithm
  assert detector.slope > 2
  log_p = detector.log_probabilities(error, abnormal)
  np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-9)
  assert (log_p[:, 0] == log_p[:, 1]).all()
  assert (log_p[:, 2] == log_p[:, 3]).all()
  fused, alone = fitted.fuse({'imu': logits, 'auto': error}), fitted.fuse({'imu': logits})
  right = [(x.argmax(-1) == labels).mean() for x in (fused, alone)]
  assert right[0] > right[1] + 0.1
  quality = decision.calibrations(fitted, {'imu': logits, 'auto': error}, {}, labels)
  assert set(quality) == {'imu', 'decision'}
  assert quality['decision']['nll'] < quality['imu']['nll']
