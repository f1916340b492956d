"""What a study consists of: rows of a table, each an experiment on some splits."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Asked:
  """What a study is asked for.

  Attributes:
    dataset: a folder in `data_builders`.
    modalities: such as `imu+depth`; None if the flag is not given.
    quick: a version that takes at most five minutes on two cores once the dataset is prepared, to
      see that all goes through. It gives no results.
  """

  dataset: str
  modalities: str | None = None
  quick: bool = False


LAST = ''
"""In place of a stage's name: the last of the experiment."""


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two that are tested against each other on the same examples, in float32.

  Attributes:
    kind: against what, for the table: 'product', 'single' or 'row'.
    stage: of the row that has the pair; a stage, `product` (of untrained experts) or `LAST`.
    others: a row's name and such a stage each; the best of those that there are counts.
  """

  kind: str
  stage: str
  others: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table, or of one experiment a row for each of several stages.

  Attributes:
    name: for people and for its folder.
    config: what `--config` of `launch.py` takes.
    splits: flags of each split that it is run on, by its folder's name; see
      `har.evaluate.folds.numbered`. A dataset divided in one way has one, without flags.
    flags: further ones, for all splits.
    variants: trained by `--mode=compress` besides, of `har.compress`.
    benchmark: whether the first run's files are measured.
    published: Top-1 that others state of what the row is like, a fraction; None if nobody does.
    stages: that are shown, as in `Pair`; those that are named in float32 alone.
    at: where it stands in the study's picture; None if it does not.
    pairs: what it is tested against.
  """

  name: str
  config: str
  splits: Mapping[str, tuple[str, ...]]
  flags: tuple[str, ...] = ()
  variants: tuple[str, ...] = ()
  benchmark: bool = True
  published: float | None = None
  stages: tuple[str, ...] = (LAST,)
  at: float | None = None
  pairs: tuple[Pair, ...] = ()
