"""What a wrist sensor reads, from the motion of the arm that wears it."""

import numpy as np

from data_builders.stickman.body import rotation, smooth

GRAVITY = 9.80665  # m/s^2
ACCEL_RANGE = 8.0  # g, the range of UTD-MHAD's sensor
GYRO_RANGE = 1000.0  # deg/s
# Half a sample at 50 Hz: the sensor's own low-pass, which keeps impacts from aliasing.
_BANDWIDTH_SECONDS = 0.008

# Sensor x points from elbow to hand, y to the thumb's side, z out of the back of the wrist.
SENSOR_FROM_FOREARM = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def acceleration(position: np.ndarray, rate: float) -> np.ndarray:
  """Second central difference of `position` [T + 2, 3] at `rate` hertz: [T, 3] in m/s^2."""
  return (position[2:] - 2 * position[1:-1] + position[:-2]) * rate**2


def angular_velocity(frames: np.ndarray, rate: float) -> np.ndarray:
  """Angular velocity in the moving frame.

  Args:
    frames: [T + 2, 3, 3] rotations from the moving frame to the room, at `rate` hertz.
    rate: samples per second.

  Returns:
    [T, 3] radians per second.
  """
  step = np.swapaxes(frames[:-2], 1, 2) @ frames[2:]
  cosine = np.clip((np.trace(step, axis1=1, axis2=2) - 1) / 2, -1, 1)
  angle = np.arccos(cosine)
  # angle / sin(angle) tends to 1; below 1e-6 the quotient is rounding noise.
  scale = np.where(angle > 1e-6, angle / np.maximum(np.sin(angle), 1e-9), 1.0)
  skew = (step - np.swapaxes(step, 1, 2)) / 2
  vector = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
  return vector * scale[:, None] * rate / 2


def ideal(position: np.ndarray, frames: np.ndarray, rate: float) -> np.ndarray:
  """A perfect sensor's reading.

  Args:
    position: [T + 2, 3] metres, y up.
    frames: [T + 2, 3, 3] rotations from sensor frame to room.
    rate: samples per second.

  Returns:
    [T, 6]: specific force x y z in g (at rest, 1 g upward) and angular velocity x y z in deg/s,
    both in the sensor's frame.
  """
  force = acceleration(position, rate) + np.array([0, GRAVITY, 0])
  local = np.einsum('tji,tj->ti', frames[1:-1], force) / GRAVITY
  return np.concatenate([local, np.rad2deg(angular_velocity(frames, rate))], axis=1)


def sensor_frames(forearm: np.ndarray, mounting: np.ndarray) -> np.ndarray:
  """Rotations from the sensor to the room.

  Args:
    forearm: [T, 3, 3] rotations from forearm to room.
    mounting: [3] small angles, radians, by which the strap is turned.
  """
  tilt = rotation(0, mounting[0]) @ rotation(1, mounting[1]) @ rotation(2, mounting[2])
  return forearm @ SENSOR_FROM_FOREARM.T @ tilt


def measure(
  position: np.ndarray,
  forearm: np.ndarray,
  *,
  rate: int,
  stride: int,
  mounting: np.ndarray,
  bias: np.ndarray,
  noise: tuple[float, float],
  rng: np.random.Generator,
) -> np.ndarray:
  """A real sensor's reading: band-limited, sampled, biased, noisy and clipped to its range.

  Args:
    position: [T + 2, 3] wrist position, metres.
    forearm: [T + 2, 3, 3] rotations from forearm to room.
    rate: samples per second of the motion.
    stride: motion samples per sensor sample.
    mounting: [3] angles of the strap, radians.
    bias: [6] g and deg/s.
    noise: standard deviations, g and deg/s.
    rng: source of the noise.

  Returns:
    [ceil(T / stride), 6] accelerometer in g, gyroscope in deg/s.
  """
  clean = ideal(position, sensor_frames(forearm, mounting), rate)
  sampled = smooth(clean, _BANDWIDTH_SECONDS, rate)[::stride]
  deviation = np.repeat(np.asarray(noise), 3)
  noisy = sampled + bias + deviation * rng.standard_normal(sampled.shape)
  limit = np.repeat([ACCEL_RANGE, GYRO_RANGE], 3)
  return np.clip(noisy, -limit, limit)
