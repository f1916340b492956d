"""What values options may have.

Attributes of Linen modules and objectives are options of configs: `dropout: Rate = 0.1` gives one a
range. A plain `float`, `tuple[int, ...]` or `Literal['max', 'mean']` will do, too.
"""

import abc
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

_INT32 = 2**31 - 1  # int32
LARGEST = 3e38  # float32


class Kind(abc.ABC):
  """What values an option may have."""

  @property
  @abc.abstractmethod
  def text(self) -> str:
    """Completes 'must be ...'."""

  @abc.abstractmethod
  def accepts(self, value: Any) -> bool:
    """Whether it may be this."""


@dataclasses.dataclass(frozen=True)
class Number(Kind):
  """A finite number in a range.

  Attributes:
    low: the least.
    high: the largest.
    above: `low` itself is out of the range.
    below: `high` itself is out of the range.
    whole: it has no fraction, and is an int.
  """

  low: float = -LARGEST
  high: float = LARGEST
  above: bool = False
  below: bool = False
  whole: bool = False

  @property
  def text(self) -> str:
    noun = 'a whole number' if self.whole else 'a finite number'
    has = self.low > -LARGEST, self.high < LARGEST
    if all(has) and not self.above and not self.below:
      return f'{noun} from {self.low} to {self.high}'
    least = f'{"above" if self.above else "at least"} {self.low}'
    most = f'{"below" if self.below else "at most"} {self.high}'
    return ', '.join([noun, *[least] * has[0], *[most] * has[1]])

  def accepts(self, value: Any) -> bool:
    if not isinstance(value, int if self.whole else int | float) or isinstance(value, bool):
      return False
    if not math.isfinite(value) or not self.low <= value <= self.high:
      return False
    return not ((self.above and value == self.low) or (self.below and value == self.high))


@dataclasses.dataclass(frozen=True)
class Flag(Kind):
  """True or false."""

  text = 'true or false'

  def accepts(self, value: Any) -> bool:
    return isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Choice(Kind):
  """One of several words."""

  known: tuple[str, ...]

  @property
  def text(self) -> str:
    return (
      f'one of {", ".join(map(repr, self.known))}' if len(self.known) > 1 else repr(self.known[0])
    )

  def accepts(self, value: Any) -> bool:
    return isinstance(value, str) and value in self.known


@dataclasses.dataclass(frozen=True)
class Text(Kind):
  """A text that is not empty."""

  text = 'a text that is not empty'

  def accepts(self, value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


@dataclasses.dataclass(frozen=True)
class Many(Kind):
  """A tuple (or list) of values of one kind.

  Attributes:
    each: their kind.
    least: how many there are at least.
    distinct: no two are equal.
  """

  each: Kind
  least: int = 0
  distinct: bool = False

  @property
  def text(self) -> str:
    count = f'{self.least} or more ' if self.least else ''
    different = 'different ' if self.distinct else ''
    return f'a tuple of {count}{different}values, each {self.each.text}'

  def accepts(self, value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) < self.least:
      return False
    if not all(map(self.each.accepts, value)):
      return False
    return not self.distinct or len(set(value)) == len(value)


@dataclasses.dataclass(frozen=True)
class Each(Kind):
  """A tuple (or list) of so many values, each of its own kind."""

  kinds: tuple[Kind, ...]

  @property
  def text(self) -> str:
    return f'a tuple of {len(self.kinds)}: {"; ".join(kind.text for kind in self.kinds)}'

  def accepts(self, value: Any) -> bool:
    return (
      isinstance(value, tuple | list)
      and len(value) == len(self.kinds)
      and all(kind.accepts(one) for kind, one in zip(self.kinds, value, strict=True))
    )


@dataclasses.dataclass(frozen=True)
class AnyOf(Kind):
  """A value of any of several kinds."""

  kinds: tuple[Kind, ...]

  @property
  def text(self) -> str:
    return ', or '.join(dict.fromkeys(kind.text for kind in self.kinds))

  def accepts(self, value: Any) -> bool:
    return any(kind.accepts(value) for kind in self.kinds)


@dataclasses.dataclass(frozen=True)
class Section(Kind):
  """Options by name; which, others know."""

  text = 'options by name'

  def accepts(self, value: Any) -> bool:
    return is_section(value)


@dataclasses.dataclass(frozen=True)
class Nothing(Kind):
  """None, for options that may be left open."""

  text = 'None'

  def accepts(self, value: Any) -> bool:
    return value is None


@dataclasses.dataclass(frozen=True)
class Anything(Kind):
  """Whatever it is, others check it."""

  text = 'anything'

  def accepts(self, value: Any) -> bool:
    del value
    return True


def is_section(value: Any) -> bool:
  """Whether it is a dict or ConfigDict."""
  return isinstance(value, Mapping) or hasattr(value, 'to_dict')


WHOLE = Number(0, _INT32, whole=True)
COUNT = Number(1, _INT32, whole=True)
SIZE = Number(1, 10**6, whole=True)
POSITIVE = Number(0, above=True)
AMOUNT = Number(0)
SHARE = Number(0, 1)
RATE = Number(0, 1, below=True)
TEXTS = Many(Text())

# Of the attributes of modules and objectives.
Size = Annotated[int, SIZE]
Sizes = Annotated[tuple[int, ...], Many(SIZE, least=1)]
SizeOrSizes = Annotated[int | tuple[int, ...], AnyOf((SIZE, Many(SIZE, least=1)))]
WholeNumber = Annotated[int, WHOLE]
Positive = Annotated[float, POSITIVE]
Amount = Annotated[float, AMOUNT]
Share = Annotated[float, SHARE]
Rate = Annotated[float, RATE]
Patterns = Annotated[tuple[str, ...], TEXTS]


def of_annotation(hint: Any) -> Kind:
  """What an annotation says that values may be."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  simple: dict[Any, Kind] = {
    bool: Flag(),
    int: Number(whole=True),
    float: Number(),
    str: Text(),
    types.NoneType: Nothing(),
  }
  simple |= {one.__name__: kind for one, kind in simple.items()}  # As `__future__` leaves them.
  if hint in simple:
    return simple[hint]
  if origin is Annotated:
    return next((one for one in args[1:] if isinstance(one, Kind)), of_annotation(args[0]))
  if origin is Literal and all(isinstance(one, str) for one in args):
    return Choice(args)
  if origin in (typing.Union, types.UnionType):
    return AnyOf(tuple(map(of_annotation, args)))
  if origin is tuple and args[1:] == (...,):
    return Many(of_annotation(args[0]))
  if origin is tuple:
    return Each(tuple(map(of_annotation, args)))
  return Anything()
