"""What the camera sees: the room, and the figure as capsules.

Camera axes are Kinect's: x to the camera's left, y up, z away from the lens, so that a figure
facing the camera has its right hand at positive x and, unmirrored, at the picture's left.
"""

import dataclasses

import numpy as np

from data_builders.stickman.body import INDEX, Figure, rotation
from data_builders.stickman.people import Subject

WIDTH, HEIGHT = 160, 120
_HALF_VIEW = np.deg2rad(21.5)  # Kinect v1: 43 degrees high
_WALL = 1.5  # behind the figure, metres
_ORANGE = np.array([1.0, 0.55, 0.1])

# Body parts: joints at both ends, radii there as fractions of the height, colour.
_PARTS = (
  ('shoulder_center', 'hip_center', 0.068, 0.062, 'shirt'),
  ('left_shoulder', 'right_shoulder', 0.045, 0.045, 'shirt'),
  ('left_shoulder', 'left_hip', 0.046, 0.05, 'shirt'),
  ('right_shoulder', 'right_hip', 0.046, 0.05, 'shirt'),
  ('shoulder_center', 'head', 0.03, 0.03, 'skin'),
  *((f'{s}_shoulder', f'{s}_elbow', 0.036, 0.029, 'shirt') for s in ('left', 'right')),
  *((f'{s}_elbow', f'{s}_wrist', 0.028, 0.021, 'skin') for s in ('left', 'right')),
  *((f'{s}_wrist', f'{s}_hand', 0.023, 0.027, 'skin') for s in ('left', 'right')),
  *((f'{s}_hip', f'{s}_knee', 0.052, 0.038, 'trousers') for s in ('left', 'right')),
  *((f'{s}_knee', f'{s}_ankle', 0.036, 0.025, 'trousers') for s in ('left', 'right')),
  *((f'{s}_ankle', f'{s}_foot', 0.026, 0.022, 'shoes') for s in ('left', 'right')),
)
# The parts that cast a shadow worth seeing: trunk, head, limbs without hands and feet.
SHADOWS = (0, 2, 3, 5, 6, 7, 8, 11, 12, 13, 14, len(_PARTS))


@dataclasses.dataclass(frozen=True)
class Camera:
  """A pinhole camera: `rotate` [3, 3] and `position` [3] take the room to camera axes."""

  rotate: np.ndarray
  position: np.ndarray
  width: int
  height: int

  @property
  def focal(self) -> float:
    """Focal length in pixels."""
    return self.height / 2 / np.tan(_HALF_VIEW)

  def see(self, points: np.ndarray) -> np.ndarray:
    """Room to camera coordinates, [..., 3] metres."""
    return (points - self.position) @ self.rotate.T

  def project(self, seen: np.ndarray) -> np.ndarray:
    """Camera coordinates [..., 3] to pixels (column, row) [..., 2]."""
    scaled = -self.focal * seen[..., :2] / seen[..., 2:]
    return scaled + np.array([(self.width - 1) / 2, (self.height - 1) / 2])


def make_camera(subject: Subject, width: int = WIDTH, height: int = HEIGHT) -> Camera:
  """The camera that films `subject`."""
  level, distance, tilt = subject.camera
  return Camera(rotation(0, -tilt), np.array([0, level, -distance]), width, height)


def _wall(x: np.ndarray, y: np.ndarray, colour: np.ndarray, rng) -> np.ndarray:
  """Colours of the wall at `x`, `y`: framed pictures side by side and a skirting board."""
  wall = colour * (0.82 + 0.08 * y[..., None])
  left = rng.uniform(-3.0, -2.2)
  for _ in range(4):
    wide, tall, bottom = rng.uniform(0.35, 0.8), rng.uniform(0.35, 0.7), rng.uniform(0.9, 1.6)
    inset = np.minimum(
      wide / 2 - np.abs(x - left - wide / 2), tall / 2 - np.abs(y - bottom - tall / 2)
    )
    wall[inset > 0] *= rng.uniform(0.65, 1.15) * rng.uniform(0.85, 1.1, 3)
    wall[(inset > 0) & (inset < 0.05)] *= 0.6
    left += wide + rng.uniform(0.5, 1.3)
  wall[(y > 0) & (y < 0.09)] *= 0.7
  return wall


