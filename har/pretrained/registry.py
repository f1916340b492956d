"""Published weights, by the encoder that they are for."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from har.errors import UserError
from har.models.s3d import S3D
from har.pretrained import s3d

LOADERS: dict[type[nn.Module], Callable[[str, Any], s3d.Pretrained]] = {
  S3D: s3d.load_encoder,
}
"""`load(source, encoder)`, with a published name or a file's path, gives values for the encoder."""


def check(source: str, where: str) -> None:
  """Raises UserError for an unknown name or a file that is not there.

  Args:
    source: a published name, or the path of a file.
    where: the config's key, for messages.
  """
  try:
    s3d.check(source)
  except UserError as e:
    raise UserError(f'{where}={source!r}: {e}') from e


def load(source: str, encoders: Mapping[str, nn.Module], where: str) -> tuple[str, s3d.Pretrained]:
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
