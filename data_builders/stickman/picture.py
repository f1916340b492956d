"""Draws `sample.png`: one trial of each action in six frames, beside what the wrist sensor read.

python -m data_builders.stickman.picture --output=data_builders/stickman/sample.png
"""

import io
import os
from typing import Any

import matplotlib.figure
import numpy as np
from absl import app, flags
from PIL import Image

from data_builders.stickman import actions, generate, scene

_FRAMES = 6
_COLOURS = {'x': '#d1495b', 'y': '#2e86ab', 'z': '#5f9e4a'}
# One trial for each action: subject and trial, chosen to show different people and views.
_TRIALS = ((4, 2), (2, 2), (3, 2), (1, 3), (7, 1), (8, 1))
# Layout in pixels.
_GAP, _LEFT, _TOP, _BOTTOM, _TRACE, _RIGHT = 4, 34, 26, 36, 270, 30
_STRIP = _FRAMES * (scene.WIDTH + _GAP)
_SIZE = (
  _LEFT + _STRIP + 20 + _TRACE + _RIGHT,
  _TOP + len(actions.ACTIONS) * (scene.HEIGHT + _GAP) + _BOTTOM,
)


def draw(seed: int = 0) -> Image.Image:
  """The picture, with a palette of 128 colours; frames have the dataset's own size."""
  figure = matplotlib.figure.Figure(figsize=(_SIZE[0] / 100, _SIZE[1] / 100), dpi=100)

  def panel(left, top, width, height):
    box = (left, _SIZE[1] - top - height, width, height)
    return figure.add_axes([value / _SIZE[i % 2] for i, value in enumerate(box)])

  for row, (action, (subject, trial)) in enumerate(zip(actions.ACTIONS, _TRIALS, strict=True)):
    top = _TOP + row * (scene.HEIGHT + _GAP)
    recording = generate.record(generate.make_studio(subject, seed=seed), action, trial)
    assert recording.rgb is not None  # It was filmed.
    places = (np.arange(_FRAMES) + 0.5) / _FRAMES
    for column, place in enumerate(places):
      film = panel(_LEFT + column * (scene.WIDTH + _GAP), top, scene.WIDTH, scene.HEIGHT)
      film.imshow(recording.rgb[int(place * len(recording.rgb))], interpolation='nearest')
      film.set_axis_off()
    figure.text(
      0.6 * _LEFT / _SIZE[0], 1 - (top + scene.HEIGHT / 2) / _SIZE[1], action.replace('_', ' '),
      rotation=90, ha='center', va='center', fontsize=13, fontweight='bold',
      color='#b3261e' if action in actions.ABNORMAL else '#333333',
    )  # fmt: skip
    trace = panel(_LEFT + _STRIP + 20, top + 3, _TRACE, scene.HEIGHT - 6)
    _plot(trace, recording.imu, last=row == len(_TRIALS) - 1)
  _head(figure)
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', facecolor='white')
  return Image.open(buffer).convert('RGB').quantize(128, kmeans=4, dither=Image.Dither.NONE)


def _head(figure: matplotlib.figure.Figure) -> None:
  y = 1 - 0.55 * _TOP / _SIZE[1]
  style: dict[str, Any] = dict(va='center', fontsize=11, color='#333333')
  middle = (_LEFT + _STRIP / 2) / _SIZE[0]
  figure.text(middle, y, f'video, {generate.VIDEO_RATE} frames/s', ha='center', **style)
  x = (_LEFT + _STRIP + 20) / _SIZE[0]
  figure.text(x, y, 'right wrist, acceleration in g', **style)
  for i, (axis, colour) in enumerate(_COLOURS.items()):
    place = x + (220 + 18 * i) / _SIZE[0]
    figure.text(place, y, axis, **{**style, 'color': colour, 'fontweight': 'bold'})


def _plot(axes, imu: np.ndarray, *, last: bool) -> None:
  seconds = np.arange(len(imu)) / generate.IMU_RATE
  for channel, colour in enumerate(_COLOURS.values()):
    axes.plot(seconds, imu[:, channel], color=colour, linewidth=1.1)
  axes.set_xlim(0, 2.8)
  axes.set_ylim(-6, 6)
  axes.set_yticks([-5, 0, 5])
  axes.yaxis.tick_right()
  axes.tick_params(labelsize=9, length=2, labelbottom=last)
  axes.grid(color='#e4e4e4', linewidth=0.6)
  axes.spines[['top', 'left']].set_visible(False)
  if last:
    axes.set_xlabel('seconds', fontsize=9, labelpad=1)


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  draw().save(os.path.expanduser(flags.FLAGS.output), optimize=True)


if __name__ == '__main__':
  flags.DEFINE_string('output', None, 'PNG file to write.', required=True)
  app.run(main)
