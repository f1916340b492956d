"""Random draws of examples, every class by its share."""

from collections.abc import Sequence

import numpy as np


def draw_parts(
  labels: np.ndarray, groups: np.ndarray, fractions: Sequence[float], draw: int
) -> np.ndarray:
  """Draws parts that have their fraction of every class, as well as whole groups allow.

  Groups come in the order of their sizes, the largest first and equal ones shuffled. Each joins the
  part where that adds least to the sum, over parts and classes, of (count - wanted)^2 / wanted.
  With a group for each example this is a stratified draw.

  Args:
    labels: 0-based classes, int `[N]`.
    groups: what no two parts share, `[N]`; of examples in another order, the same ones are drawn.
    fractions: of each of P parts, from 0 to 1; nothing is drawn into a part of 0. They add up to 1.
    draw: which draw; another one is independent.

  Returns:
    The part of each example, 0 to P - 1, int64 `[N]`.
  """
  values, group_of = np.unique(groups, return_inverse=True)
  counts = np.zeros((len(values), int(labels.max(initial=0)) + 1))
  np.add.at(counts, (group_of, labels), 1)
  # In units of the wanted count: rare classes weigh as much as others.
  wanted = np.outer(fractions, counts.sum(0))
  weight = np.divide(1.0, wanted, out=np.zeros_like(wanted), where=wanted > 0)
  missing = wanted.copy()
  closed = np.array(fractions) <= 0
  shuffled = np.random.default_rng(draw).permutation(len(values))
  part_of = np.zeros(len(values), np.int64)
  for group in shuffled[np.argsort(-counts[shuffled].sum(1), kind='stable')]:
    (present,) = counts[group].nonzero()
    some = counts[group, present]
    added = (weight[:, present] * some * (some - 2 * missing[:, present])).sum(1)
    part = np.where(closed, np.inf, added).argmin()
    part_of[group] = part
    missing[part, present] -= some
  return part_of[group_of]


def draw_fraction(labels: np.ndarray, people: np.ndarray, fraction: float, seed: int) -> np.ndarray:
  """Draws a fraction of every class, spread evenly over people.

  A class keeps `fraction` of its examples, rounded, and at least one. What a smaller fraction draws
  is among what a larger one does.

  Args:
    labels: 0-based classes, `[N]`.
    people: whose each example is, `[N]`.
    fraction: from 0 to 1.
    seed: of the draw.

  Returns:
    Whether an example is drawn, bool `[N]`.
  """
  rng = np.random.default_rng(seed)
  drawn = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    place = np.zeros(len(members))
    for person in np.unique(people[members]):
      own = np.flatnonzero(people[members] == person)
      # A person's examples are spaced evenly over [0, 1): any prefix has its share of everyone's.
      place[rng.permutation(own)] = (np.arange(len(own)) + rng.random()) / len(own)
    count = max(1, round(fraction * len(members)))
    drawn[members[np.argsort(place, kind='stable')[:count]]] = True
  return drawn


def balance(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Draws as many examples as there are, of every class that occurs equally many.

  Classes differ by one example where their number does not divide N. A class's examples are drawn
  without replacement, and once more when they are used up: no two differ by more than one time.

  Args:
    labels: classes, int `[N]`.
    rng: of the draw.

  Returns:
    Places in `labels`, in random order, int64 `[N]`.
  """
  classes = rng.permutation(np.unique(labels))
  each, more = divmod(len(labels), max(len(classes), 1))
  drawn = [np.zeros(0, np.int64)]
  for i, label in enumerate(classes):
    members, wanted = np.flatnonzero(labels == label), each + (i < more)
    rounds = -(-wanted // len(members))
    drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:wanted])
  return rng.permutation(np.concatenate(drawn))
