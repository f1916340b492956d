"""Baselines of scikit-learn: what they see, and what late fusion weighs."""

import numpy as np
import pytest

from har.evaluate import detectors


def test_features_by_hand():
  x = np.zeros((2, 4, 3), np.float32)
  x[0, :, 0] = [1, 3, 3, 100]
  mask = np.array([[True, True, True, False], [False] * 4])
  found = detectors.features(x, mask)
  assert found.shape == (2, 5 * 4)
  mean, deviation, least, most, change = found[0].reshape(5, 4)
  # The first channel and the norm of the three, which is it.
  for i in (0, 3):
    assert (mean[i], least[i], most[i], change[i]) == (pytest.approx(7 / 3), 1, 3, 1)
    assert deviation[i] == pytest.approx(np.std([1, 3, 3]))
  assert not found[1].any()


def test_what_is_kept_is_averaged_and_its_changes():
  x = np.zeros((2, 3, 2, 4), np.float32)
  x[0, 1] = 3.0
  pooled = np.full((2, 1, 2), 7.0)
  there = np.array([True, False])
  found = detectors.kept_features({'b': pooled, 'a': x, 'a_present': there})
  np.testing.assert_array_equal(found, [[1] * 4 + [3] * 4 + [7] * 2, [0] * 8 + [7] * 2])


def test_parts_of_a_signal_are_its_sensors():
  found = detectors.parts('imu', 7)
  assert list(found) == ['imu 1-3', 'imu 4-6', 'imu 7-7']
  # Of seven channels and two norms, in each of five statistics.
  assert found['imu 4-6'].tolist() == [9 * s + c for s in range(5) for c in (3, 4, 5, 8)]
  assert found['imu 7-7'].tolist() == [6, 15, 24, 33, 42]
  x = np.zeros((1, 4, 7), np.float32)
  x[..., 3] = 1.0
  seen = detectors.features(x, np.ones((1, 4), bool))[0]
  assert {part: int((seen[own] != 0).sum()) for part, own in found.items()} == {
    **{'imu 1-3': 0, 'imu 4-6': 6, 'imu 7-7': 0}
  }
  assert list(detectors.parts('imu', 3)) == ['imu']
  assert detectors.parts('imu', 3)['imu'].tolist() == list(range(20))


@pytest.fixture(scope='module')
def people():
  """Of three people twelve normal and twelve abnormal windows, with two sensors.

  The first tells abnormal ones; what the second says holds for one person only.
  """
  person, abnormal = np.repeat([0, 1, 2], 24), np.tile([False, True], 36)
  seen = np.stack([abnormal + 0.001 * np.arange(72), 10.0 * person + abnormal], 1)
  return person, abnormal, seen


PARTS = {'own': np.array([0]), 'other': np.array([1])}


def test_late_fusion_weighs_by_people_that_a_classifier_has_not_seen(people):
  person, abnormal, seen = people
  asked = np.array([[0.1, 25.0], [1.1, 25.0]])
  found, weights = detectors.late_fusion(PARTS, seen, abnormal, person, asked)
  assert weights == {f'own: {name}': 1 / 3 for name in detectors.MEMBERS} | {
    f'other: {name}': 0.0 for name in detectors.MEMBERS
  }
  assert found.tolist() == [0.0, 1.0]


def test_late_fusion_without_other_people_averages_evenly(people):
  _, abnormal, seen = people
  asked = np.array([[0.1, 25.0], [1.1, 0.0]])
  for unknown in (None, np.zeros(72, int)):
    found, weights = detectors.late_fusion(PARTS, seen, abnormal, unknown, asked)
    assert list(weights.values()) == [1 / 6] * 6
    each = [
      make(72).fit(seen[:, own], abnormal).predict_proba(asked[:, own])[:, 1]
      for own in PARTS.values()
      for make in detectors.MEMBERS.values()
    ]
    np.testing.assert_allclose(found, np.mean(each, 0))


def test_those_that_have_not_enough_to_learn_from_are_left_out(people):
  _, abnormal, seen = people
  every = [*detectors.NORMAL, *detectors.LABELLED]
  assert list(detectors.scores(seen, abnormal, seen, labelled=True)) == every
  assert list(detectors.scores(seen, abnormal, seen, labelled=False)) == [*detectors.NORMAL]
  found = detectors.scores(seen, abnormal, seen, labelled=False)
  moved = detectors.scores(seen + 9 * abnormal[:, None], abnormal, seen, labelled=False)
  for name, values in found.items():  # No abnormal one has a say.
    np.testing.assert_array_equal(values, moved[name])
  normal = detectors.scores(seen, np.zeros(72, bool), seen, labelled=True)
  assert list(normal) == [*detectors.NORMAL]
  one = np.arange(72) > 0
  assert list(detectors.scores(seen, one, seen, labelled=True)) == [*detectors.LABELLED]
  # There are fewer centres than there could be where windows repeat each other.
  few = np.array([[0.0, 1.0], [1.0, 0.0]] * 3)
  alike = detectors.scores(few, np.zeros(6, bool), few[:1], labelled=False)
  assert alike['k-means'] == 0.0
  assert detectors.scores(few[::2], np.zeros(3, bool), few, labelled=False) == {}