def _floor(x: np.ndarray, z: np.ndarray, colour: np.ndarray, rng) -> np.ndarray:
  """Colours of the floor at `x`, `z`: boards that darken with distance `z` from the camera."""
  board = x / 0.22
  tint = rng.uniform(0.9, 1.06, 31)[np.floor(board).astype(int) % 31]
  seam = np.where(np.abs(board % 1 - 0.5) > 0.46, 0.86, 1.0)
  return colour * (tint * seam * np.clip(1.12 - 0.09 * z, 0.6, 1.1))[..., None]


def room(subject: Subject, camera: Camera) -> np.ndarray:
  """The empty room, float32 [H, W, 3] in 0..1."""
  rng = np.random.default_rng(subject.room)
  rows, columns = np.mgrid[: camera.height, : camera.width]
  across, up = (camera.width - 1) / 2 - columns, (camera.height - 1) / 2 - rows
  rays = np.stack([across, up, np.full(rows.shape, camera.focal)], axis=-1) @ camera.rotate
  to_wall = (_WALL - camera.position[2]) / rays[..., 2]
  to_floor = camera.position[1] / np.maximum(-rays[..., 1], 1e-6)
  on_wall = camera.position + rays * to_wall[..., None]
  wall = _wall(on_wall[..., 0], on_wall[..., 1], subject.colours['wall'], rng)
  on_floor = rays * np.minimum(to_floor, to_wall)[..., None]
  floor = _floor(on_floor[..., 0], on_floor[..., 2], subject.colours['floor'], rng)
  view = np.where((to_floor < to_wall)[..., None], floor, wall)
  edge = np.hypot(columns / camera.width - 0.5, rows / camera.height - 0.5)
  return (view * (1.06 - 0.4 * edge**2)[..., None]).clip(0, 1).astype(np.float32)


def capsules(
  figure: Figure, subject: Subject, seat: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Ends [T, P, 2, 3] in the room, radii [P, 2] in metres, colours [P, 3]; body parts first."""
  joints, height = figure.joints, subject.height
  ends = [np.stack([joints[:, INDEX[a]], joints[:, INDEX[b]]], axis=1) for a, b, *_ in _PARTS]
  radii = [(height * subject.build * ra, height * subject.build * rb) for *_, ra, rb, _ in _PARTS]
  colours = [subject.colours[name] for *_, name in _PARTS]

  def add(start, end, radius_start, radius_end, colour):
    ends.append(np.stack([start, end], axis=1))
    radii.append((radius_start, radius_end))
    colours.append(colour)

  centre = joints[:, INDEX['head']]
  up, ahead = figure.head[:, :, 1] * height, -figure.head[:, :, 2] * height
  add(centre - 0.018 * up, centre + 0.016 * up, 0.05 * height, 0.056 * height, colours[4])
  add(
    centre + 0.03 * up - 0.008 * ahead, centre - 0.005 * up - 0.022 * ahead,
    0.056 * height, 0.05 * height, subject.colours['hair'],
  )  # fmt: skip
  nose = centre + 0.054 * ahead - 0.005 * up
  add(nose, nose - 0.012 * up, 0.009 * height, 0.011 * height, 0.85 * subject.colours['skin'])
  elbow, wrist = joints[:, INDEX['right_elbow']], joints[:, INDEX['right_wrist']]
  band = 0.8 * (wrist - elbow)
  add(elbow + band, elbow + 1.15 * band, 0.026 * height, 0.026 * height, _ORANGE)
  if seat is not None:
    top = np.repeat(joints[:1, INDEX['hip_center']], len(joints), axis=0)
    top = top - np.array([0, 0.11, 0])
    wood = np.array([0.36, 0.25, 0.18])
    for side in (-1, 1):
      for depth in (-1, 1):
        corner = np.array([0.13 * side, 0, 0.13 * depth])
        foot = (top + 1.3 * corner) * np.array([1, 0, 1])
        add(top + 0.9 * corner, foot, 0.028, 0.022, 0.8 * wood)
    add(top - np.array([0.12, 0, 0]), top + np.array([0.12, 0, 0]), 0.07, 0.07, wood)
  return np.stack(ends, axis=1), np.array(radii), np.array(colours)
