"""The six actions as joint angles over time.

Each action draws its variation from the trial's generator first and is then a smooth function of
time, so one trial can be sampled at any rate. Where two actions are meant to be told apart by one
modality only, the comment says which.
"""

from collections.abc import Callable

import numpy as np

from data_builders.stickman.body import LEFT, RIGHT, Pose
from data_builders.stickman.people import Subject

ACTIONS = ('walk', 'run', 'fall', 'punch', 'push', 'nod_off')
ABNORMAL = ('fall', 'punch', 'push', 'nod_off')
BOTH = slice(None)


def ramp(t: np.ndarray, start: float, duration: float) -> np.ndarray:
  """Minimum-jerk passage from 0 to 1 (Flash and Hogan 1985)."""
  u = np.clip((t - start) / duration, 0, 1)
  return u**3 * (10 - 15 * u + 6 * u**2)


def pulse(t: np.ndarray, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
  """Out and back between 0 and 1."""
  return ramp(t, start, rise) - ramp(t, start + rise + hold, fall)


def _sway(pose: Pose, t: np.ndarray, rng: np.random.Generator, size: float) -> None:
  """Adds slow random drift to every joint: nobody holds still."""
  for joint in (pose.pelvis, pose.spine, pose.neck, pose.shoulder, pose.elbow, pose.forearm):
    shape = joint.shape[1:]
    scale = size * (0.3 if joint is pose.pelvis else 1.0)
    for frequency in rng.uniform([0.15, 0.5, 1.1], [0.4, 0.9, 1.8]):
      phase, gain = rng.uniform(0, 2 * np.pi, shape), rng.normal(0, scale, shape)
      angle = 2 * np.pi * frequency * t.reshape(-1, *[1] * len(shape)) + phase
      joint += gain * np.sin(angle) / np.sqrt(1 + 2 * frequency)


def _gait(t, subject, rng, *, frequency, stride, knee, lift, arm, elbow, lean, speed, flight):
  """Cyclic locomotion; `flight` is the height of the airborne phase, metres."""
  pose = Pose.standing(len(t))
  pose.planted = False
  phase = 2 * np.pi * frequency * t + rng.uniform(0, 2 * np.pi)
  for side, offset in ((LEFT, np.pi), (RIGHT, 0.0)):
    own = phase + offset
    pose.hip[:, side, 0] = stride * np.sin(own) + 0.25 * stride
    pose.knee[:, side] = knee + lift * np.exp(2.2 * (np.cos(own + 0.25) - 1))
    pose.ankle[:, side] = -0.2 * np.sin(own + 0.6)
    pose.shoulder[:, side, 0] = -arm * np.sin(own) - 0.1 * arm
    pose.shoulder[:, side, 1] = 0.1
    pose.elbow[:, side] = elbow - 0.35 * arm * np.sin(own)
  pose.pelvis[:, 0] = -lean
  pose.pelvis[:, 1] = 0.12 * stride * np.sin(phase)
  pose.spine[:, 1] = -0.3 * stride * np.sin(phase)
  pose.travel[:, 1] = flight * np.abs(np.sin(phase))
  pose.travel[:, 2] = -speed * t
  return pose


def walk(t, subject, rng):
  """Stays on the floor; brisk walkers bend their elbows as joggers do."""
  size, pace = subject.amplitude * rng.uniform(0.9, 1.1), subject.tempo * rng.uniform(0.93, 1.07)
  return _gait(
    t, subject, rng, frequency=1.0 * pace, stride=0.44 * size, knee=0.1, lift=0.75 * size,
    arm=0.45 * size, elbow=rng.uniform(0.1, 1.0), lean=rng.uniform(0.02, 0.1),
    speed=rng.uniform(0.35, 0.55), flight=0.0,
  )  # fmt: skip


def run(t, subject, rng):
  """A jog at walking speed: the silhouette of a brisk walk, the impacts of a run on the wrist."""
  size, pace = subject.amplitude * rng.uniform(0.9, 1.1), subject.tempo * rng.uniform(0.93, 1.07)
  return _gait(
    t, subject, rng, frequency=1.4 * pace, stride=0.52 * size, knee=0.2, lift=1.2 * size,
    arm=0.48 * size, elbow=rng.uniform(0.9, 1.7), lean=rng.uniform(0.06, 0.16),
    speed=rng.uniform(0.4, 0.6), flight=0.055 * size,
  )  # fmt: skip


def fall(t, subject, rng):
  """Forward on to the hands, backward, or a slow slump; the wrist alone takes the first for a
  push and the last for a dozer's slipping arm."""
  pose = Pose.standing(len(t))
  kind = rng.choice(['forward', 'forward', 'backward', 'sideways', 'slump'])
  length = t[-1] - t[0]
  start, duration = rng.uniform(0.12, 0.3) * length, rng.uniform(0.7, 0.95) / subject.tempo
  if kind == 'slump':
    duration *= 1.5
  u = np.clip((t - start) / duration, 0, 1)
  down = u**2.4 - 0.05 * np.sin(np.pi * np.clip((t - start - duration) / 0.22, 0, 1)) ** 2
  gone = ramp(t, start, duration)
  side = rng.choice([-1, 1])
  pitch, roll = {
    'forward': (-1.5, 0.1), 'backward': (1.45, 0.1), 'sideways': (-0.3, 1.4), 'slump': (-1.2, 0.7),
  }[kind]  # fmt: skip
  pose.pelvis[:, 0] = pitch * down
  pose.pelvis[:, 2] = side * roll * down
  fold = {'forward': 0.35, 'backward': 0.9, 'sideways': 0.6, 'slump': 1.1}[kind]
  buckle = fold * subject.amplitude * gone
  pose.knee[:] = 1.2 * buckle[:, None]
  pose.hip[:, :, 0] = 0.7 * buckle[:, None]
  pose.spine[:, 0] = -0.25 * gone
  brace = ramp(t, start + 0.2 * duration, 0.55 * duration)[:, None]
  reach, bend = {
    'forward': (1.7, 0.6), 'backward': (-0.7, 0.3), 'sideways': (0.9, 0.5), 'slump': (0.2, 0.5),
  }[kind]  # fmt: skip
  pose.shoulder[:, :, 0] = 0.05 + reach * rng.uniform(0.85, 1.1) * brace
  pose.shoulder[:, :, 1] = 0.12 + rng.uniform(0.2, 0.6) * brace
  pose.elbow[:] = 0.15 + bend * brace
  pose.neck[:, 0] = (0.4 if kind == 'forward' else -0.4) * gone
  return pose


def _stance(steps, rng, depth):
  """One foot ahead by `depth` radians of hip flexion, knees soft."""
  pose = Pose.standing(steps)
  leading = rng.choice([LEFT, RIGHT])
  pose.hip[:, leading, 0] = depth
  pose.hip[:, 1 - leading, 0] = -0.7 * depth
  pose.hip[:, :, 1] = 0.06 - 0.13 * depth
  pose.knee[:, leading] = 0.1 + depth
  pose.knee[:, 1 - leading] = 0.1 + 0.2 * depth
  pose.ankle[:, leading] = 0.1
  pose.ankle[:, 1 - leading] = 0.1 + 0.9 * depth
  return pose


def _strikes(t, subject, rng, rise, back):
  """How far the arm is out, 0..1, in a series of thrusts; `rise` and `back` are ranges in s."""
  amount = np.zeros(len(t))
  start = rng.uniform(0.15, 0.5)
  while start < t[-1] - 0.55:
    out, home = rng.uniform(*rise) / subject.tempo, rng.uniform(*back) / subject.tempo
    size = min(1.0, 0.95 * subject.amplitude * rng.uniform(0.9, 1.1))
    hold = rng.uniform(0.02, 0.12)
    amount += size * pulse(t, start, out, hold, home)
    start += out + hold + home + rng.uniform(0.25, 0.6)
  return amount


def _guard(rng):
  """Elbow and shoulder flexion of arms held before the chest."""
  return rng.uniform(1.5, 2.1), rng.uniform(0.1, 0.45)


def _thrust(pose, arms, amount, guard):
  """Extends the arms from the guard (elbow, shoulder angle) to the front by `amount` [T]."""
  amount = amount[:, None]
  elbow, lift = guard
  pose.shoulder[:, arms, 0] = lift + (1.5 - lift) * amount
  pose.elbow[:, arms] = elbow * (1 - amount) + 0.12
  pose.shoulder[:, arms, 1] = 0.18 - 0.12 * amount


def _trunk(pose, amount, hand, rng):
  """Lean and twist that go with a thrust: alike for blows and shoves."""
  turn = (1 if hand == RIGHT else -1) * rng.uniform(0.1, 1.0)
  pose.spine[:, 0] = -0.08 - rng.uniform(0.06, 0.22) * amount
  pose.spine[:, 1] = turn * (0.4 * amount - 0.15)


_FAST = dict(rise=(0.17, 0.28), back=(0.26, 0.4))
_SLOW = dict(rise=(0.36, 0.52), back=(0.4, 0.55))


def punch(t, subject, rng):
  """Blows with the stronger hand. A left-hander's leave the sensor's arm in its guard, where it is
  as still as a dozer's."""
  hand = LEFT if subject.left_handed != (rng.uniform() < 0.12) else RIGHT
  pose = _stance(len(t), rng, rng.uniform(0.1, 0.22))
  amount = _strikes(t, subject, rng, **_FAST)
  guard = _guard(rng)
  _thrust(pose, BOTH, 0 * amount, guard)
  _thrust(pose, [hand], amount, guard)
  _trunk(pose, amount, hand, rng)
  return pose


def push(t, subject, rng):
  """A shove. With both arms, out of a lunge, it is as fast as a blow, and video alone tells them
  apart; with one arm it looks like a blow and is slower, which the wrist shows best."""
  both = subject.left_handed or rng.uniform() < 0.6
  pose = _stance(len(t), rng, rng.uniform(0.65, 0.85) if both else rng.uniform(0.1, 0.22))
  amount = _strikes(t, subject, rng, **(_FAST if both else _SLOW))
  guard = _guard(rng)
  _thrust(pose, BOTH, 0 * amount, guard)
  _thrust(pose, BOTH if both else [RIGHT], amount, guard)
  _trunk(pose, amount, RIGHT, rng)
  return pose


def nod_off(t, subject, rng):
  """The head sinks and jerks up, standing or on a stool; sometimes an arm slips, which on the
  wrist looks like a slow fall."""
  pose = Pose.standing(len(t))
  sink = np.zeros(len(t))
  start = rng.uniform(0.1, 0.4)
  while start < t[-1] - 0.5:
    down = rng.uniform(0.55, 0.9) / subject.tempo
    up = rng.uniform(0.18, 0.3)
    depth = min(1.15, subject.amplitude * rng.uniform(0.8, 1.15))
    sink += depth * pulse(t, start, down, 0.1, up)
    start += down + up + rng.uniform(0.2, 0.4)
  pose.neck[:, 0] = -0.15 - 0.85 * sink
  pose.spine[:, 0] = -0.1 - 0.4 * sink
  lift, bend = rng.uniform(0.0, 0.5), rng.uniform(0.1, 2.0)
  if rng.uniform() < 0.7:
    pose.seat = 0.27 * subject.height
    pose.hip[:, :, 0], pose.hip[:, :, 1], pose.knee[:] = 1.5, 0.12, 1.5
    lift, bend = rng.uniform(0.25, 0.5), rng.uniform(0.6, 2.0)
  pose.shoulder[:, :, 0], pose.shoulder[:, :, 1], pose.elbow[:] = lift, 0.12, bend
  if rng.uniform() < 0.6:
    slip = ramp(t, rng.uniform(0.3, 0.6) * t[-1], rng.uniform(0.35, 0.6))
    hand = rng.choice([LEFT, RIGHT])
    pose.shoulder[:, hand, 0] += (rng.uniform(-0.25, 0.0) - lift) * slip
    pose.elbow[:, hand] += (0.1 - bend) * slip
  return pose


_MOTIONS: dict[str, Callable[[np.ndarray, Subject, np.random.Generator], Pose]] = {
  'walk': walk, 'run': run, 'fall': fall, 'punch': punch, 'push': push, 'nod_off': nod_off,
}  # fmt: skip


def perform(action: str, t: np.ndarray, subject: Subject, rng: np.random.Generator) -> Pose:
  """The pose of `subject` at times `t` (evenly spaced seconds) in one performance of `action`."""
  pose = _MOTIONS[action](t, subject, rng)
  _sway(pose, t, rng, 0.02)
  return pose
