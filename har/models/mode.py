"""Which layers of a model train, as a value that is passed down the call."""

import dataclasses
import fnmatch
from collections.abc import Sequence


def matches(path: Sequence[str], patterns: Sequence[str]) -> bool:
  """Tells whether a parameter or module lies at or below one of the patterns.

  Args:
    path: names from the root of the model, e.g. `('rgb', 'Mixed_4c', 'branch0')`.
    patterns: slash-separated names, each with shell wildcards, e.g. `'rgb/Mixed_*'`. A pattern
      covers everything below what it names; `'*'` covers the whole model.
  """
  for pattern in patterns:
    parts = pattern.split('/')
    if len(parts) <= len(path) and all(map(fnmatch.fnmatchcase, path, parts)):
      return True
  return False


@dataclasses.dataclass(frozen=True)
class Mode:
  """How a forward pass runs.

  Attributes:
    train: False for inference: running batch statistics and no dropout anywhere.
    trained: patterns (see `matches`) of what a stage trains. The rest is frozen and runs in
      inference mode even when `train` is true.
    unroll: loops over time are traced step by step, for what cannot read a loop.
  """

  train: bool = False
  trained: tuple[str, ...] = ('*',)
  unroll: bool = False

  def active(self, path: Sequence[str]) -> bool:
    """True if the layer at `path` (a Linen module's `self.path`) is in training mode."""
    return self.train and matches(path, self.trained)


INFERENCE = Mode()
UNROLLED = Mode(unroll=True)
