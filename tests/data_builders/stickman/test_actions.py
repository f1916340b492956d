import numpy as np
import pytest

from data_builders.stickman import actions, body, generate, people


def joints(action, subject=1, trial=1, seconds=2.5):
  t = np.arange(int(seconds * 300)) / 300
  person = people.make_subject(subject, 0)
  pose = actions.perform(action, t, person, np.random.default_rng(trial))
  return body.solve(pose, person.height, 0.0, 300).joints


def height_of(name, motion):
  return motion[:, body.INDEX[name], 1]


def reach(side, motion):
  """How far a hand gets from its shoulder, over the shortest it was, metres."""
  arm = motion[:, body.INDEX[f'{side}_hand']] - motion[:, body.INDEX[f'{side}_shoulder']]
  return np.ptp(np.linalg.norm(arm, axis=-1))


def test_there_are_six_actions_of_which_four_are_abnormal():
  assert actions.ACTIONS == ('walk', 'run', 'fall', 'punch', 'push', 'nod_off')
  assert set(actions.ACTIONS) - set(actions.ABNORMAL) == {'walk', 'run'}


def test_a_ramp_goes_from_0_to_1_without_jerk():
  t = np.linspace(0, 1, 11)
  values = actions.ramp(t, 0.2, 0.6)
  assert (values[:3] == 0).all()
  assert (values[8:] == 1).all()
  np.testing.assert_allclose(values[5], 0.5)
  assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize('trial', range(1, 7))
def test_who_falls_ends_on_the_floor(trial):
  motion = joints('fall', trial=trial)
  assert height_of('head', motion)[0] > 1.4
  assert height_of('hip_center', motion)[-1] < 0.55
  assert height_of('head', motion)[-1] < 0.85


@pytest.mark.parametrize('action', ['walk', 'run', 'punch', 'push'])
def test_who_does_not_fall_stays_upright(action):
  assert height_of('head', joints(action)).min() > 1.3


def test_locomotion_travels_and_only_running_leaves_the_floor():
  walk, run = joints('walk'), joints('run')
  for motion in (walk, run):
    assert np.ptp(motion[:, body.INDEX['hip_center'], 2]) > 1.0
  assert walk[..., 1].min(axis=1).max() < 0.065
  assert run[..., 1].min(axis=1).max() > 0.08


def test_left_handers_punch_with_the_hand_that_has_no_sensor():
  sides = {}
  for subject in generate.SUBJECTS:
    stronger = [
      reach('left', motion) > reach('right', motion)
      for motion in (joints('punch', subject, trial) for trial in range(6))
    ]
    sides[subject] = np.mean(stronger)
  for subject, share in sides.items():
    assert (share > 0.5) == (subject in people.LEFT_HANDED)


def test_some_shoves_use_both_arms_and_some_one():
  both = [
    abs(reach('left', motion) - reach('right', motion)) < 0.05
    for motion in (joints('push', 1, trial) for trial in range(12))
  ]
  assert 0 < sum(both) < 12
  assert all(
    abs(reach('left', motion) - reach('right', motion)) < 0.05
    for motion in (joints('push', people.LEFT_HANDED[0], trial) for trial in range(6))
  )


def test_who_nods_off_drops_the_head_forward():
  motion = joints('nod_off')
  ahead = motion[:, body.INDEX['head'], 2] - motion[:, body.INDEX['shoulder_center'], 2]
  assert ahead.min() < -0.14
  assert ahead.max() > -0.07


def test_subjects_differ_and_do_not_depend_on_each_other():
  one, two = people.make_subject(1, 0), people.make_subject(2, 0)
  assert one.height != two.height
  assert one.tempo != two.tempo
  again = people.make_subject(1, 0)
  np.testing.assert_array_equal(one.colours['shirt'], again.colours['shirt'])
  assert people.make_subject(1, 1).tempo != one.tempo


def test_both_halves_have_as_many_left_handers():
  odd = [s for s in people.LEFT_HANDED if s % 2]
  assert len(odd) * 2 == len(people.LEFT_HANDED)
