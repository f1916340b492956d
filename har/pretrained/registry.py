"""Published weights, by the encoder that they are for."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from har.errors import UserError
from har.models.efficientnet import EfficientNetLite
from har.models.i3d import I3D
from har.models.mobilenet import MobileNetV2
from har.models.s3d import S3D
from har.pretrained import efficientnet_lite, i3d, mobilenet_v2, s3d
from har.pretrained.convert import Pretrained

LOADERS: dict[type[nn.Module], Callable[[str, Any], Pretrained]] = {
  EfficientNetLite: efficientnet_lite.load_encoder,
  I3D: i3d.load,
  MobileNetV2: mobilenet_v2.load,
  S3D: s3d.load_encoder,
}
"""`load(source, encoder)`, with a published name or a file's path, gives values for the encoder."""


NAMES = (efficientnet_lite.NAME, i3d.NAME, mobilenet_v2.NAME, mobilenet_v2.BACKBONE, s3d.NAME)


def check(source: str, where: str) -> None:
  """Checks what can be without fetching or reading anything.

  Args:
    source: a published name, or the path of a file.
    where: the config's key, for messages.

  Raises:
    UserError: an unknown name, or a file that is not there.
  """
  if source in NAMES:
    return
  if not source.endswith(('.pth', '.pt', '.ckpt')):
    raise UserError(
      f'{where}={source!r}: unknown published weights; there are {", ".join(NAMES)}, or the path '
      'of a .pth, .pt or .ckpt file'
    )
  if not pathlib.Path(source).expanduser().is_file():
    raise UserError(f'{where}={source!r}: the file does not exist')


def load(source: str, encoders: Mapping[str, nn.Module], where: str) -> tuple[str, Pretrained]:
  """Published weights for the one encoder of a stage that there are any for.

  Args:
    source: a published name, or the path of a file.
    encoders: of the stage, by input.
    where: the config's key, for messages.

  Returns:
    The encoder's input, and its values.

  Raises:
    UserError: no encoder takes published weights, or several do; or the weights cannot be loaded.
  """
  takers = {n: LOADERS[type(e)] for n, e in encoders.items() if type(e) in LOADERS}
  if len(takers) != 1:
    kinds = ', '.join(kind.__name__ for kind in LOADERS)
    raise UserError(
      f'{where}={source!r} needs a stage with exactly one encoder that weights are published for '
      f'({kinds}); this one has {len(takers)}'
    )
  ((name, loader),) = takers.items()
  return name, loader(source, encoders[name])
