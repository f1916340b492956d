"""Who is filmed: traits of a subject, drawn once per subject and seed."""

import colorsys
import dataclasses

import numpy as np

# As many on each side of the odd/even split.
LEFT_HANDED = (2, 3, 6, 7)


@dataclasses.dataclass(frozen=True)
class Subject:
  """One person, their sensor and the room they were filmed in.

  Attributes:
    height: metres.
    tempo: speed of all movements, about 1.
    amplitude: size of all movements, about 1.
    left_handed: the sensor is on the right wrist all the same.
    view: angle between heading and camera, radians, either side.
    camera: height above the floor and distance, metres, and downward pitch, radians.
    light: unit vector towards the lamp, in the room.
    ambient: share of light from everywhere, 0 to 1.
    exposure: overall brightness, about 1.
    mounting: [3] angles by which the sensor's strap is turned, radians.
    bias: [6] sensor bias, g and deg/s.
    build: thickness of the limbs, about 1.
    colours: RGB in 0..1 by name.
    room: seed of the room's furniture.
  """

  height: float
  tempo: float
  amplitude: float
  left_handed: bool
  view: float
  camera: tuple[float, float, float]
  light: np.ndarray
  ambient: float
  exposure: float
  mounting: np.ndarray
  bias: np.ndarray
  build: float
  colours: dict[str, np.ndarray]
  room: int


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
  return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def make_subject(number: int, seed: int) -> Subject:
  """The person with this number; the same for any set of subjects that is generated."""
  rng = np.random.default_rng([seed, number])
  # Quantities that identify a class if they drift are spread evenly over the numbers.
  spread = (number * 0.618 + rng.uniform(0, 0.1)) % 1
  light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(1.3, 1.8), rng.uniform(-0.8, -0.4)])
  shirt_hue, wall_hue = rng.uniform(size=2)
  skin = np.array([0.93, 0.76, 0.63]) * rng.choice([1.0, 0.9, 0.72, 0.55])
  return Subject(
    height=1.58 + 0.32 * spread,
    tempo=rng.uniform(0.88, 1.14),
    amplitude=rng.uniform(0.88, 1.14),
    left_handed=number in LEFT_HANDED,
    view=np.deg2rad(rng.uniform(35, 60)),
    camera=(rng.uniform(0.95, 1.2), rng.uniform(2.85, 3.15), rng.uniform(0.02, 0.08)),
    light=light / np.linalg.norm(light),
    ambient=rng.uniform(0.42, 0.62),
    exposure=rng.uniform(1.0, 1.2),
    mounting=rng.normal(0, 0.12, 3),
    bias=np.concatenate([rng.normal(0, 0.015, 3), rng.normal(0, 1.2, 3)]),
    build=rng.uniform(0.9, 1.15),
    colours={
      'skin': skin,
      'hair': _colour(0.07, rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.45)),
      'shirt': _colour(shirt_hue, rng.uniform(0.55, 0.85), rng.uniform(0.6, 0.95)),
      'trousers': _colour(rng.uniform(0.55, 0.7), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.4)),
      'shoes': _colour(rng.uniform(), 0.3, rng.uniform(0.12, 0.9)),
      'wall': _colour(wall_hue, rng.uniform(0.08, 0.25), rng.uniform(0.62, 0.82)),
      'floor': _colour(rng.uniform(0.05, 0.12), rng.uniform(0.25, 0.5), rng.uniform(0.4, 0.62)),
    },
    room=int(rng.integers(2**31)),
  )
