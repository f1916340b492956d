"""Draws a figure as a video: anti-aliased, shaded capsules in a lit room.

Camera axes are Kinect's: x to the camera's left, y up, z away from the lens, so that a figure
facing the camera has its right hand at positive x and, unmirrored, at the picture's left.
"""

import dataclasses

import numpy as np

from data_builders.stickman.body import INDEX, LEFT, RIGHT, Figure, rotation
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


def room(subject: Subject, camera: Camera) -> np.ndarray:
  """The empty room, float32 [H, W, 3] in 0..1: wall, furniture on it, floor boards."""
  rng = np.random.default_rng(subject.room)
  rows, columns = np.mgrid[: camera.height, : camera.width]
  rays = np.stack(
    [
      (camera.width - 1) / 2 - columns,
      (camera.height - 1) / 2 - rows,
      np.full(rows.shape, camera.focal),
    ],
    axis=-1,
  ) @ camera.rotate  # fmt: skip
  to_wall = (_WALL - camera.position[2]) / rays[..., 2]
  to_floor = np.where(rays[..., 1] < 0, -camera.position[1] / np.minimum(rays[..., 1], -1e-6), 1e6)
  wall_points = camera.position + rays * to_wall[..., None]
  x, y = wall_points[..., 0], wall_points[..., 1]
  wall = np.broadcast_to(subject.colours['wall'], (*x.shape, 3)) * (0.82 + 0.1 * y[..., None])
  for _ in range(rng.integers(2, 5)):
    left, bottom = rng.uniform(-2.6, 2.0), rng.uniform(0.5, 1.5)
    wide, tall = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9)
    inside = (x > left) & (x < left + wide) & (y > bottom) & (y < bottom + tall)
    border = inside & ~(
      (x > left + 0.06) & (x < left + wide - 0.06) & (y > bottom + 0.06) & (y < bottom + tall - 0.06)
    )
    wall[inside] *= rng.uniform(0.6, 1.25) * rng.uniform(0.85, 1.1, 3)
    wall[border] *= 0.6
  wall[(y > 0) & (y < 0.09)] *= 0.7
  floor_points = camera.position + rays * to_floor[..., None]
  board = np.floor(floor_points[..., 0] / 0.22).astype(int) % 31
  tint = rng.uniform(0.9, 1.06, 31)[board]
  seam = np.abs(floor_points[..., 0] / 0.22 % 1 - 0.5) > 0.46
  floor = subject.colours['floor'] * (tint * np.where(seam, 0.86, 1.0))[..., None]
  fade = np.clip(1.12 - 0.09 * (floor_points[..., 2] - camera.position[2]), 0.6, 1.1)
  scene = np.where((to_floor < to_wall)[..., None], floor * fade[..., None], wall)
  radius = np.hypot(columns / camera.width - 0.5, rows / camera.height - 0.5)
  return (scene * (1.08 - 0.45 * radius**2)[..., None]).clip(0, 1).astype(np.float32)


def _capsules(figure: Figure, subject: Subject, height: float, seat: float | None):
  """Ends [T, P, 2, 3] in the room, radii [P, 2] in metres, colours [P, 3]; body parts first."""
  joints = figure.joints
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


