"""Who is in which fold."""

from collections.abc import Collection, Sequence

import numpy as np

from har.errors import UserError


def assign_folds(people: np.ndarray, folds: int) -> np.ndarray:
  """Spreads people over folds of about as many examples each.

  The person with most examples is next (of equal ones the lesser value) and joins the fold with
  fewest so far, so that no two folds differ by more than one person's examples.

  Args:
    people: whose each example is, `[N]`.
    folds: at least 2 and at most as many as there are people.

  Returns:
    The fold of each example, 1 to `folds`, int64 `[N]`.

  Raises:
    UserError: another number of folds.
  """
  values, inverse, counts = np.unique(people, return_inverse=True, return_counts=True)
  if not 2 <= folds <= len(values):
    raise UserError(f'folds={folds}: must be 2 to {len(values)}, as many as there are to part')
  sizes, fold_of = np.zeros(folds, np.int64), np.zeros(len(values), np.int64)
  for i in np.argsort(-counts, kind='stable'):
    fold_of[i] = sizes.argmin()
    sizes[fold_of[i]] += counts[i]
  return fold_of[inverse] + 1


def listed_folds(people: np.ndarray, folds: Sequence[Collection[int | str]]) -> np.ndarray:
  """The fold of each example where it is written who is in which.

  Args:
    people: whose each example is, `[N]`.
    folds: the people of each.

  Returns:
    1 to `len(folds)`, int64 `[N]`.

  Raises:
    UserError: people of no fold or of several, or folds of people that there are not.
  """
  listed = [person for fold in folds for person in fold]
  if wrong := sorted(set(listed) ^ set(people.tolist()), key=str):
    raise UserError(f'fold_people: {wrong} must be both in a fold and among the examples')
  if len(listed) > len(set(listed)):
    raise UserError('fold_people: somebody is in two folds')
  fold_of = {person: i + 1 for i, fold in enumerate(folds) for person in fold}
  return np.array([fold_of[person] for person in people.tolist()], np.int64)
