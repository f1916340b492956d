"""Paired tests: whether one row of a study is right more often than another on the same examples.

The test is exact and about examples: under the hypothesis that two models do alike, on each example
either could have given the other's answers, so the sign of the example's difference is a fair coin.
What several seeds gave for an example goes with one coin, since those are no independent examples.
With one seed it is McNemar's exact test.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from har.errors import UserError
from har.evaluate import results
from har.study.grid import Run
from har.study.measured import FLOAT, stage_of
from har.study.row import Pair


@dataclasses.dataclass(frozen=True)
class Outcome:
  """A pair that was tested.

  Attributes:
    row: of the one, its name.
    stage: of the one.
    kind: see `har.study.row.Pair`.
    other_row: of what it is tested against.
    other_stage: likewise.
    examples: different ones.
    fixed: predictions, over all seeds, that are right where the other's are wrong.
    broke: that are wrong where the other's are right.
    difference: of Top-1 over all predictions.
    p: two-sided.
  """

  row: str
  stage: str
  kind: str
  other_row: str
  other_stage: str
  examples: int
  fixed: int
  broke: int
  difference: float
  p: float

  def plain(self) -> dict[str, Any]:
    return dataclasses.asdict(self)


def sign_flip(differences: np.ndarray) -> float:
  """The exact two-sided paired permutation test of a sum.

  Args:
    differences: whole numbers `[N]`, of each example.

  Returns:
    The chance of a sum at least as far from 0, each sign being a fair coin.
  """
  sizes = np.abs(np.asarray(differences, np.int64))
  sizes, total = sizes[sizes > 0], int(sizes.sum())
  chances = np.zeros(2 * total + 1)  # of the sum, from -total on
  chances[total] = 1.0
  for size in sizes.tolist():
    chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
  away = np.abs(np.arange(-total, total + 1)) >= abs(int(np.sum(differences)))
  return min(1.0, float(chances[away].sum()))


def run(plan: Mapping[str, Sequence[Run]]) -> list[Outcome]:
  """Tests the pairs of rows, all of whose runs are finished.

  Args:
    plan: the runs of such rows, by name.

  Raises:
    UserError: predictions are missing, or are of different examples.
  """
  found = []
  for runs in plan.values():
    for pair in runs[0].row.pairs:
      others = [(row, stage) for row, stage in pair.others if row in plan]
      if others:
        found.append(_test(runs, pair, {other: plan[other[0]] for other in others}))
  return found


def _test(
  runs: Sequence[Run], pair: Pair, others: Mapping[tuple[str, str], Sequence[Run]]
) -> Outcome:
  mine = _correct(runs, pair.stage)
  theirs = {other: _correct(own, other[1]) for other, own in others.items()}
  best = max(theirs, key=lambda other: _top1(theirs[other]))
  differences: dict[str, int] = {}
  fixed = broke = count = 0
  for where, correct in mine.items():
    other = theirs[best].get(where, {})
    if correct.keys() != other.keys():
      raise UserError(
        f'{runs[0].row.name} and {best[0]} were tested on different examples ({where[0]}, seed '
        f'{where[1]}); delete the older of their folders to have it run anew'
      )
    for key, right in correct.items():
      differences[key] = differences.get(key, 0) + int(right) - int(other[key])
      fixed += right and not other[key]
      broke += other[key] and not right
      count += 1
  name = _name(runs, pair.stage)
  against = best[0], _name(others[best], best[1])
  return Outcome(
    *(runs[0].row.name, name, pair.kind, *against, len(differences), fixed, broke),
    difference=(fixed - broke) / count,
    p=sign_flip(np.array(list(differences.values()))),
  )


def _name(runs: Sequence[Run], stage: str) -> str:
  return stage_of(results.read_results(runs[0].folder), stage)


def _correct(runs: Sequence[Run], stage: str) -> dict[tuple[str, int], dict[str, bool]]:
  """Whether each example is told right, by split and seed, then by key."""
  found = {}
  for run in runs:
    predicted = results.read_predictions(run.folder, _name([run], stage), FLOAT)
    right = zip(predicted.keys, predicted.correct.tolist(), strict=True)
    found[run.split, run.seed] = dict(right)
  return found


def _top1(correct: Mapping[Any, Mapping[str, bool]]) -> float:
  each = [right for one in correct.values() for right in one.values()]
  return sum(each) / len(each)