class _Canvas:
  """One frame being drawn: colours [H, W, 3] and depths [H, W]."""

  def __init__(self, background: np.ndarray):
    self.image = background.copy()
    self.depth = np.full(background.shape[:2], np.inf, np.float32)
    height, width = self.depth.shape
    self.columns = np.arange(width, dtype=np.float32)
    self.rows = np.arange(height, dtype=np.float32)

  def _near(self, ends, radii, stretch=1.0):
    """The window that a capsule touches: slices, offset from the axis, place on it, radius."""
    (ax, ay), (bx, by) = ends
    margin = max(radii) + 1.0
    x0, x1 = int(max(min(ax, bx) - margin, 0)), int(min(max(ax, bx) + margin + 1, 1e6))
    low, high = min(ay, by) - margin / stretch, max(ay, by) + margin / stretch + 1
    y0, y1 = int(max(low, 0)), int(min(high, 1e6))
    columns, rows = self.columns[x0 : max(x1, 0)], self.rows[y0 : max(y1, 0)]
    if not (len(columns) and len(rows)):
      return None
    dx, dy = bx - ax, (by - ay) * stretch
    px, py = (columns - ax)[None], ((rows - ay) * stretch)[:, None]
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
    px, py = px - along * dx, py - along * dy
    radius = radii[0] + along * (radii[1] - radii[0])
    window = slice(y0, y0 + len(rows)), slice(x0, x0 + len(columns))
    return window, px, py, along, radius

  def shade(self, all_ends, all_radii, strength, stretch):
    """Darkens the floor below capsules [P, 2, 2] with radii [P, 2]; overlaps darken once."""
    mask = np.zeros_like(self.depth)
    for ends, radii in zip(all_ends.tolist(), all_radii.tolist(), strict=True):
      near = self._near(ends, radii, stretch)
      if near is None:
        continue
      window, px, py, _, radius = near
      cover = np.clip(1.3 * (1 - np.sqrt(px * px + py * py) / radius), 0, 1)
      np.maximum(mask[window], cover, out=mask[window])
    self.image *= (1 - strength * mask)[..., None]

  def capsule(self, ends, radii, depths, thickness, colour, light, ambient):
    """Draws a shaded capsule where it is nearer than what is there."""
    near = self._near(ends, radii)
    if near is None:
      return
    window, px, py, along, radius = near
    distance = np.sqrt(px * px + py * py)
    scale = 1 / np.maximum(distance, radius)
    bulge = np.sqrt(np.maximum(1 - (distance * scale) ** 2, 0))
    depth = depths[0] + along * (depths[1] - depths[0]) - bulge * thickness
    cover = np.clip(radius - distance + 0.5, 0, 1) * (depth < self.depth[window])
    lit = np.maximum(-(px * light[0] + py * light[1]) * scale - bulge * light[2], 0)
    tone = ambient + (1.05 - ambient) * lit
    paint = np.minimum(tone[..., None] * colour, 1)
    target = self.image[window]
    target += cover[..., None] * (paint - target)
    np.copyto(self.depth[window], depth, where=cover > 0.5)


def render(
  figure: Figure,
  subject: Subject,
  camera: Camera,
  rng: np.random.Generator,
  *,
  seat: float | None = None,
) -> np.ndarray:
  """Films the figure.

  Args:
    figure: T frames of motion.
    subject: whose body, clothes, room and lamp to draw.
    camera: where it is seen from.
    rng: source of the trial's exposure and of sensor noise.
    seat: the pelvis' height when sitting, which draws a stool.

  Returns:
    uint8 [T, H, W, 3].
  """
  background = room(subject, camera)
  ends, radii, colours = _capsules(figure, subject, subject.height, seat)
  seen = camera.see(ends)
  pixels, depth = camera.project(seen), seen[..., 2]
  sizes = radii * camera.focal / depth
  order = np.argsort(-depth.mean(axis=2), axis=1)
  light = camera.rotate @ subject.light
  slope = subject.light / subject.light[1]
  floor = ends - ends[..., 1:2] * slope
  floor_seen = camera.see(floor)
  floor_pixels = camera.project(floor_seen)
  floor_sizes = radii * camera.focal / floor_seen[..., 2] * 1.25 + 1
  stretch = subject.camera[1] / subject.camera[0]
  exposure = subject.exposure * rng.uniform(0.9, 1.1)
  tint = 1 + rng.normal(0, 0.02, 3)
  grain = rng.standard_normal((len(ends), camera.height, camera.width), np.float32)
  gain = (255 * exposure * tint).astype(np.float32)
  colours, light = colours.astype(np.float32), light.astype(np.float32)
  frames = np.empty((len(ends), camera.height, camera.width, 3), np.uint8)
  for i in range(len(ends)):
    canvas = _Canvas(background)
    canvas.shade(floor_pixels[i], floor_sizes[i], 0.5, stretch)
    for j in order[i]:
      canvas.capsule(
        pixels[i, j].tolist(), sizes[i, j].tolist(), depth[i, j].tolist(),
        float(radii[j].mean()), colours[j], light.tolist(), subject.ambient,
      )  # fmt: skip
    noisy = canvas.image * gain + 2.5 * grain[i, ..., None]
    frames[i] = noisy.clip(0, 255)
  return frames


def visible_wrists(figure: Figure, camera: Camera) -> np.ndarray:
  """Pixels (column, row) of both wrists, [T, 2, 2], LEFT first."""
  names = {LEFT: 'left_wrist', RIGHT: 'right_wrist'}
  return camera.project(camera.see(figure.joints[:, [INDEX[names[s]] for s in (LEFT, RIGHT)]]))
