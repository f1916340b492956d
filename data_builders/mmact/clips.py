"""What is done for one clip, wherever it is done: its files in, its record and its faults out.

What is finished goes into a work folder at once, so that a run that was stopped can be continued.
"""

import dataclasses
import io
import itertools
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_builders.mmact import names, pictures, readings
from data_builders.mmact.sources import File
from har.errors import UserError

VERSION = 1
"""Of what is done here; after a change, what was finished before is done again."""
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError)


@dataclasses.dataclass(frozen=True)
class Job:
  """A clip to prepare.

  Attributes:
    clip: which one.
    video: its video; None where videos are left aside.
    sensors: by stream, the files that there are; None where sensors are left aside.
    short_side: of the stored frames, pixels.
  """

  clip: names.Clip
  video: File | None
  sensors: Mapping[str, File] | None
  short_side: int

  @property
  def signature(self) -> str:
    """Changes when a file or a setting does."""
    files = [self.video, *((self.sensors or {}).get(stream) for stream in names.STREAMS)]
    stamps = [f and (f.where, f.size, f.stamp) for f in files]
    return json.dumps([VERSION, self.clip.key, self.short_side, self.sensors is not None, stamps])


@dataclasses.dataclass
class Outcome:
  """What became of a clip.

  Attributes:
    signature: of the job.
    absent: by stream, why it is: 'missing', 'empty' or 'unreadable'.
    oddities: by file, what was amiss but could be read: 'mixed_case' and those of
      `readings.ODDITIES`.
    faults: by file that could not be read, the reason.
    complete: whether the clip has a record; it has none without its video.
  """

  signature: str
  absent: dict[str, str] = dataclasses.field(default_factory=dict)
  oddities: dict[str, list[str]] = dataclasses.field(default_factory=dict)
  faults: dict[str, str] = dataclasses.field(default_factory=dict)
  complete: bool = True

  def note(self, file: File, *oddities: str) -> None:
    kinds = ['mixed_case'] if names.is_mixed_case(file.where) else []
    if kinds or oddities:
      self.oddities[file.where] = [*kinds, *oddities]


def make(job: Job) -> tuple[dict[str, Any], Outcome]:
  """Reads a clip's files.

  Returns:
    The fields `imu`, `imu_mask` and `rgb`, as far as asked for, and what was found. Whatever cannot
    be read is absent and told in the outcome; there is no substitute.
  """
  outcome = Outcome(job.signature)
  example: dict[str, Any] = {}
  if job.sensors is not None:
    example['imu'], example['imu_mask'] = _sensors(job.sensors, outcome)
  if job.video is not None:
    outcome.note(job.video)
    try:
      example['rgb'] = pictures.read(job.video.read(), job.video.where, job.short_side)
    except UserError as error:
      outcome.faults[job.video.where] = str(error)
      outcome.complete = False
  return example, outcome


def _sensors(files: Mapping[str, File], outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
  heard: dict[str, readings.Readings] = {}
  places = {stream: file.where for stream, file in files.items()}
  for stream in names.STREAMS:
    if stream not in files:
      outcome.absent[stream] = 'missing'
      continue
    file = files[stream]
    try:
      one = readings.read(file.read(), file.where)
      if one is not None:
        readings.check_together({**heard, stream: one}, places)
    except UserError as error:
      outcome.faults[file.where] = str(error)
      outcome.absent[stream] = 'unreadable'
      one = None
    else:
      outcome.note(file, *(one.oddities if one else ()))
      if one is None:
        outcome.absent[stream] = 'empty'
    if one is not None:
      heard[stream] = one
  return readings.align(heard)


def _path(work: pathlib.Path, job: Job) -> pathlib.Path:
  return work / f'{job.clip.key}.npz'


def _store(path: pathlib.Path, example: Mapping[str, Any], outcome: Outcome) -> None:
  arrays = {name: value for name, value in example.items() if name != 'rgb'}
  if 'rgb' in example:
    arrays['frames'] = np.frombuffer(b''.join(example['rgb']), np.uint8)
    arrays['ends'] = np.cumsum([len(frame) for frame in example['rgb']])
  arrays['outcome'] = np.frombuffer(json.dumps(dataclasses.asdict(outcome)).encode(), np.uint8)
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  temporary = path.with_suffix(f'.{os.getpid()}.tmp')
  temporary.write_bytes(buffer.getbuffer())
  os.replace(temporary, path)


def finished(job: Job, work: pathlib.Path, *, outcome_only: bool = False):
  """What `make` returned for the job before, or None.

  Args:
    job: the clip.
    work: the folder with what is finished.
    outcome_only: leave the example empty.
  """
  try:
    # A damaged file, or one of other raw files or settings, counts as none.
    with np.load(_path(work, job), allow_pickle=False) as stored:
      outcome = Outcome(**json.loads(stored['outcome'].tobytes()))
      if outcome.signature != job.signature:
        return None
      if outcome_only:
        return {}, outcome
      example: dict[str, Any] = {n: stored[n] for n in ('imu', 'imu_mask') if n in stored}
      if 'frames' in stored:
        frames, ends = stored['frames'].tobytes(), [0, *stored['ends'].tolist()]
        example['rgb'] = [frames[a:b] for a, b in itertools.pairwise(ends)]
      return example, outcome
  except _DAMAGED:
    return None


def ensure(job: Job, work: pathlib.Path) -> Outcome:
  """Has the clip finished in the work folder; what could not be read before is tried again."""
  done = finished(job, work, outcome_only=True)
  if done is None or done[1].faults:
    done = make(job)
    _store(_path(work, job), *done)
  return done[1]


def record(job: Job, work: pathlib.Path) -> dict[str, Any] | None:
  """The clip's record, finished now if it was not; None for a clip without its video."""
  done = finished(job, work)
  if done is None:
    done = make(job)
    _store(_path(work, job), *done)
  example, outcome = done
  if not outcome.complete:
    return None
  clip = job.clip
  fields = {'key': clip.key, 'label': clip.label, **clip._asdict()}
  return {**fields, **example}
