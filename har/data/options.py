"""Options that configs set: defaults, and which values make sense."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from har.errors import UserError


@dataclasses.dataclass(frozen=True)
class Option:
  """One option.

  Attributes:
    default: its value where the config gives none.
    problem: what is wrong with a value, e.g. 'must be a number'; empty if nothing is.
  """

  default: Any
  problem: Callable[[Any], str]


Schema = Mapping[str, Option]


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def size(default: int) -> Option:
  """A whole number above 0."""

  def problem(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return '' if whole and value > 0 else 'must be a whole number above 0'

  return Option(default, problem)


def choice(default: str, *others: str) -> Option:
  """One of several words."""
  known = (default, *others)
  return Option(default, lambda value: '' if value in known else f'not one of {", ".join(known)}')


def flag(default: bool) -> Option:
  """True or false."""
  problem = 'must be true or false'
  return Option(default, lambda value: '' if isinstance(value, bool) else problem)


def amount(default: float = 0.0, below: float | None = None, most: float | None = None) -> Option:
  """A number that is not negative, and perhaps below or at most another."""

  def problem(value: Any) -> str:
    if not _is_number(value):
      return 'must be a number'
    if not value >= 0:
      return 'must not be negative'
    if below is not None and not value < below:
      return f'must be below {below:g}'
    return '' if most is None or value <= most else f'must be at most {most:g}'

  return Option(default, problem)


def numbers(default: Any, positive: bool = False) -> Option:
  """One number, or a tuple of them."""

  def problem(value: Any) -> str:
    values = value if isinstance(value, tuple | list) else (value,)
    if not all(map(_is_number, values)):
      return 'must be a number, or a tuple of numbers'
    return 'must be above 0' if positive and min(values, default=1) <= 0 else ''

  return Option(default, problem)


def read(schema: Schema, config: Any, where: str) -> dict[str, Any]:
  """A section's options, defaults filled in.

  Args:
    schema: the options that there are.
    config: a mapping (dict or ConfigDict) with any of them, or None.
    where: the section, for messages.

  Raises:
    UserError: for an unknown option, or a value that makes no sense.
  """
  given = dict(config or {})
  for name, value in given.items():
    if name not in schema:
      raise UserError(f'{where}.{name}: unknown option; known: {", ".join(schema)}')
    if problem := schema[name].problem(value):
      raise UserError(f'{where}.{name}={value!r}: {problem}')
  return {name: option.default for name, option in schema.items()} | given
