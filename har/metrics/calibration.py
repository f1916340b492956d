"""Whether probabilities are what they say, and what makes them so: fitted on held-out examples."""

import numpy as np
from scipy import optimize, special

TEMPERATURES = (0.05, 20.0)
"""The lowest and the highest: of separable examples the best would be 0."""
_HEAVIEST = 10.0
BINS = 15


def expected_error(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Expected calibration error (Guo et al., ICML 2017, section 2), a fraction.

  How far accuracy and confidence in the predicted class are apart, in 15 bins of equal width, each
  weighed by its examples.

  Args:
    log_probabilities: `[N, C]`.
    labels: int `[N]`.
  """
  confidence = np.exp(log_probabilities.max(-1))
  right = log_probabilities.argmax(-1) == labels
  place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
  gaps = np.bincount(place, right, BINS) - np.bincount(place, confidence, BINS)
  return float(np.abs(gaps).sum() / len(labels))


def likelihood(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
  """The mean negative log-likelihood of labels int `[N]`."""
  return float(-np.take_along_axis(log_probabilities, labels[:, None], 1).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
  """What logits `[N, C]` are to be divided by: the likeliest of `TEMPERATURES`.

  Guo et al., section 4.2; the likelihood has one optimum in the inverse temperature.
  """
  logits = np.asarray(logits, np.float64)

  def loss(log_inverse: float) -> float:
    return likelihood(special.log_softmax(logits * np.exp(log_inverse), -1), labels)

  low, high = TEMPERATURES
  found = optimize.minimize_scalar(
    loss, bounds=(-np.log(high), -np.log(low)), method='bounded', options={'xatol': 1e-6}
  )
  return float(np.exp(-found.x))


def fit_weights(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The likeliest weights of a sum of log-probabilities, float `[K]`, none below 0.

  Args:
    log_probabilities: of K experts, `[K, N, C]`.
    labels: int `[N]`.
  """
  experts = np.asarray(log_probabilities, np.float64)
  own = np.take_along_axis(experts, labels[None, :, None], 2)[..., 0]

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    fused = special.log_softmax(np.tensordot(weights, experts, 1), -1)
    expected = (np.exp(fused) * experts).sum(-1)
    return likelihood(fused, labels), (expected - own).mean(1)

  start, bounds = np.full(len(experts), 1 / len(experts)), [(0, _HEAVIEST)] * len(experts)
  return optimize.minimize(loss, start, jac=True, bounds=bounds, method='L-BFGS-B').x


def fit_line(scores: np.ndarray, abnormal: np.ndarray) -> tuple[float, float]:
  """Slope and offset from scores `[N]` to the log-odds of being abnormal, bool `[N]`.

  Platt scaling with his targets (Advances in Large Margin Classifiers, 2000, section 2), which are
  short of 0 and 1, so that the line of separable scores is none of infinite slope.
  """
  middle, spread = scores.mean(), scores.std() or 1.0
  x = (scores - middle) / spread
  count = np.array([(~abnormal).sum(), abnormal.sum()])
  target = np.where(abnormal, (count[1] + 1) / (count[1] + 2), 1 / (count[0] + 2))

  def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
    odds = line[0] * x + line[1]
    error = special.expit(odds) - target
    value = np.logaddexp(0, odds) - target * odds
    return float(value.mean()), np.array([(error * x).mean(), error.mean()])

  slope, offset = optimize.minimize(loss, np.zeros(2), jac=True, method='BFGS').x
  return float(slope / spread), float(offset - slope * middle / spread)
