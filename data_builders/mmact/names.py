"""MMAct's names: actions, file paths, protocols, and the manifest of its clips."""

import csv
import pathlib
import re
from typing import NamedTuple

from har.errors import UserError

# In label order. The paper counts 37; the files have 35 names, using_phone and talking_on_phone in
# two groups of scenes.
ACTIONS = (
  'carrying',
  'carrying_heavy',
  'carrying_light',
  'checking_time',
  'closing',
  'crouching',
  'drinking',
  'entering',
  'exiting',
  'fall',
  'jumping',
  'kicking',
  'loitering',
  'looking_around',
  'opening',
  'picking_up',
  'pocket_in',
  'pocket_out',
  'pointing',
  'pulling',
  'pushing',
  'running',
  'setting_down',
  'sitting',
  'sitting_down',
  'standing',
  'standing_up',
  'talking',
  'talking_on_phone',
  'throwing',
  'transferring_object',
  'using_pc',
  'using_phone',
  'walking',
  'waving_hand',
)
LABELS = {name: label for label, name in enumerate(ACTIONS)}
NUMBERS = {'subject': 20, 'cam': 4, 'scene': 4, 'session': 5}
"""How many there are of each, numbered from 1."""

STREAMS = ('acc_phone', 'acc_watch', 'gyro', 'orientation')
"""Wearable sensors, in the order of their channels."""

UNITS = {'acc_phone': 'm/s^2', 'acc_watch': 'm/s^2', 'gyro': 'rad/s', 'orientation': 'degrees'}
RATES = {'acc_phone': 100.0, 'acc_watch': 100.0, 'gyro': 50.0, 'orientation': 50.0}

TRAIN_SUBJECTS = tuple(range(1, 17))
# What is held out for testing; of the five sessions the last.
PROTOCOLS = {
  'cross_view': {'field': 'cam', 'test': [4]},
  'cross_scene': {'field': 'scene', 'test': [2]},
  'cross_session': {'field': 'session', 'test': [5]},
}

_FILE = r'scene(\d{1,3})/session(\d{1,3})/([^/]+)'
_VIDEO = re.compile(rf'(?:.*/)?subject(\d{{1,3}})/cam(\d{{1,3}})/{_FILE}\.mp4', re.I | re.A)
_SENSOR = re.compile(
  rf'(?:.*/)?({"|".join(STREAMS)})_clip/subject(\d{{1,3}})/{_FILE}\.csv', re.I | re.A
)
MANIFEST_COLUMNS = ('subject', 'cam', 'scene', 'session', 'action', 'openpose_frames')


class Event(NamedTuple):
  """One performance, felt by up to four sensors."""

  subject: int
  scene: int
  session: int
  action: str

  def sensor_path(self, stream: str) -> str:
    """Where the owner keeps a sensor's file."""
    return f'{stream}_clip/subject{self.subject}/{self._tail}.csv'

  @property
  def _tail(self) -> str:
    return f'scene{self.scene}/session{self.session}/{self.action}'

  @property
  def key(self) -> str:
    return f'subject{self.subject}_scene{self.scene}_session{self.session}_{self.action}'


class Clip(NamedTuple):
  """One performance as one camera saw it; `cam` is 0 where videos are left aside."""

  subject: int
  cam: int
  scene: int
  session: int
  action: str

  @property
  def event(self) -> Event:
    return Event(self.subject, self.scene, self.session, self.action)

  @property
  def label(self) -> int:
    return LABELS[self.action]

  @property
  def split(self) -> str:
    """'train' or 'test', as in cross-subject."""
    return 'train' if self.subject in TRAIN_SUBJECTS else 'test'

  @property
  def video_path(self) -> str:
    """Where the owner keeps the video."""
    place = f'scene{self.scene}/session{self.session}'
    return f'subject{self.subject}/cam{self.cam}/{place}/{self.action}.mp4'

  @property
  def key(self) -> str:
    """Names the clip; the event where there is no camera."""
    if not self.cam:
      return self.event.key
    place = f'scene{self.scene}_session{self.session}'
    return f'subject{self.subject}_cam{self.cam}_{place}_{self.action}'


def _checked(where: str, name: str, **numbers: str) -> dict[str, int | str]:
  for field, number in numbers.items():
    if not 1 <= int(number) <= NUMBERS[field]:
      raise UserError(f'{where}: there is no {field} {number} in MMAct, only 1 to {NUMBERS[field]}')
  action = name.strip().lower()
  if action not in LABELS:
    raise UserError(f'{where}: {name!r} is none of the {len(ACTIONS)} actions of MMAct')
  return {**{field: int(number) for field, number in numbers.items()}, 'action': action}


def parse_video(path: str, where: str) -> Clip | None:
  """The clip of a video's path with `/`, whatever folders are around it; None for other files.

  Case is ignored: some files are named like `Carrying_light.mp4`.

  Raises:
    UserError: a number or an action that MMAct has not; `where` names the file.
  """
  match = _VIDEO.fullmatch(path)
  if not match:
    return None
  subject, cam, scene, session, name = match.groups()
  found = _checked(where, name, subject=subject, cam=cam, scene=scene, session=session)
  return Clip(**found)  # type: ignore[arg-type]


def parse_sensor(path: str, where: str) -> tuple[str, Event] | None:
  """The stream and the event of a sensor file's path, as `parse_video`."""
  match = _SENSOR.fullmatch(path)
  if not match:
    return None
  stream, subject, scene, session, name = match.groups()
  found = _checked(where, name, subject=subject, scene=scene, session=session)
  return stream.lower(), Event(**found)  # type: ignore[arg-type]


def is_mixed_case(path: str) -> bool:
  """Whether the file's own name is not written in small letters."""
  name = pathlib.PurePosixPath(path).stem
  return name != name.lower()


def read_manifest(path: str | pathlib.Path) -> dict[Clip, int]:
  """Reads a list of clips: CSV with `MANIFEST_COLUMNS`.

  Returns:
    Frames by clip, in the file's order.

  Raises:
    UserError: a file that is missing or has other columns, names or numbers, or a clip twice.
  """
  try:
    with open(path, newline='', encoding='utf-8') as file:
      header, *rows = csv.reader(file, strict=True)  # ValueError if there is no line.
  except (OSError, ValueError, csv.Error) as error:
    reason = error.strerror if isinstance(error, OSError) else error
    raise UserError(f'{path}: not a readable manifest ({reason})') from error
  if tuple(header) != MANIFEST_COLUMNS:
    raise UserError(f'{path}: its columns must be {",".join(MANIFEST_COLUMNS)}')
  clips: dict[Clip, int] = {}
  for line, row in enumerate(rows, 2):
    where = f'{path}, line {line}'
    numbers = row[:4] + row[5:]
    if len(row) != len(header) or not all(n.isascii() and n.isdigit() for n in numbers):
      raise UserError(f'{where}: not a clip: {",".join(row)}')
    place = dict(zip(NUMBERS, row[:4], strict=True))
    clip = Clip(**_checked(where, row[4], **place))  # type: ignore[arg-type]
    if clip in clips:
      raise UserError(f'{where}: {clip.video_path} occurs twice')
    clips[clip] = int(numbers[-1])
  return clips
