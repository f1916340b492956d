"""Forward kinematics of an articulated figure.

Frames are right-handed with x to the figure's right, y up and z to its back, so the figure faces
-z; seen from a camera that it faces, these are Kinect's axes. Angles are radians, lengths metres.
A positive rotation about x lifts a hanging limb forward and tips the trunk backward.
"""

import dataclasses
from typing import Any

import numpy as np

LEFT, RIGHT = 0, 1

# Kinect v1 order, as in UTD-MHAD's skeleton files.
JOINTS = (
  'head', 'shoulder_center', 'spine', 'hip_center',
  'left_shoulder', 'left_elbow', 'left_wrist', 'left_hand',
  'right_shoulder', 'right_elbow', 'right_wrist', 'right_hand',
  'left_hip', 'left_knee', 'left_ankle', 'left_foot',
  'right_hip', 'right_knee', 'right_ankle', 'right_foot',
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(JOINTS)}

# Distances from joint to skin that matter for contact with the floor, as fractions of the height.
_CLEARANCE = np.full(len(JOINTS), 0.03)
_CLEARANCE[[INDEX['head'], INDEX['shoulder_center'], INDEX['spine'], INDEX['hip_center']]] = 0.065
_CLEARANCE[[INDEX['left_foot'], INDEX['right_foot']]] = 0.012


@dataclasses.dataclass
class Pose:
  """Joint angles over T instants; sides are indexed LEFT, RIGHT and mirrored by `joints`.

  Attributes:
    pelvis: [T, 3] pitch, yaw, roll of the whole body.
    spine: [T, 3] pitch, yaw, roll of the chest against the pelvis.
    neck: [T, 3] pitch, yaw, roll of the head against the chest.
    shoulder: [T, 2, 3] flexion (forward), abduction (outward), rotation inward about the arm.
    elbow: [T, 2] flexion.
    forearm: [T, 2] inward rotation about the forearm.
    hip: [T, 2, 2] flexion, abduction.
    knee: [T, 2] flexion.
    ankle: [T, 2] flexion (toes up).
    travel: [T, 3] displacement of the body, metres, in the frame before the yaw; y is height
      above what touching the floor gives.
    planted: whether the feet stay in place; otherwise the pelvis follows `travel` alone.
    seat: height of the pelvis above the floor when sitting, else None.
  """

  pelvis: np.ndarray
  spine: np.ndarray
  neck: np.ndarray
  shoulder: np.ndarray
  elbow: np.ndarray
  forearm: np.ndarray
  hip: np.ndarray
  knee: np.ndarray
  ankle: np.ndarray
  travel: np.ndarray
  planted: bool = True
  seat: float | None = None

  @classmethod
  def standing(cls, steps: int) -> 'Pose':
    """An upright figure with hanging arms."""
    shapes: dict[str, tuple[int, ...]] = dict(pelvis=(3,), spine=(3,), neck=(3,), travel=(3,))
    shapes |= dict(shoulder=(2, 3), elbow=(2,), forearm=(2,), hip=(2, 2), knee=(2,), ankle=(2,))
    angles: dict[str, Any] = {n: np.zeros((steps, *shape)) for n, shape in shapes.items()}
    return cls(**angles)


@dataclasses.dataclass(frozen=True)
class Figure:
  """A moving figure in the room: y up from the floor, metres.

  Attributes:
    joints: [T, 20, 3] positions in the order of `JOINTS`.
    forearms: [T, 2, 3, 3] rotations from forearm frame (LEFT, RIGHT) to room; the frame's -y
      points from elbow to wrist.
    head: [T, 3, 3] rotation from head frame to room.
    chest: [T, 3, 3] rotation from chest frame to room.
  """

  joints: np.ndarray
  forearms: np.ndarray
  head: np.ndarray
  chest: np.ndarray

  def at(self, instants: slice) -> 'Figure':
    """The figure at some of its instants."""
    return Figure(*(getattr(self, f.name)[instants] for f in dataclasses.fields(self)))


def rotation(axis: int, angle: np.ndarray | float) -> np.ndarray:
  """Rotations [..., 3, 3] by `angle` [...] about coordinate axis 0, 1 or 2."""
  angle = np.asarray(angle, np.float64)
  out = np.zeros((*angle.shape, 3, 3))
  i, j = (axis + 1) % 3, (axis + 2) % 3
  out[..., axis, axis] = 1
  out[..., i, i] = out[..., j, j] = np.cos(angle)
  out[..., j, i] = np.sin(angle)
  out[..., i, j] = -out[..., j, i]
  return out


