"""Draws a figure as a video: anti-aliased, shaded capsules with shadows in a lit room."""

import numpy as np

from data_builders.stickman.body import Figure
from data_builders.stickman.people import Subject
from data_builders.stickman.scene import SHADOWS, Camera, capsules

_GRAIN = 2.5  # standard deviation of the camera's noise, of 255
_SHADOW = 0.5


class _Canvas:
  """A frame being drawn: colours [3, H, W] and distances [H, W] of what is visible."""

  def __init__(self, background: np.ndarray):
    self._background = background
    self.image = np.empty_like(background)
    self._depth = np.empty(background.shape[1:], np.float32)
    self._rows = np.arange(background.shape[1], dtype=np.float32)[:, None]
    self._columns = np.arange(background.shape[2], dtype=np.float32)[None]

  def clear(self) -> None:
    """Back to the empty room."""
    self.image[:] = self._background
    self._depth[:] = np.inf

  def _near(self, ends, radii, stretch=1.0):
    """The window that a capsule touches: slices, offset from its axis, place on it, radius."""
    (ax, ay), (bx, by) = ends
    margin = max(radii) + 1.0
    rise = margin / stretch
    x0, y0 = max(int(min(ax, bx) - margin), 0), max(int(min(ay, by) - rise), 0)
    x1, y1 = max(int(max(ax, bx) + margin) + 1, x0), max(int(max(ay, by) + rise) + 1, y0)
    dx, dy = bx - ax, (by - ay) * stretch
    px, py = self._columns[:, x0:x1] - ax, (self._rows[y0:y1] - ay) * stretch
    shrink = 1 / (dx * dx + dy * dy + 1e-6)
    along = px * (dx * shrink) + py * (dy * shrink)
    np.minimum(np.maximum(along, 0, out=along), 1, out=along)
    return (
      (slice(y0, y1), slice(x0, x1)),
      px - along * dx,
      py - along * dy,
      along,
      along * (radii[1] - radii[0]) + radii[0],
    )

  def shade(self, parts, stretch: float) -> None:
    """Darkens the floor below flat parts (ends, radii); where they overlap, once."""
    mask = np.zeros_like(self._depth)
    for ends, radii in parts:
      window, px, py, _, radius = self._near(ends, radii, stretch)
      cover = 1.3 - 1.3 * np.sqrt(px * px + py * py) / radius
      mask[window] = np.maximum(mask[window], np.minimum(cover, 1))
    self.image *= 1 - _SHADOW * mask

  def capsule(self, ends, radii, depths, thickness, colour, light, ambient) -> None:
    """Draws a shaded capsule where it is nearer than what is there."""
    window, px, py, along, radius = self._near(ends, radii)
    distance = np.sqrt(px * px + py * py)
    scale = 1 / np.maximum(distance, radius)
    bulge = np.sqrt(np.maximum(1 - (distance * scale) ** 2, 0))
    depth = depths[0] + along * (depths[1] - depths[0]) - bulge * thickness
    behind = self._depth[window]
    cover = np.minimum(np.maximum(radius - distance + 0.5, 0), 1) * (depth < behind)
    lit = np.maximum(-(px * light[0] + py * light[1]) * scale - bulge * light[2], 0)
    tone = ambient + (1.05 - ambient) * lit
    target = self.image[:, window[0], window[1]]
    target += cover * (np.minimum(tone * colour, 1) - target)
    np.copyto(behind, depth, where=cover > 0.5)


def _shadow_parts(ends, radii, subject, camera):
  """Pixels and radii of shadows on the floor, as lists over frames and parts."""
  chosen = ends[:, list(SHADOWS)]
  fallen = chosen - chosen[..., 1:2] * (subject.light / subject.light[1])
  seen = camera.see(fallen)
  sizes = radii[list(SHADOWS)] * camera.focal / seen[..., 2] * 1.25 + 1
  return camera.project(seen).tolist(), sizes.tolist()


def render(
  figure: Figure,
  subject: Subject,
  camera: Camera,
  background: np.ndarray,
  rng: np.random.Generator,
  *,
  seat: float | None = None,
) -> np.ndarray:
  """Films the figure.

  Args:
    figure: T frames of motion.
    subject: whose body, clothes and lamp to draw.
    camera: where it is seen from.
    background: the empty room, float32 [H, W, 3] in 0..1.
    rng: source of the trial's exposure and of the camera's noise.
    seat: the pelvis' height when sitting, which draws a stool.

  Returns:
    uint8 [T, H, W, 3].
  """
  ends, radii, colours = capsules(figure, subject, seat)
  seen = camera.see(ends)
  depth = seen[..., 2]
  # Far to near, so that smooth edges mix with what is behind them.
  order = np.argsort(-depth.mean(axis=2), axis=1).tolist()
  sizes = (radii * camera.focal / depth).tolist()
  pixels, depths, thickness = camera.project(seen).tolist(), depth.tolist(), radii.mean(1).tolist()
  shadows, shadow_sizes = _shadow_parts(ends, radii, subject, camera)
  paints = colours.astype(np.float32)[:, :, None, None]
  light = (camera.rotate @ subject.light).tolist()
  exposure = 255 * subject.exposure * rng.uniform(0.9, 1.1) * (1 + rng.normal(0, 0.02, 3))
  gain = exposure.astype(np.float32)[:, None, None]
  shape = (camera.height, camera.width)
  grain = _GRAIN * rng.standard_normal((2 * shape[0], 2 * shape[1]), np.float32)
  canvas = _Canvas(np.moveaxis(background, -1, 0).copy())
  frames = np.empty((len(ends), *shape, 3), np.uint8)
  for i in range(len(ends)):
    canvas.clear()
    canvas.shade(
      zip(shadows[i], shadow_sizes[i], strict=True), subject.camera[1] / subject.camera[0]
    )
    for j in order[i]:
      canvas.capsule(
        pixels[i][j], sizes[i][j], depths[i][j], thickness[j], paints[j], light, subject.ambient
      )
    y, x = (int(rng.integers(size)) for size in shape)
    noisy = canvas.image * gain + grain[y : y + shape[0], x : x + shape[1]]
    noisy = np.minimum(np.maximum(noisy, 0, out=noisy), 255, out=noisy)
    frames[i] = np.moveaxis(noisy.astype(np.uint8), 0, -1)
  return frames
