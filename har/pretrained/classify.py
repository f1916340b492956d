"""Names what published image networks see in pictures: a look at whether the weights are right.

python -m har.pretrained.classify --kind=efficientnet_lite --weights=efficientnet_lite-imagenet \
  [--options="{'variant': 1}"] [--labels=PATH] [--size=224] PICTURE ...

For each picture five classes of ImageNet with their probabilities: by number, or by name from a
file with one name a line, in the order of the classes.
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

from har.data import video
from har.errors import UserError
from har.models import registry as models
from har.models.frames import FrameEncoder
from har.options import build
from har.pretrained import registry


def top(
  pictures: Sequence[bytes], encoder: nn.Module, weights: str, size: int, count: int = 5
) -> tuple[np.ndarray, np.ndarray]:
  """What a published image network sees.

  Args:
    pictures: encoded, JPEG or PNG; the largest square in the middle is seen.
    encoder: a `har.models.frames.FrameEncoder`.
    weights: a published name, or the path of a file.
    size: side of the square that it is scaled to.
    count: classes to give.

  Returns:
    Classes int `[N, count]`, likeliest first, and their probabilities.

  Raises:
    UserError: the encoder is of another kind, the weights cannot be loaded or have no classifier,
      or a picture is none.
  """
  if not isinstance(encoder, FrameEncoder):
    raise UserError(f'{type(encoder).__name__} is no network for single pictures')
  _, found = registry.load(weights, {'rgb': encoder}, 'weights')
  if found.classifier is None:
    raise UserError(f'{weights} is a backbone alone, without a classifier')
  clip = video.rgb_clip(pictures, np.arange(len(pictures)), size)
  mean, std = np.array(found.mean, np.float32), np.array(found.std, np.float32)
  x = (clip / np.float32(255) - mean) / std
  variables = {'params': found.params, 'batch_stats': found.batch_stats}
  features = jax.jit(encoder.apply)(variables, x[None]).sequence[0]
  logits = features @ found.classifier['kernel'] + found.classifier['bias']
  shares = np.asarray(jax.nn.softmax(logits))
  classes = np.argsort(-shares, -1)[:, :count]
  return classes, np.take_along_axis(shares, classes, -1)


def describe(paths: Sequence[str], settings: Any) -> list[str]:
  """A line for each picture.

  Args:
    paths: of the pictures.
    settings: the flags of this command.

  Raises:
    UserError: as `top`; or an option, or a file cannot be read.
  """
  try:
    options = ast.literal_eval(settings.options)
    pictures = [pathlib.Path(path).read_bytes() for path in paths]
    labels = pathlib.Path(settings.labels).read_text().splitlines() if settings.labels else None
  except (OSError, ValueError, SyntaxError) as e:
    raise UserError(f'--options, --labels or a picture cannot be read: {e}') from e
  encoder = build(
    models.ENCODERS, {'kind': settings.kind, **options}, '--options', {}, models.GIVEN
  )
  lines = []
  found = top(pictures, encoder, settings.weights, settings.size)
  for path, classes, shares in zip(paths, *found, strict=True):
    names = [labels[i] if labels else str(i) for i in classes]
    seen = ', '.join(f'{n} {100 * p:.0f}%' for n, p in zip(names, shares, strict=True))
    lines.append(f'{path}: {seen}')
  return lines


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
  app.run(main)
