import numpy as np
import pytest

from data_builders.stickman import actions, body, imu, people

RATE = 300
SILENT = dict(mounting=np.zeros(3), bias=np.zeros(6), noise=(0.0, 0.0))


def perform(action, subject=1, seconds=2.0):
  t = np.arange(-1, int(seconds * RATE) + 1) / RATE
  person = people.make_subject(subject, 0)
  pose = actions.perform(action, t, person, np.random.default_rng(3))
  figure = body.solve(pose, person.height, 0.4, RATE)
  wrist = figure.joints[:, body.INDEX['right_wrist']]
  return wrist, imu.sensor_frames(figure.forearms[:, body.RIGHT], np.zeros(3))


@pytest.mark.parametrize('seed', range(3))
def test_a_resting_wrist_reads_one_g_upward_whatever_its_orientation(seed):
  angles = np.random.default_rng(seed).uniform(-3, 3, 3)
  frame = body.rotation(0, angles[0]) @ body.rotation(1, angles[1]) @ body.rotation(2, angles[2])
  frames = np.broadcast_to(frame, (12, 3, 3))
  reading = imu.ideal(np.ones((12, 3)), frames, RATE)
  np.testing.assert_allclose(reading[:, :3] @ frame.T, np.tile([0, 1, 0], (10, 1)), atol=1e-9)
  np.testing.assert_allclose(reading[:, 3:], 0, atol=1e-4)


def test_a_hanging_arm_reads_minus_one_g_along_x():
  figure = body.solve(body.Pose.standing(60), 1.8, 1.0, RATE)
  reading = imu.measure(
    figure.joints[:, body.INDEX['right_wrist']],
    figure.forearms[:, body.RIGHT],
    rate=RATE,
    stride=6,
    rng=np.random.default_rng(0),
    **SILENT,
  )
  assert reading.shape == (10, 6)
  np.testing.assert_allclose(reading, np.tile([-1.0, 0, 0, 0, 0, 0], (10, 1)), atol=1e-6)


def test_free_fall_reads_nothing():
  t = np.arange(62) / RATE
  position = np.stack([0 * t, -0.5 * imu.GRAVITY * t**2, 0 * t], axis=1)
  frames = np.broadcast_to(np.eye(3), (62, 3, 3))
  np.testing.assert_allclose(imu.ideal(position, frames, RATE), 0, atol=1e-6)


def test_circular_motion_has_centripetal_acceleration_and_constant_rate():
  t, speed, radius = np.arange(-1, 301) / RATE, 4.0, 0.6
  position = radius * np.stack([np.cos(speed * t), 0 * t, -np.sin(speed * t)], axis=1)
  reading = imu.ideal(position, body.rotation(1, speed * t), RATE)
  expected = [-radius * speed**2 / imu.GRAVITY, 1, 0, 0, np.rad2deg(speed), 0]
  np.testing.assert_allclose(reading, np.tile(expected, (300, 1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('action', actions.ACTIONS)
def test_integrating_the_acceleration_twice_gives_the_path_back(action):
  position, frames = perform(action)
  reading = imu.ideal(position, frames, RATE)
  force = np.einsum('tij,tj->ti', frames[1:-1], reading[:, :3]) * imu.GRAVITY
  velocity = (position[1] - position[0]) * RATE + np.cumsum(force - [0, imu.GRAVITY, 0], 0) / RATE
  path = position[1] + np.cumsum(velocity, axis=0) / RATE
  assert np.ptp(position, axis=0).max() > 0.03
  np.testing.assert_allclose(path, position[2:], atol=1e-6)


@pytest.mark.parametrize('action', actions.ACTIONS)
def test_the_gyroscope_carries_each_orientation_to_the_next(action):
  _, frames = perform(action)
  rates = np.deg2rad(imu.ideal(np.zeros((len(frames), 3)), frames, RATE)[:, 3:])
  skew = np.zeros((len(rates), 3, 3))
  skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0] = rates.T
  skew -= np.swapaxes(skew, 1, 2)
  difference = np.swapaxes(frames[1:-1], 1, 2) @ (frames[2:] - frames[:-2]) * RATE / 2
  assert np.abs(rates).max() > 0.1
  np.testing.assert_allclose(skew, difference, atol=0.02 * np.abs(rates).max())


def test_noise_and_bias_are_added():
  reading = imu.measure(
    np.zeros((3002, 3)),
    np.broadcast_to(np.eye(3), (3002, 3, 3)),
    rate=RATE,
    stride=1,
    mounting=np.zeros(3),
    bias=np.array([0.1, 0, 0, 5.0, 0, 0]),
    noise=(0.02, 1.0),
    rng=np.random.default_rng(0),
  )
  np.testing.assert_allclose(reading.mean(axis=0)[:3], [-0.9, 0, 0], atol=0.002)
  np.testing.assert_allclose(reading.mean(axis=0)[3:], [5, 0, 0], atol=0.1)
  np.testing.assert_allclose(reading.std(axis=0), [0.02] * 3 + [1.0] * 3, rtol=0.1)


def test_the_sensor_clips_at_its_range():
  t = np.arange(602) / RATE
  shaken = imu.measure(
    np.stack([0 * t, 0 * t, np.sin(60 * t)], axis=1),
    np.broadcast_to(np.eye(3), (602, 3, 3)),
    rate=RATE,
    stride=6,
    rng=np.random.default_rng(0),
    **SILENT,
  )
  assert shaken[:, 1].max() == imu.ACCEL_RANGE
  assert shaken[:, 1].min() == -imu.ACCEL_RANGE
