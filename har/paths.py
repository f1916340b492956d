"""Folders by their names, whatever characters those have; importing this mends how etils searches.

Orbax and TFDS search folders by `etils.epath.Path.glob`, which takes the folder's own name for part
of the pattern: of a folder with `[0]` in its path they find nothing of what they have written there
themselves, so that checkpoints and datasets cannot be read.
"""

import glob
from collections.abc import Iterator
from typing import Any

from etils.epath import gpath

_by_pattern = gpath.PosixGPath.glob


def _within(self: Any, pattern: str) -> Iterator[Any]:
  """What is in the folder and matches; `**` and folders in clouds are left to etils."""
  if '**' in pattern or self._uri_scheme:
    yield from _by_pattern(self, pattern)
  else:
    for name in glob.glob(pattern, root_dir=self):
      yield self / name


gpath.PosixGPath.glob = _within  # type: ignore[method-assign]
