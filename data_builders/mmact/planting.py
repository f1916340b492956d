"""Chooses clips from a manifest and what is wrong with them, as often as in the real files."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from data_builders.mmact import names, report
from har.errors import UserError

VIDEO_FAULTS = ('empty', 'garbage', 'truncated', 'no_video')
# Shares of the events or files that have each; but for videos, in the order of the real ones'.
_LACKING, _LACKING_ALL = 0.067, 0.2
_SENSOR = {'empty': 0.01, 'unsorted': 0.05, 'repeated': 0.05, 'no_fraction': 0.3}
_VIDEO, _MIXED_CASE = 0.005, 0.01
EMPTY_FOLDER = (8, 2, 5)
"""Subject, scene and session of which there is nothing."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a tree holds.

  Attributes:
    clips: sorted.
    videos: by clip with an unreadable video, one of `VIDEO_FAULTS`.
    missing: sensor files that are not written, by stream and event.
    sensors: by stream and event, any of 'empty', 'unsorted', 'repeated' and 'no_fraction'.
    capital: owner's paths of files that are written with a capital letter.
    empty_folders: folders with nothing in them.
  """

  clips: tuple[names.Clip, ...]
  videos: dict[names.Clip, str]
  missing: frozenset[tuple[str, names.Event]]
  sensors: dict[tuple[str, names.Event], tuple[str, ...]]
  capital: frozenset[str]
  empty_folders: tuple[str, ...]

  @property
  def events(self) -> tuple[names.Event, ...]:
    return tuple(sorted({clip.event for clip in self.clips}))

  def path(self, path: str) -> str:
    """Where a file is written in place of the owner's path."""
    folder, _, name = path.rpartition('/')
    return f'{folder}/{name.capitalize()}' if path in self.capital else path

  def summary(self) -> dict[str, Any]:
    """Lists and counts of what is planted, under the names that the builder's report has."""
    files: dict[str, list[str]] = {defect: [] for defect in report.DEFECTS}
    files['video_unreadable'] = [self.path(clip.video_path) for clip in self.videos]
    for kind in _SENSOR:
      files[f'sensor_{kind}'] = [
        self.path(event.sensor_path(stream))
        for (stream, event), kinds in self.sensors.items()
        if kind in kinds
      ]
    files['sensor_missing'] = [event.sensor_path(stream) for stream, event in self.missing]
    files['name_mixed_case'] = [self.path(path) for path in self.capital]
    files['folder_empty'] = list(self.empty_folders)
    kept = [clip for clip in self.clips if clip not in self.videos]
    absent = {
      stream: sum(self._is_absent(stream, clip.event) for clip in kept) for stream in names.STREAMS
    }
    splits = [clip.split for clip in kept]
    return {
      'videos': len(self.clips),
      'clips': {split: splits.count(split) for split in ('train', 'test')},
      'left_out': sorted(clip.key for clip in self.videos),
      'absent_streams': {stream: count for stream, count in absent.items() if count},
      'defects': {defect: len(found) for defect, found in files.items()},
      'files': {defect: sorted(found) for defect, found in files.items() if found},
    }

  def _is_absent(self, stream: str, event: names.Event) -> bool:
    key = (stream, event)
    return key in self.missing or 'empty' in self.sensors.get(key, ())


def empty_folders() -> list[str]:
  """The folders of `EMPTY_FOLDER`, for every camera and sensor."""
  subject, scene, session = EMPTY_FOLDER
  end = f'scene{scene}/session{session}'
  videos = [f'subject{subject}/cam{cam}/{end}' for cam in range(1, names.NUMBERS['cam'] + 1)]
  return videos + [f'{stream}_clip/subject{subject}/{end}' for stream in names.STREAMS]


def draw_clips(
  manifest: Collection[names.Clip], count: int, rng: np.random.Generator
) -> tuple[names.Clip, ...]:
  """Draws clips, one of every action first.

  Raises:
    UserError: more than there are, or none.
  """
  if not 0 < count <= len(manifest):
    raise UserError(f'--clips={count}: the manifest has 1 to {len(manifest)}')
  every = sorted(manifest)
  order = [every[i] for i in rng.permutation(len(every))]
  first = list({clip.action: clip for clip in reversed(order)}.values())[:count]
  chosen = set(first)
  rest = (clip for clip in order if clip not in chosen)
  return tuple(sorted([*first, *(next(rest) for _ in range(count - len(first)))]))


def _some(rng: np.random.Generator, items: Sequence[Any], share: float, least: int = 1) -> list:
  """A share of the items, at least so many as far as there are that many."""
  count = min(max(round(share * len(items)), least), len(items))
  return [items[i] for i in sorted(rng.choice(len(items), count, replace=False))]


def draw(manifest: Collection[names.Clip], count: int, seed: int, defects: bool = True) -> Plan:
  """Plans a tree in which every defect occurs, if it is not too small for that.

  Args:
    manifest: the clips that there are.
    count: how many to take.
    seed: of the choice.
    defects: whether to plant any.
  """
  rng = np.random.default_rng([seed, count])
  clips = draw_clips(manifest, count, rng)
  if not defects:
    return Plan(clips, {}, frozenset(), {}, frozenset(), ())
  # With so few that hardly one would be left, videos are sound.
  bad = _some(rng, clips, _VIDEO, len(VIDEO_FAULTS)) if count >= 2 * len(VIDEO_FAULTS) else []
  videos = {clip: VIDEO_FAULTS[i % len(VIDEO_FAULTS)] for i, clip in enumerate(bad)}
  events = sorted({clip.event for clip in clips})
  missing: set[tuple[str, names.Event]] = set()
  for i, event in enumerate(_some(rng, events, _LACKING, 2)):
    streams = names.STREAMS if i % round(1 / _LACKING_ALL) == 1 else [rng.choice(names.STREAMS)]
    missing |= {(str(stream), event) for stream in streams}
  files = [(s, e) for e in events for s in names.STREAMS if (s, e) not in missing]
  empty = set(_some(rng, files, _SENSOR['empty']))
  sensors: dict[tuple[str, names.Event], tuple[str, ...]] = {key: ('empty',) for key in empty}
  sound = [key for key in files if key not in empty]
  for kind in ('unsorted', 'repeated', 'no_fraction'):
    for key in _some(rng, sound, _SENSOR[kind]):
      sensors[key] = (*sensors.get(key, ()), kind)
  paths = [clip.video_path for clip in clips] + [event.sensor_path(s) for s, event in files]
  capital = {path for path in paths if path.endswith('/carrying_light.mp4')}
  capital |= set(_some(rng, paths, _MIXED_CASE))
  return Plan(
    clips, videos, frozenset(missing), sensors, frozenset(capital), tuple(empty_folders())
  )