def smooth(x: np.ndarray, seconds: float, rate: float) -> np.ndarray:
  """Gaussian low-pass along axis 0 with standard deviation `seconds`; edges are held."""
  sigma = seconds * rate
  reach = max(1, int(np.ceil(4 * sigma)))
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  kernel /= kernel.sum()
  flat = x.reshape(len(x), -1)
  padded = np.pad(flat, ((reach, reach), (0, 0)), mode='edge')
  columns = [np.convolve(column, kernel, mode='valid') for column in padded.T]
  return np.stack(columns, axis=1).reshape(x.shape)


def _turn(pitch_yaw_roll: np.ndarray) -> np.ndarray:
  pitch, yaw, roll = np.moveaxis(pitch_yaw_roll, -1, 0)
  return rotation(1, yaw) @ rotation(0, pitch) @ rotation(2, roll)


def _chain(pose: Pose, height: float) -> Figure:
  """Joints with the pelvis at the origin."""
  p: dict[str, np.ndarray] = {}

  def place(name, parent, frame, x, y, z=0.0):
    p[name] = p[parent] + frame @ (height * np.array([x, y, z]))

  pelvis = _turn(pose.pelvis)
  chest = pelvis @ _turn(pose.spine)
  head = chest @ _turn(pose.neck)
  p['hip_center'] = np.zeros((len(pelvis), 3))
  place('spine', 'hip_center', pelvis, 0, 0.07)
  place('shoulder_center', 'spine', chest, 0, 0.215)
  place('head', 'shoulder_center', head, 0, 0.11, -0.012)
  forearms = []
  for side, name, sign in ((LEFT, 'left', -1), (RIGHT, 'right', 1)):
    flexion, abduction, inward = np.moveaxis(pose.shoulder[:, side], -1, 0)
    upper = chest @ rotation(2, sign * abduction) @ rotation(0, flexion)
    upper = upper @ rotation(1, sign * inward)
    lower = upper @ rotation(0, pose.elbow[:, side]) @ rotation(1, sign * pose.forearm[:, side])
    place(f'{name}_shoulder', 'shoulder_center', chest, sign * 0.112, -0.025)
    place(f'{name}_elbow', f'{name}_shoulder', upper, 0, -0.178)
    place(f'{name}_wrist', f'{name}_elbow', lower, 0, -0.15)
    place(f'{name}_hand', f'{name}_wrist', lower, 0, -0.05)
    forearms.append(lower)
    thigh = pelvis @ rotation(2, sign * pose.hip[:, side, 1]) @ rotation(0, pose.hip[:, side, 0])
    shank = thigh @ rotation(0, -pose.knee[:, side])
    foot = shank @ rotation(0, pose.ankle[:, side])
    place(f'{name}_hip', 'hip_center', pelvis, sign * 0.055, -0.03)
    place(f'{name}_knee', f'{name}_hip', thigh, 0, -0.245)
    place(f'{name}_ankle', f'{name}_knee', shank, 0, -0.246)
    place(f'{name}_foot', f'{name}_ankle', foot, 0, -0.022, -0.1)
  joints = np.stack([p[name] for name in JOINTS], axis=1)
  return Figure(joints, np.stack(forearms, axis=1), head, chest)


def solve(pose: Pose, height: float, yaw: float, rate: float) -> Figure:
  """Puts the pose into the room, standing on the floor and turned by `yaw` from the camera.

  The lowest points carry the body, so gait raises and lowers the pelvis and a falling body comes
  to rest on what touches the floor first.

  Args:
    pose: joint angles sampled at `rate` hertz.
    height: body height, metres.
    yaw: heading, radians; 0 faces the camera.
    rate: samples per second.

  Returns:
    The figure, horizontally centred on the room's origin.
  """
  figure = _chain(pose, height)
  joints = figure.joints
  offset = pose.travel.copy()
  if pose.planted and pose.seat is None:
    ankles = joints[:, [INDEX['left_ankle'], INDEX['right_ankle']]].mean(axis=1)
    offset[:, [0, 2]] -= ankles[:, [0, 2]]
  if pose.seat is None:
    # A soft minimum: weight passes from foot to foot without a jump in velocity.
    sharpness = 120.0
    lowest = joints[:, :, 1] - height * _CLEARANCE
    offset[:, 1] += np.log(np.exp(-sharpness * lowest).sum(axis=1)) / sharpness
  else:
    offset[:, 1] += pose.seat
  joints = joints + smooth(offset, 0.012, rate)[:, None]
  middle = joints[:, :, [0, 2]].mean(axis=1)
  centre = (middle.min(axis=0) + middle.max(axis=0)) / 2
  joints = joints - np.array([centre[0], 0, centre[1]])
  turn = rotation(1, yaw)
  return Figure(joints @ turn.T, turn @ figure.forearms, turn @ figure.head, turn @ figure.chest)
