"""Names what published networks see in pictures or videos: a look at whether the weights are right.

python -m har.pretrained.classify --kind=efficientnet_lite --weights=efficientnet_lite-imagenet \
  [--options="{'variant': 1}"] [--labels=PATH] [--size=224] PICTURE ...
python -m har.pretrained.classify --kind=i3d --weights=i3d-kinetics400 [--frames=32] VIDEO ...

For each picture five classes of ImageNet, for each video five of Kinetics, with their
probabilities: by number, or by name from a file with one name a line, in the order of the classes.
"""

import ast
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import app, flags

from data_builders import video as videos
from har.data import video
from har.errors import UserError
from har.models import registry as models
from har.models.frames import FrameEncoder
from har.options import build
from har.pretrained import registry


def top(
  clip: np.ndarray, encoder: nn.Module, weights: str, count: int = 5
) -> tuple[np.ndarray, np.ndarray]:
  """What a published network sees.

  Args:
    clip: uint8 `[T, H, W, 3]`, pictures or the frames of a video.
    encoder: a `har.models.frames.FrameEncoder`, which sees each picture by itself, or an encoder of
      video, which sees one video.
    weights: a published name, or the path of a file.
    count: classes to give.

  Returns:
    Classes int `[N, count]`, likeliest first, and their probabilities; N = T pictures or 1 video.

  Raises:
    UserError: weights are published for no such encoder, cannot be loaded or have no classifier.
  """
  _, found = registry.load(weights, {'rgb': encoder}, 'weights')
  if found.classifier is None:
    raise UserError(f'{weights} is a backbone alone, without a classifier')
  mean, std = np.array(found.mean, np.float32), np.array(found.std, np.float32)
  x = (clip / np.float32(255) - mean) / std
  variables = {'params': found.params, 'batch_stats': found.batch_stats}
  given = jax.jit(encoder.apply)(variables, x[None])
  features = given.sequence[0] if isinstance(encoder, FrameEncoder) else given.pooled
  logits = features @ found.classifier['kernel'] + found.classifier['bias']
  shares = np.asarray(jax.nn.softmax(logits))
  classes = np.argsort(-shares, -1)[:, :count]
  return classes, np.take_along_axis(shares, classes, -1)


def describe(paths: Sequence[str], settings: Any) -> list[str]:
  """A line for each picture or video, of which the largest square in the middle is seen.

  Args:
    paths: of the pictures or videos.
    settings: the flags of this command.

  Raises:
    UserError: as `top`; or an option, or a file cannot be read.
  """
  try:
    options = ast.literal_eval(settings.options)
    labels = pathlib.Path(settings.labels).read_text().splitlines() if settings.labels else None
    encoder = build(
      models.ENCODERS, {'kind': settings.kind, **options}, '--options', {}, models.GIVEN
    )
    if isinstance(encoder, FrameEncoder):
      pictures = [pathlib.Path(path).read_bytes() for path in paths]
      clips = [video.rgb_clip(pictures, np.arange(len(pictures)), settings.size)]
    else:
      clips = [_frames(pathlib.Path(path), settings) for path in paths]
  except (OSError, ValueError, SyntaxError) as e:
    raise UserError(f'--options, --labels or a file cannot be read: {e}') from e
  lines, found = [], [top(clip, encoder, settings.weights) for clip in clips]
  classes, shares = (np.concatenate(parts) for parts in zip(*found, strict=True))
  for path, numbers, row in zip(paths, classes, shares, strict=True):
    names = [labels[i] if labels else str(i) for i in numbers]
    seen = ', '.join(f'{n} {100 * p:.0f}%' for n, p in zip(names, row, strict=True))
    lines.append(f'{path}: {seen}')
  return lines


def _frames(path: pathlib.Path, settings: Any) -> np.ndarray:
  """Frames from all over a video, uint8 `[T, size, size, 3]`."""

  def small(frame):
    return videos.shrink(frame, settings.size)

  frames = videos.read(path, str(path), small).frames
  chosen = video.choose_frames(len(frames), settings.frames)
  return video.rgb_clip(frames, chosen, settings.size)


def main(argv: Sequence[str]) -> None:
  """Prints the lines."""
  try:
    print('\n'.join(describe(argv[1:], flags.FLAGS)))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  flags.DEFINE_string('kind', 'efficientnet_lite', 'Kind of encoder.')
  flags.DEFINE_string('options', '{}', "The encoder's options, a Python dict.")
  flags.DEFINE_string('weights', 'efficientnet_lite-imagenet', 'A published name, or a file.')
  flags.DEFINE_string('labels', '', 'A text file with the name of each class.')
  flags.DEFINE_integer('size', 224, 'Side in pixels of the square that is seen.', 1)
  flags.DEFINE_integer('frames', 32, 'Frames that are seen of a video.', 1)
  app.run(main)
