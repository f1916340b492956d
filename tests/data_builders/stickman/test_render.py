import dataclasses

import numpy as np

from data_builders.stickman import body, people, render, scene

PERSON = people.make_subject(1, 0)


def film(yaw=0.0, steps=3, seed=0, scale=1):
  camera = scene.make_camera(PERSON, scene.WIDTH * scale, scene.HEIGHT * scale)
  figure = body.solve(body.Pose.standing(steps), PERSON.height, yaw, 300)
  background = scene.room(PERSON, camera)
  rng = np.random.default_rng(seed)
  return figure, camera, background, render.render(figure, PERSON, camera, background, rng)


def test_frames_are_colour_pictures_of_the_asked_size():
  *_, frames = film(scale=2)
  assert frames.shape == (3, 240, 320, 3)
  assert frames.dtype == np.uint8


def test_the_camera_projects_as_a_pinhole():
  camera = scene.Camera(np.eye(3), np.zeros(3), 160, 120)
  np.testing.assert_allclose(camera.project(np.array([0.0, 0, 3])), [79.5, 59.5])
  # Up is a smaller row; positive x, the camera's left, a smaller column.
  column, row = camera.project(np.array([1.0, 1, 3]))
  np.testing.assert_allclose([79.5 - column, 59.5 - row], camera.focal / 3)
  top = camera.project(np.array([0.0, 3 * np.tan(np.deg2rad(21.5)), 3]))
  np.testing.assert_allclose(top[1], -0.5, atol=1e-6)


def test_the_figure_is_drawn_where_its_joints_are():
  figure, camera, background, frames = film(yaw=0.5)
  column, row = (
    camera.project(camera.see(figure.joints[0, body.INDEX['spine']])).round().astype(int)
  )
  seen = frames[0, row, column] / 255
  assert np.abs(seen - background[row, column]).max() > 0.15
  # The shirt, in whatever light: the channels keep their order.
  assert np.argmax(seen) == np.argmax(PERSON.colours['shirt'])


def test_away_from_figure_and_shadow_the_room_stays_up_to_noise():
  *_, background, frames = film()
  corner = frames[:, :30, :20].astype(float)
  gain = corner.mean() / (255 * background[:30, :20].mean())
  assert 0.7 < gain < 1.4
  assert 0 < np.std(corner[1] - corner[0]) < 8


def test_the_floor_darkens_below_stretched_arms_under_a_lamp_overhead():
  person = dataclasses.replace(PERSON, light=np.array([0.0, 1.0, 0.0]))
  pose = body.Pose.standing(1)
  pose.shoulder[:, :, 1] = np.pi / 2
  figure = body.solve(pose, person.height, 0.0, 300)
  camera = scene.make_camera(person)
  background = scene.room(person, camera)
  frame = render.render(figure, person, camera, background, np.random.default_rng(0))[0]
  brightness = frame.mean(axis=-1) / (255 * background.mean(axis=-1))

  def below(joint):
    spot = figure.joints[0, body.INDEX[joint]] * [1, 0, 1]
    column, row = camera.project(camera.see(spot)).round().astype(int)
    return brightness[row, column]

  beside = brightness[100:118, :8].mean()
  assert below('left_wrist') < 0.8 * beside
  assert below('right_wrist') < 0.8 * beside


def test_the_picture_follows_the_generator():
  np.testing.assert_array_equal(film(seed=1)[3], film(seed=1)[3])
  assert (film(seed=1)[3] != film(seed=2)[3]).any()


def test_sitting_draws_a_stool():
  pose = body.Pose.standing(2)
  pose.seat, pose.hip[:, :, 0], pose.knee[:] = 0.48, 1.5, 1.5
  figure = body.solve(pose, PERSON.height, 0.9, 300)
  assert len(scene.capsules(figure, PERSON, None)[1]) + 5 == len(
    scene.capsules(figure, PERSON, pose.seat)[1]
  )
