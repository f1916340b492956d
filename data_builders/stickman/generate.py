"""Writes the stickman recordings as raw files in UTD-MHAD's formats and names.

    python -m data_builders.stickman.generate --out=DIR [--seed=0]

For every trial: `RGB/a1_s1_t1_color.avi` (Motion JPEG, 15 frames per second),
`Inertial/a1_s1_t1_inertial.mat` (`d_iner` float64 [T, 6]: g and deg/s at 50 Hz, right wrist) and
`Skeleton/a1_s1_t1_skeleton.mat` (`d_skel` float64 [20, 3, T]: metres in Kinect's camera axes, one
per video frame). A trial depends on the seed and its own numbers only.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable

import av
import numpy as np
import scipy.io
from absl import app, flags

from data_builders.stickman import actions, imu, people, render
from data_builders.stickman.body import INDEX, RIGHT, solve
from har.errors import UserError

SUBJECTS = tuple(range(1, 9))
TRIALS = tuple(range(1, 5))
VIDEO_RATE = 15
IMU_RATE = 50
MOTION_RATE = 300  # a multiple of both


@dataclasses.dataclass(frozen=True)
class Recording:
  """One trial: `rgb` uint8 [N, H, W, 3], `inertial` [T, 6] g and deg/s, `skeleton` [N, 20, 3] m."""

  rgb: np.ndarray
  inertial: np.ndarray
  skeleton: np.ndarray


def record(action: str, subject: int, trial: int, *, seed: int = 0, scale: int = 1) -> Recording:
  """Performs and records one trial.

  Args:
    action: one of `actions.ACTIONS`.
    subject: number of the subject, from 1.
    trial: number of the trial, from 1.
    seed: of the whole dataset.
    scale: multiplies the picture's size.
  """
  person = people.make_subject(subject, seed)
  rng = np.random.default_rng([seed, subject, actions.ACTIONS.index(action) + 1, trial])
  frames = int(rng.integers(33, 43))
  heading = rng.choice([-1, 1]) * (person.view + np.deg2rad(rng.uniform(-8, 8)))
  # One extra instant on either side, which the second difference uses up.
  instants = np.arange(-1, frames * MOTION_RATE // VIDEO_RATE + 1) / MOTION_RATE
  pose = actions.perform(action, instants, person, rng)
  figure = solve(pose, person.height, heading, MOTION_RATE)
  inertial = imu.measure(
    figure.joints[:, INDEX['right_wrist']],
    figure.forearms[:, RIGHT],
    rate=MOTION_RATE,
    stride=MOTION_RATE // IMU_RATE,
    mounting=person.mounting + rng.normal(0, 0.05, 3),
    bias=person.bias,
    noise=(0.012, 0.6),
    rng=rng,
  )
  shots = slice(1, -1, MOTION_RATE // VIDEO_RATE)
  filmed = type(figure)(*(getattr(figure, f.name)[shots] for f in dataclasses.fields(figure)))
  camera = render.make_camera(person, render.WIDTH * scale, render.HEIGHT * scale)
  rgb = render.render(filmed, person, camera, rng, seat=pose.seat)
  tracked = camera.see(filmed.joints) + rng.normal(0, 0.006, filmed.joints.shape)
  return Recording(rgb, inertial, tracked)


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


def write_raw(
  out_dir: str | pathlib.Path,
  *,
  subjects: Iterable[int] = SUBJECTS,
  trials: Iterable[int] = TRIALS,
  seed: int = 0,
) -> None:
  """Writes the raw files of all actions for these subjects and trials below `out_dir`.

  Raises:
    UserError: `out_dir` is a file or is not empty.
  """
  out = pathlib.Path(out_dir)
  if out.exists() and not out.is_dir():
    raise UserError(f'{out} is a file; give a new or empty folder')
  if out.is_dir() and any(out.iterdir()):
    raise UserError(f'{out} is not empty; give a new or empty folder')
  for name in ('RGB', 'Inertial', 'Skeleton'):
    (out / name).mkdir(parents=True, exist_ok=True)
  trials = tuple(trials)
  for subject in subjects:
    for label, action in enumerate(actions.ACTIONS, start=1):
      for trial in trials:
        key = f'a{label}_s{subject}_t{trial}'
        recording = record(action, subject, trial, seed=seed)
        write_avi(out / 'RGB' / f'{key}_color.avi', recording.rgb)
        path = out / 'Inertial' / f'{key}_inertial.mat'
        scipy.io.savemat(path, {'d_iner': recording.inertial})
        joints = np.moveaxis(recording.skeleton, 0, 2)
        scipy.io.savemat(out / 'Skeleton' / f'{key}_skeleton.mat', {'d_skel': joints})


_OUT = flags.DEFINE_string('out', None, 'New or empty folder for the raw files.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the whole dataset.', lower_bound=0)


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  try:
    write_raw(_OUT.value, seed=_SEED.value)
  except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  app.run(main)
