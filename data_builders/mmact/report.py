"""What was amiss in the raw files, counted, as it is written beside the dataset."""

import collections
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from data_builders.mmact import clips, sources

FILE = 'preparation.json'
DEFECTS = (
  'video_unreadable',
  'sensor_unreadable',
  'sensor_missing',
  'sensor_empty',
  'sensor_unsorted',
  'sensor_repeated',
  'sensor_no_fraction',
  'sensor_clock_set',
  'name_mixed_case',
  'folder_empty',
)
# What becomes of each.
POLICY = {
  'video_unreadable': 'an error, unless --allow_corrupt admits it; the clip is left out',
  'sensor_unreadable': 'an error, unless --allow_corrupt admits it; the stream is absent',
  'sensor_missing': 'the stream is absent: zeros and a mask that is false',
  'sensor_empty': 'the stream is absent: zeros and a mask that is false',
  'sensor_unsorted': 'sorted by time',
  'sensor_repeated': 'samples of one timestamp are averaged',
  'sensor_no_fraction': 'a whole second; if all are, the samples are spread over their second',
  'sensor_clock_set': 'a clock that was set in mid-recording: what it jumped is taken back',
  'name_mixed_case': 'read as if written small',
  'folder_empty': 'nothing to read',
}


class Report:
  """Gathers outcomes; a file that several clips share counts once."""

  def __init__(self, found: sources.Found):
    self._files: dict[str, set[str]] = {defect: set() for defect in DEFECTS}
    self._files['folder_empty'].update(found.empty)
    self._ignored = list(found.ignored)
    self.faults: dict[str, str] = {}
    self._counts = {split: 0 for split in ('train', 'test')}
    self._absent: collections.Counter[str] = collections.Counter()
    self._left_out: list[str] = []

  def add(self, job: clips.Job, outcome: clips.Outcome) -> None:
    """Adds a clip."""
    for file, kinds in outcome.oddities.items():
      for kind in kinds:
        self._files['name_mixed_case' if kind == 'mixed_case' else f'sensor_{kind}'].add(file)
    for stream, why in outcome.absent.items():
      if why != 'unreadable':
        self._files[f'sensor_{why}'].add(job.clip.event.sensor_path(stream))
    for file, reason in outcome.faults.items():
      video = job.video is not None and file == job.video.where
      self._files['video_unreadable' if video else 'sensor_unreadable'].add(file)
      self.faults[file] = reason
    if not outcome.complete:
      self._left_out.append(job.clip.key)
      return
    self._counts[job.clip.split] += 1
    self._absent.update(outcome.absent.keys())

  @property
  def left_out(self) -> list[str]:
    """Keys of the clips that have no record."""
    return sorted(self._left_out)

  @property
  def counts(self) -> dict[str, int]:
    """Records by split."""
    return dict(self._counts)

  @property
  def absent(self) -> dict[str, int]:
    """By stream, the records in which it is absent."""
    return {stream: self._absent[stream] for stream in sorted(self._absent)}

  def content(self, allow_corrupt: int) -> dict[str, Any]:
    """What is written."""
    return {
      'clips': self.counts,
      'left_out': self.left_out,
      'absent_streams': self.absent,
      'allow_corrupt': allow_corrupt,
      'defects': {defect: len(self._files[defect]) for defect in DEFECTS},
      'policy': POLICY,
      'unreadable': dict(sorted(self.faults.items())),
      'files': {defect: sorted(files) for defect, files in self._files.items() if files},
      'ignored': sorted(self._ignored),
    }

  def write(self, folder: pathlib.Path, allow_corrupt: int) -> pathlib.Path:
    """Writes `FILE` into a folder and returns its path."""
    path = folder / FILE
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(self.content(allow_corrupt), indent=1) + '\n')
    os.replace(temporary, path)
    return path


def gather(found: sources.Found, pairs: Iterable[tuple[clips.Job, clips.Outcome]]) -> Report:
  """The report of jobs and what became of them."""
  report = Report(found)
  for job, outcome in pairs:
    report.add(job, outcome)
  return report
