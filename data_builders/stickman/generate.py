"""Writes the stickman recordings as raw files in UTD-MHAD's formats and names.

    python -m data_builders.stickman.generate --out=DIR [--seed=0]

For every trial: `RGB/a1_s1_t1_color.avi` (Motion JPEG, 15 frames per second),
`Inertial/a1_s1_t1_inertial.mat` (`d_iner` float64 [T, 6]: g and deg/s at 50 Hz, right wrist) and
`Skeleton/a1_s1_t1_skeleton.mat` (`d_skel` float64 [20, 3, T]: metres in Kinect's camera axes, one
per video frame). A trial depends on the seed and its own numbers only.
"""

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Sequence

import av
import numpy as np
import scipy.io
from absl import app, flags

from data_builders.stickman import actions, imu, people, render, scene
from data_builders.stickman.body import INDEX, RIGHT, solve
from har.errors import UserError

SUBJECTS = tuple(range(1, 9))
TRIALS = tuple(range(1, 5))
VIDEO_RATE = 15
IMU_RATE = 50
MOTION_RATE = 300  # a multiple of both
_IMU_NOISE = (0.012, 0.6)  # g and deg/s
_SKELETON_NOISE = 0.006  # metres
FOLDERS = {'imu': 'Inertial', 'rgb': 'RGB', 'skeleton': 'Skeleton'}


@dataclasses.dataclass(frozen=True)
class Recording:
  """One trial.

  Attributes:
    imu: float64 [T, 6], g and deg/s at `IMU_RATE`.
    skeleton: float64 [N, 20, 3], metres in camera axes at `VIDEO_RATE`.
    rgb: uint8 [N, H, W, 3] at `VIDEO_RATE`, or None where it was not asked for.
  """

  imu: np.ndarray
  skeleton: np.ndarray
  rgb: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Studio:
  """A subject in their room, before the camera, with the room's picture."""

  number: int
  seed: int
  person: people.Subject
  camera: scene.Camera
  background: np.ndarray


def make_studio(subject: int, *, seed: int = 0) -> Studio:
  """Prepares a subject (from 1) to be recorded."""
  person = people.make_subject(subject, seed)
  camera = scene.make_camera(person)
  return Studio(subject, seed, person, camera, scene.room(person, camera))


def record(studio: Studio, action: str, trial: int, *, film: bool = True) -> Recording:
  """Performs and records one trial (from 1) of one of `actions.ACTIONS`; draws it if `film`."""
  person = studio.person
  label = actions.ACTIONS.index(action) + 1
  rng = np.random.default_rng([studio.seed, studio.number, label, trial])
  frames = int(rng.integers(33, 43))
  heading = rng.choice([-1, 1]) * (person.view + np.deg2rad(rng.uniform(-8, 8)))
  # One extra instant on either side, which the second difference uses up.
  instants = np.arange(-1, frames * MOTION_RATE // VIDEO_RATE + 1) / MOTION_RATE
  pose = actions.perform(action, instants, person, rng)
  figure = solve(pose, person.height, heading, MOTION_RATE)
  measured = imu.measure(
    figure.joints[:, INDEX['right_wrist']],
    figure.forearms[:, RIGHT],
    rate=MOTION_RATE,
    stride=MOTION_RATE // IMU_RATE,
    mounting=person.mounting + rng.normal(0, 0.05, 3),
    bias=person.bias,
    noise=_IMU_NOISE,
    rng=rng,
  )
  filmed = figure.at(slice(1, -1, MOTION_RATE // VIDEO_RATE))
  tracked = studio.camera.see(filmed.joints)
  tracked += rng.normal(0, _SKELETON_NOISE, tracked.shape)
  rgb = None
  if film:
    rgb = render.render(filmed, person, studio.camera, studio.background, rng, seat=pose.seat)
  return Recording(measured, tracked, rgb)


def write_avi(path: pathlib.Path, frames: np.ndarray) -> None:
  """Writes uint8 [N, H, W, 3] as Motion JPEG."""
  with av.open(str(path), 'w', format='avi') as container:
    stream = container.add_stream('mjpeg', rate=VIDEO_RATE)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = 'yuvj420p'
    stream.codec_context.qmin = stream.codec_context.qmax = 3
    stream.codec_context.thread_count = 1
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    container.mux(stream.encode(None))


def _write(out: pathlib.Path, key: str, recording: Recording, modalities: Sequence[str]) -> None:
  if 'imu' in modalities:
    scipy.io.savemat(out / 'Inertial' / f'{key}_inertial.mat', {'d_iner': recording.imu})
  if 'skeleton' in modalities:
    joints = np.moveaxis(recording.skeleton, 0, 2)
    scipy.io.savemat(out / 'Skeleton' / f'{key}_skeleton.mat', {'d_skel': joints})
  if recording.rgb is not None:
    write_avi(out / 'RGB' / f'{key}_color.avi', recording.rgb)


def write_raw(
  out_dir: str | pathlib.Path,
  *,
  subjects: Sequence[int] = SUBJECTS,
  trials: Sequence[int] = TRIALS,
  modalities: Sequence[str] = tuple(FOLDERS),
  seed: int = 0,
) -> None:
  """Writes the raw files of all actions for these subjects and trials below `out_dir`.

  Args:
    out_dir: a new or empty folder.
    subjects: numbers from 1.
    trials: numbers from 1.
    modalities: any of 'imu', 'rgb', 'skeleton'; a file's content does not depend on the choice.
    seed: of the whole dataset.

  Raises:
    UserError: `out_dir` is a file or is not empty.
  """
  out = pathlib.Path(out_dir).expanduser()
  if out.exists() and not out.is_dir():
    raise UserError(f'{out} is a file; give a new or empty folder')
  if out.is_dir() and any(out.iterdir()):
    raise UserError(f'{out} is not empty; give a new or empty folder')
  for modality in modalities:
    (out / FOLDERS[modality]).mkdir(parents=True, exist_ok=True)
  for subject in subjects:
    studio = make_studio(subject, seed=seed)
    for (label, action), trial in itertools.product(enumerate(actions.ACTIONS, 1), trials):
      recording = record(studio, action, trial, film='rgb' in modalities)
      _write(out, f'a{label}_s{subject}_t{trial}', recording, modalities)


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  try:
    write_raw(flags.FLAGS.out, seed=flags.FLAGS.seed)
  except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_string('out', None, 'New or empty folder for the raw files.', required=True)
  flags.DEFINE_integer('seed', 0, 'Seed of the whole dataset.', lower_bound=0)
  app.run(main)
