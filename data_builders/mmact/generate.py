"""Writes raw files in MMAct's layout, with the defects that the real ones have.

    python -m data_builders.mmact.generate --manifest=clips.csv --out=DIR [--clips=2000] [--seed=0]

A part of the manifest's clips, drawn so that every action is among them, as tiny videos
(`subject1/cam1/scene1/session1/fall.mp4`, H.264, 30 frames per second) and sensor files
(`acc_phone_clip/subject1/scene1/session1/fall.csv` and so on; `timestamp,x,y,z`). A square moves
across the picture and the sensors swing in a way that tells the action, so that there is something
to learn. `planted.json` lists and counts the defects. A clip depends on the seed, the manifest and
its own name only; which clips are drawn and what is wrong with them, on the seed and the number of
clips.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from absl import app, flags

from data_builders.mmact import names, planting
from har.errors import UserError

PLANTED = 'planted.json'
SIZE = (36, 64)
_FPS = 30
_LINE = '{},{:.6f},{:.6f},{:.6f}\n'


@dataclasses.dataclass(frozen=True)
class Studio:
  """What recordings depend on besides their names.

  Attributes:
    seed: of the whole tree.
    frames: by clip, as in the manifest.
    max_frames: longer clips are cut to this many; 0 leaves them as they are.
    size: height and width of the videos.
  """

  seed: int
  frames: dict[names.Clip, int]
  max_frames: int
  size: tuple[int, int] = SIZE

  def length(self, clip: names.Clip) -> int:
    """Frames of a clip's video."""
    frames = self.frames[clip]
    return min(frames, self.max_frames) if self.max_frames else frames

  def seconds(self, event: names.Event) -> float:
    """Duration of an event: of its longest clip, a second at least."""
    clips = (names.Clip(event[0], cam, *event[1:]) for cam in range(1, 5))
    return max(max(self.length(c) for c in clips if c in self.frames) / _FPS, 1.0)

  def rng(self, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([self.seed, *numbers])


def _style(action: str) -> np.ndarray:
  """Eight numbers in [0, 1) that make an action what it is."""
  return np.random.default_rng([35, names.LABELS[action]]).random(8)


def film(studio: Studio, clip: names.Clip) -> np.ndarray:
  """The frames of a clip, uint8 [T, H, W, 3]."""
  rng = studio.rng(1, clip.subject, clip.cam, clip.scene, clip.session, clip.label)
  style, count = _style(clip.action), studio.length(clip)
  time = np.arange(count) / _FPS
  height, width = studio.size
  phase = rng.uniform(0, 2 * np.pi)
  place = 0.5 + 0.35 * np.sin(2 * np.pi * (0.5 + 2 * style[0]) * time + phase)
  x, y = place, 0.5 + (place - 0.5) * (2 * style[1] - 1)
  if clip.cam % 2 == 0:  # From the other side.
    x = 1 - x
  shade = rng.integers(40, 90, 3)
  frames = np.empty((count, height, width, 3), np.uint8)
  frames[:] = shade
  side = 6 + int(6 * style[2])
  colour = (110 + 145 * style[3:6]).astype(np.uint8)
  for i in range(count):
    top, left = int(y[i] * (height - side)), int(x[i] * (width - side))
    frames[i, top : top + side, left : left + side] = colour
  return frames


def write_video(path: pathlib.Path, frames: np.ndarray) -> None:
  """Writes uint8 [T, H, W, 3] as H.264 in MP4, its index before the pictures."""
  options = {'movflags': 'faststart'}
  with av.open(str(path), 'w', format='mp4', options=options) as container:
    stream = container.add_stream(
      'libx264', rate=_FPS, options={'preset': 'ultrafast', 'crf': '23'}
    )
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = 'yuv420p'
    stream.codec_context.thread_count = 1
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    container.mux(stream.encode(None))


def _feel(studio: Studio, event: names.Event, stream: str) -> tuple[np.ndarray, np.ndarray]:
  """Microseconds since midnight, int64 [T], and values [T, 3] of one sensor."""
  number = names.STREAMS.index(stream)
  shared = studio.rng(2, event.subject, event.scene, event.session, names.LABELS[event.action])
  seconds, period = studio.seconds(event), round(1e6 / names.RATES[stream])
  # Every recording goes through a whole second, where timestamps may lack their fraction.
  second = 8 * 3600 + int(shared.integers(0, 8 * 3600))
  before = int(shared.uniform(0.1, 0.9) * seconds * 1e6 / period)
  own = studio.rng(3, number, event.subject, event.scene, event.session, names.LABELS[event.action])
  count = int(seconds * 1e6 / period)
  steps = np.arange(count) - before
  wobble = np.where(steps == 0, 0, own.integers(-period // 4, period // 4, count))
  micros = second * 10**6 + steps * period + wobble
  style = _style(event.action)
  phase = own.uniform(0, 2 * np.pi, 3)
  swing = np.sin(2 * np.pi * (0.7 + 3 * style[6]) * micros[:, None] / 1e6 + phase)
  scale = {'acc_phone': 4.0, 'acc_watch': 8.0, 'gyro': 2.0, 'orientation': 60.0}[stream]
  level = np.roll([9.81, 0, 0], number) if stream.startswith('acc') else np.zeros(3)
  values = level + scale * (style[[7, 3, 5]] * swing + own.normal(0, 0.05, (count, 3)))
  return micros, values


def timestamp(day: int, micros: int, fraction: bool) -> str:
  """`%Y%m%d_%H:%M:%S.%f` to the millisecond; a whole second without it if not `fraction`."""
  seconds, rest = divmod(int(micros), 10**6)
  clock = f'201806{day:02}_{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}'
  return f'{clock}.{rest // 1000:03}' if rest or fraction else clock


def write_sensor(
  path: pathlib.Path, studio: Studio, event: names.Event, stream: str, defects: Sequence[str]
) -> None:
  """Writes a sensor's file with these of 'empty', 'unsorted', 'repeated' and 'no_fraction'."""
  if 'empty' in defects:
    path.write_bytes(b'')
    return
  micros, values = _feel(studio, event, stream)
  micros = micros // 1000 * 1000
  order = np.arange(len(micros))
  if 'repeated' in defects:
    order = np.sort(np.concatenate([order, order[:: len(order) // 5]]))
  if 'unsorted' in defects:
    half = len(order) // 2
    order = np.concatenate([order[half:], order[:half]])
  fraction = 'no_fraction' not in defects
  rows = ((timestamp(event.session, micros[i], fraction), *values[i]) for i in order)
  path.write_text(''.join(_LINE.format(*row) for row in rows))


def _spoil(path: pathlib.Path, fault: str, rng: np.random.Generator) -> None:
  """Makes a video unreadable in one of `planting.VIDEO_FAULTS` ways."""
  data = path.read_bytes()
  if fault == 'empty':
    path.write_bytes(b'')
  elif fault == 'garbage':
    path.write_bytes(rng.bytes(len(data)))
  elif fault == 'truncated':
    path.write_bytes(data[: len(data) * 2 // 3])
  else:
    with av.open(str(path), 'w', format='mp4') as container:
      stream = container.add_stream('aac', rate=16000, layout='mono')
      silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
      silence.sample_rate = 16000
      container.mux(stream.encode(silence))
      container.mux(stream.encode(None))


def write_raw(
  out_dir: str | pathlib.Path,
  manifest: str | pathlib.Path,
  *,
  clips: int = 2000,
  seed: int = 0,
  max_frames: int = 30,
  defects: bool = True,
  size: tuple[int, int] = SIZE,
) -> dict[str, Any]:
  """Writes a part of MMAct below `out_dir`.

  Args:
    out_dir: a new or empty folder.
    manifest: see `names.read_manifest`.
    clips: how many.
    seed: of everything.
    max_frames: longer clips are cut to this many, 30 at least; 0 leaves them as long as they are.
    defects: whether to plant any.
    size: height and width of the videos, even numbers.

  Returns:
    What `planted.json` holds: the numbers of clips and defects, and lists of files.

  Raises:
    UserError: a wrong number, an unreadable manifest, or `out_dir` is not empty.
  """
  out = pathlib.Path(out_dir).expanduser()
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise UserError(f'{out} is not empty; give a new or empty folder')
  if max_frames and max_frames < _FPS:
    raise UserError(f'--max_frames={max_frames}: 0, or a second at least ({_FPS})')
  studio = Studio(seed, names.read_manifest(manifest), max_frames, size)
  plan = planting.draw(studio.frames, clips, seed, defects)
  for folder in plan.empty_folders:
    (out / folder).mkdir(parents=True)
  for clip in plan.clips:
    path = out / plan.path(clip.video_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, film(studio, clip))
    if clip in plan.videos:
      _spoil(path, plan.videos[clip], studio.rng(4, clip.subject, clip.label))
  for event in plan.events:
    for stream in names.STREAMS:
      if (stream, event) not in plan.missing:
        path = out / plan.path(event.sensor_path(stream))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sensor(path, studio, event, stream, plan.sensors.get((stream, event), ()))
  summary = {'seed': seed, **plan.summary()}
  (out / PLANTED).write_text(json.dumps(summary, indent=1) + '\n')
  return summary


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  values = flags.FLAGS
  try:
    summary = write_raw(
      values.out,
      values.manifest,
      clips=values.clips,
      seed=values.seed,
      max_frames=values.max_frames,
      defects=values.defects,
    )
  except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  print(json.dumps({key: summary[key] for key in ('videos', 'clips', 'defects')}))


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_string('manifest', None, 'CSV with the clips that there are.', required=True)
  flags.DEFINE_string('out', None, 'New or empty folder for the raw files.', required=True)
  flags.DEFINE_integer('clips', 2000, 'How many to write.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of everything.', lower_bound=0)
  flags.DEFINE_integer('max_frames', 30, 'Longer clips are cut to this; 0: none.', lower_bound=0)
  flags.DEFINE_bool('defects', True, 'Whether to plant defects.')
  app.run(main)
