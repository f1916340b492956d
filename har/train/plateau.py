"""What validation decides while a stage trains: the best step, smaller rates, stopping early."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Progress:
  """Pure state, saved with each checkpoint as JSON.

  Attributes:
    best: the best validation figure so far, signed so that more is better; None before the first.
    stale: validations since the best one.
    since_reduction: validations since the best one or the last reduction of the rate.
    rate_scale: factor on the learning rate.
    seconds: spent training, over all interruptions.
    waited: of those, seconds in which the step's data was waited for.
  """

  best: float | None = None
  stale: int = 0
  since_reduction: int = 0
  rate_scale: float = 1.0
  seconds: float = 0.0
  waited: float = 0.0

  def validated(self, value: float, *, patience: int, factor: float) -> 'Progress':
    """After one more validation.

    Args:
      value: its figure, signed so that more is better.
      patience: reduce the rate after so many validations without a new best; 0 for never.
      factor: by which to reduce.
    """
    if self.best is None or value > self.best:
      return dataclasses.replace(self, best=value, stale=0, since_reduction=0)
    worse = dataclasses.replace(
      self, stale=self.stale + 1, since_reduction=self.since_reduction + 1
    )
    if patience and worse.since_reduction >= patience:
      return dataclasses.replace(worse, since_reduction=0, rate_scale=self.rate_scale * factor)
    return worse

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)
