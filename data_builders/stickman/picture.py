"""Draws `sample.png`: one trial of each action in six frames, beside what the wrist sensor read.

python -m data_builders.stickman.picture --output=data_builders/stickman/sample.png
"""

import io

import matplotlib.figure
import numpy as np
from absl import app, flags
from PIL import Image

from data_builders.stickman import actions, generate

_FRAMES = 6
_COLOURS = ('#d1495b', '#2e86ab', '#5f9e4a')
# One trial for each action: subject and trial, chosen to show different people and views.
_TRIALS = ((1, 2), (2, 2), (3, 2), (4, 1), (5, 2), (6, 2))


def draw(seed: int = 0) -> Image.Image:
  """The picture, 8-bit with a palette; frames are shown at the dataset's own size."""
  figure = matplotlib.figure.Figure(figsize=(12.6, 6.9), dpi=100, facecolor='white')
  grid = figure.add_gridspec(
    len(actions.ACTIONS), 2, width_ratios=(_FRAMES * 160, 270), left=0.055, right=0.995,
    top=0.965, bottom=0.05, wspace=0.04, hspace=0.06,
  )  # fmt: skip
  for row, (action, (subject, trial)) in enumerate(zip(actions.ACTIONS, _TRIALS, strict=True)):
    recording = generate.record(generate.make_set(subject, seed=seed), action, trial)
    count = len(recording.rgb)
    chosen = recording.rgb[((np.arange(_FRAMES) + 0.5) * count / _FRAMES).astype(int)]
    film = figure.add_subplot(grid[row, 0])
    film.imshow(np.concatenate(list(np.pad(chosen, ((0, 0), (0, 0), (0, 2), (0, 0)),
                                           constant_values=255)), axis=1))  # fmt: skip
    film.set_axis_off()
    alarm = action in actions.ABNORMAL
    film.text(
      -8, chosen.shape[1] / 2, action.replace('_', ' '), rotation=90, ha='right', va='center',
      fontsize=12, fontweight='bold', color='#b3261e' if alarm else '#333333',
    )  # fmt: skip
    _trace(figure.add_subplot(grid[row, 1]), recording.imu, last=row == len(_TRIALS) - 1)
  figure.axes[0].set_title('RGB video, 15 frames/s', fontsize=10, pad=4)
  figure.axes[1].set_title('right wrist: acceleration x y z, g', fontsize=10, pad=4)
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png')
  return Image.open(buffer).convert('RGB').quantize(256, dither=Image.Dither.NONE)


def _trace(axes, imu: np.ndarray, *, last: bool) -> None:
  seconds = np.arange(len(imu)) / generate.IMU_RATE
  for channel, colour in enumerate(_COLOURS):
    axes.plot(seconds, imu[:, channel], color=colour, linewidth=1)
  axes.set_xlim(0, 2.8)
  axes.set_ylim(-5, 5)
  axes.set_yticks([-4, 0, 4])
  axes.yaxis.tick_right()
  axes.tick_params(labelsize=8, length=2, labelbottom=last)
  axes.grid(color='#e4e4e4', linewidth=0.6)
  for name in ('top', 'left'):
    axes.spines[name].set_visible(False)
  if last:
    axes.set_xlabel('seconds', fontsize=8, labelpad=1)


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  draw().save(flags.FLAGS.output, optimize=True)


if __name__ == '__main__':
  flags.DEFINE_string('output', None, 'PNG file to write.', required=True)
  app.run(main)
