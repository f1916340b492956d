import numpy as np
import pytest

from data_builders.stickman import body

RATE = 300


def rest(steps=30):
  return body.Pose.standing(steps)


def test_a_quarter_turn_about_x_takes_y_to_z_and_down_to_the_front():
  turn = body.rotation(0, np.pi / 2)
  np.testing.assert_allclose(turn @ [0, 1, 0], [0, 0, 1], atol=1e-12)
  np.testing.assert_allclose(turn @ [0, -1, 0], [0, 0, -1], atol=1e-12)


def test_a_standing_figure_has_its_soles_on_the_floor_and_its_own_height():
  joints = body.solve(rest(), 1.8, 0.0, RATE).joints
  assert joints.shape == (30, 20, 3)
  feet = joints[:, [body.INDEX['left_foot'], body.INDEX['right_foot']], 1]
  np.testing.assert_allclose(feet, 0.02, atol=0.02)
  np.testing.assert_allclose(joints[:, body.INDEX['head'], 1], 1.8 * 0.94, atol=0.06)


def test_the_right_hand_is_at_positive_x_for_who_faces_the_camera():
  joints = body.solve(rest(), 1.8, 0.0, RATE).joints
  assert (joints[:, body.INDEX['right_hand'], 0] > 0.1).all()
  assert (joints[:, body.INDEX['left_hand'], 0] < -0.1).all()


def test_sides_mirror_each_other():
  pose = rest()
  pose.shoulder[:] = 0.7, 0.4, 0.2
  pose.elbow[:], pose.forearm[:], pose.hip[:], pose.knee[:] = 1.1, 0.3, (0.5, 0.1), 0.8
  joints = body.solve(pose, 1.7, 0.0, RATE).joints
  left = joints[:, [body.INDEX[n] for n in body.JOINTS if n.startswith('left')]]
  right = joints[:, [body.INDEX[n] for n in body.JOINTS if n.startswith('right')]]
  np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-9)


def test_bones_keep_their_length_in_any_pose():
  pose = rest()
  rng = np.random.default_rng(0)
  for name in ('pelvis', 'spine', 'neck', 'shoulder', 'elbow', 'forearm', 'hip', 'knee', 'ankle'):
    angles = getattr(pose, name)
    angles += rng.uniform(-1, 1, angles.shape)
  joints = body.solve(pose, 2.0, 0.6, RATE).joints
  for a, b, share in (
    ('left_shoulder', 'left_elbow', 0.178),
    ('right_elbow', 'right_wrist', 0.15),
    ('right_hip', 'right_knee', 0.245),
    ('left_knee', 'left_ankle', 0.246),
  ):
    length = np.linalg.norm(joints[:, body.INDEX[a]] - joints[:, body.INDEX[b]], axis=-1)
    np.testing.assert_allclose(length, 2.0 * share)


@pytest.mark.parametrize('pitch', [-1.5, 1.5])
def test_a_lying_figure_is_on_the_floor(pitch):
  pose = rest()
  pose.pelvis[:, 0] = pitch
  joints = body.solve(pose, 1.8, 0.0, RATE).joints
  assert joints[..., 1].min() > -0.02
  assert joints[:, body.INDEX['head'], 1].max() < 0.35


def test_feet_of_a_planted_figure_stay():
  pose = rest(300)
  pose.pelvis[:, 0] = np.linspace(0, -1, 300)
  joints = body.solve(pose, 1.8, 0.0, RATE).joints
  ankles = joints[:, [body.INDEX['left_ankle'], body.INDEX['right_ankle']]][:, :, [0, 2]].mean(1)
  np.testing.assert_allclose(ankles, np.broadcast_to(ankles[:1], ankles.shape), atol=0.01)


def test_smoothing_keeps_constants_and_lines():
  line = np.linspace(0, 1, 200)[:, None] * [1.0, -2.0]
  np.testing.assert_allclose(body.smooth(np.ones((50, 3)), 0.01, RATE), 1.0)
  np.testing.assert_allclose(body.smooth(line, 0.01, RATE)[20:-20], line[20:-20], atol=1e-12)
