"""Options that configs set: their types, ranges, defaults and meanings.

A section of a config has a `Schema`: a dict of `Option`s, or the fields of a dataclass (a Linen
module, an objective), whose annotations say what values may be (see `har.ranges`).
"""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from har.errors import UserError
from har.ranges import (
  LARGEST,
  POSITIVE,
  SIZE,
  AnyOf,
  Choice,
  Flag,
  Kind,
  Many,
  Number,
  Section,
  is_section,
  of_annotation,
)

MISSING: Any = dataclasses.MISSING
"""The default of an option that has none: a config must give it."""
ABSENT: Any = object()
"""That of an option without which a config may be."""


@dataclasses.dataclass(frozen=True)
class Option:
  """One option.

  Attributes:
    default: its value where the config gives none; or `MISSING`, or `ABSENT`.
    kind: what it may be.
    meaning: in a line.
  """

  default: Any
  kind: Kind
  meaning: str = ''


Schema = Mapping[str, Option]


def size(default: int, meaning: str = '') -> Option:
  """A whole number above 0, of what is held in memory."""
  return Option(default, SIZE, meaning)


def choice(default: str, *others: str, meaning: str = '') -> Option:
  """One of several words."""
  return Option(default, Choice((default, *others)), meaning)


def flag(default: bool, meaning: str = '') -> Option:
  """True or false."""
  return Option(default, Flag(), meaning)


def amount(
  default: float = 0.0, below: float | None = None, most: float | None = None, meaning: str = ''
) -> Option:
  """A number that is not negative, and perhaps below or at most another."""
  high = next((x for x in (below, most) if x is not None), LARGEST)
  return Option(default, Number(0, high, below=below is not None), meaning)


def numbers(default: Any, positive: bool = False, meaning: str = '') -> Option:
  """One number, or a tuple of them."""
  one = POSITIVE if positive else Number()
  return Option(default, AnyOf((one, Many(one))), meaning)


def defaults(schema: Schema) -> dict[str, Any]:
  """The values of all options that have one."""
  return {n: one.default for n, one in schema.items() if one.default not in (MISSING, ABSENT)}


def of_class(kind: type, without: Collection[str] = ()) -> Schema:
  """The fields of a dataclass as options; what is `without` is not for configs to set."""
  texts = _meanings(kind)
  found = {}
  for field in dataclasses.fields(kind):
    if field.name not in without:
      default = field.default
      if default is MISSING and callable(field.default_factory):
        default = field.default_factory()
      found[field.name] = Option(default, of_annotation(field.type), texts.get(field.name, ''))
  return found


def _meanings(kind: type) -> dict[str, str]:
  """What docstrings say of attributes, by name; a class's own words before its parents'."""
  found: dict[str, str] = {}
  for parent in reversed(kind.__mro__):
    _, _, listed = inspect.cleandoc(parent.__doc__ or '').partition('Attributes:\n')
    for name, text in re.findall(r'^  (\w+): ((?:.+\n?)(?:    .*\n?)*)', listed, re.MULTILINE):
      found[name] = ' '.join(text.split()).rstrip('.')
  return found


def section(config: Any, where: str) -> Mapping[str, Any]:
  """A section as a mapping; empty if it is None.

  Raises:
    UserError: it is something else.
  """
  if config is not None and not is_section(config):
    raise UserError(f'{where}={shown(config)}: must be {Section().text}')
  return config or {}


def check(schema: Schema, config: Any, where: str, *, complete: bool = False) -> None:
  """Checks a section.

  Args:
    schema: the options that there are.
    config: a mapping (dict or ConfigDict) with any of them, or None.
    where: the section, for messages.
    complete: options that have a default must be there, too.

  Raises:
    UserError: for an unknown option, one that is missing, or a value that makes no sense.
  """
  given = dict(section(config, where))
  for name, value in given.items():
    if name not in schema:
      raise UserError(f'{where}.{name}={shown(value)}: no such option; {_near(name, schema)}')
    if not schema[name].kind.accepts(value):
      raise UserError(f'{where}.{name}={shown(value)}: must be {schema[name].kind.text}')
  for name, one in schema.items():
    needed = complete and one.default is not ABSENT
    if name not in given and (needed or one.default is MISSING):
      raise UserError(f'{where}.{name} is missing: it must be {one.kind.text}')


def read(schema: Schema, config: Any, where: str) -> dict[str, Any]:
  """A section's options, defaults filled in and lists as tuples; checks it as `check` does."""
  check(schema, config, where)
  return defaults(schema) | {name: _tuples(value) for name, value in dict(config or {}).items()}


def of_kind(
  kinds: Mapping[str, type[Any]], config: Any, where: str, without: Collection[str] = ()
) -> tuple[type[Any], Schema]:
  """The class that a section names by its `kind`, and the options that the section then has.

  Args:
    kinds: dataclasses by name.
    config: the section.
    where: its path, for messages.
    without: fields that are not for configs to set.

  Raises:
    UserError: an unknown kind.
  """
  given = section(config, where)
  named = {'kind': Option(MISSING, Choice(tuple(kinds)))}
  check(named, {name: value for name, value in given.items() if name in named}, where)
  kind = kinds[given['kind']]
  return kind, {**named, **of_class(kind, without)}


def build(
  kinds: Mapping[str, type[Any]],
  config: Any,
  where: str,
  given: Mapping[str, Any],
  without: Collection[str] = (),
) -> Any:
  """An object of the class that a section names by its `kind`.

  Args:
    kinds: dataclasses by name.
    config: the section: `kind` and fields.
    where: its path, for messages.
    given: values of other fields; a class takes those that it has.
    without: fields that are not for configs to set.

  Raises:
    UserError: an unknown kind, or as `check`.
  """
  kind, schema = of_kind(kinds, config, where, without)
  check(schema, config, where)
  options = {name: _tuples(value) for name, value in config.items() if name != 'kind'}
  names = {field.name for field in dataclasses.fields(kind)}
  return kind(**options, **{name: x for name, x in given.items() if name in names})


def _tuples(value: Any) -> Any:
  return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _near(name: str, known: Iterable[str]) -> str:
  close = difflib.get_close_matches(name, known, 1)
  return f'did you mean {close[0]!r}?' if close else f'there are {", ".join(known)}'


def shown(value: Any) -> str:
  """A value in one short line, for messages."""
  text = ' '.join(repr(value.to_dict() if hasattr(value, 'to_dict') else value).split())
  return text if len(text) <= 60 else f'{text[:57]}...'


def table(schema: Schema, columns: Sequence[str] = ('option', 'default', 'must be', '')) -> str:
  """A schema as a table in Markdown."""

  def cell(text: str) -> str:
    return text.replace('|', '\\|')

  rows = [
    (
      f'`{name}`',
      '' if one.default in (MISSING, ABSENT) else f'`{shown(one.default)}`',
      one.kind.text,
      one.meaning,
    )
    for name, one in schema.items()
  ]
  lines = [columns, ['---'] * len(columns), *([cell(x) for x in row] for row in rows)]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
