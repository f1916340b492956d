"""What a workdir remembers of the experiment that it is of, and what may differ from it.

`config.json` is the config, `defaults.json` the value of every option at that time, so that a
default that changed since is noticed. `data.json` has counts and digests of the examples of each
part, `examples.json.gz` their keys, classes and people. All are written right before the first
checkpoint, `config.json` last: without it, nothing is claimed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from har.data.membership import Membership, changes
from har.errors import UserError

CONFIG = 'config.json'
DEFAULTS = 'defaults.json'
DATA = 'data.json'
EXAMPLES = 'examples.json.gz'

FREE = ('runtime', 'compress', 'alarm', 'dataset.abnormal', 'dataset.windows.evaluate')
"""What may change between the runs of one workdir: it does not alter the stages."""

# Of data.json: not in those of before there were lists of examples.
_YOUNGER = ('people', 'class_names')
_NAMED = 3
_ABSENT: Any = object()


@dataclasses.dataclass(frozen=True)
class Claim:
  """What an experiment has a workdir remember.

  Attributes:
    workdir: the run's folder.
    config: as JSON has it.
    defaults: of every option that has one, likewise.
    examples: that it learns from and is tested with; None until the data are there.
    left_out: by what they are left out of, classes.
  """

  workdir: pathlib.Path
  config: Mapping[str, Any]
  defaults: Mapping[str, Any]
  examples: Membership | None = None
  left_out: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

  def check_config(self) -> None:
    """Raises UserError if the workdir is of another config."""
    theirs = _read(self.workdir / CONFIG)
    if theirs is None:
      return
    before = _read(self.workdir / DEFAULTS) or {}
    found = [
      f'{key} is {a!r} there and {b!r} here'
      for key, a, b in differences(theirs, self.config, FREE, before, self.defaults)
    ]
    if found:
      raise UserError(
        f'--workdir={self.workdir} belongs to another config: {"; ".join(found[:_NAMED])}; use '
        'another --workdir'
      )

  def check_data(self) -> None:
    """Raises UserError if the workdir was trained with other examples than there are today."""
    theirs = _read(self.workdir / DATA)
    if theirs is None or not (self.workdir / CONFIG).exists():
      return
    assert self.examples is not None
    mine = self._facts()
    keys = {*theirs, *mine} - {key for key in _YOUNGER if key not in theirs}
    other = [key for key in sorted(keys) if theirs.get(key) != mine.get(key)]
    if not other:
      return
    known = Membership.read(self.workdir / EXAMPLES)
    found = changes(known, self.examples) if known else []
    listed = {*self.examples.digests()} if found else set()
    found += [
      f'{key} is {theirs.get(key)!r} there and {mine.get(key)!r} here'
      for key in other
      if key not in listed
    ]
    raise UserError(
      f'--workdir={self.workdir} was trained with other data: {"; ".join(found[:_NAMED])}; have '
      'the dataset as it was, or use another --workdir'
    )

  def write(self) -> None:
    """Has the workdir remember this unless it remembers something; UserError if it cannot."""
    claimed = (self.workdir / CONFIG).exists()
    if jax.process_index() or (claimed and (self.workdir / DATA).exists()):
      return
    assert self.examples is not None
    files: dict[str, Callable[[pathlib.Path], Any]] = {
      EXAMPLES: self.examples.write,
      DATA: _json(self._facts()),
    }
    if not claimed:
      files |= {DEFAULTS: _json(self.defaults), CONFIG: _json(self.config)}
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      for name, write in files.items():
        temporary = self.workdir / f'{name}.tmp'
        write(temporary)
        os.replace(temporary, self.workdir / name)
    except OSError as e:
      raise UserError(f'--workdir={self.workdir} cannot be written: {e.strerror}') from e

  def _facts(self) -> dict[str, Any]:
    assert self.examples is not None
    return {**self.examples.digests(), **self.left_out}


def _json(content: Mapping[str, Any]) -> Callable[[pathlib.Path], Any]:
  return lambda path: path.write_text(json.dumps(content, indent=2, sort_keys=True))


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  try:
    return dict(json.loads(path.read_text()))
  except FileNotFoundError:
    return None
  except (ValueError, TypeError) as e:
    raise UserError(f'{path} is damaged ({e}): use another --workdir') from e


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """As JSON holds it."""
  return json.loads(json.dumps(dict(config), default=str))


def differences(
  old: Mapping[str, Any],
  new: Mapping[str, Any],
  free: Sequence[str],
  old_defaults: Mapping[str, Any] | None = None,
  new_defaults: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, Any, Any]]:
  """Yields (key, old value, new value) wherever two configs differ in effect.

  An option that one of them does not know is no difference where the other has its default.

  Args:
    old: as `config.json` holds it.
    new: likewise.
    free: keys that may differ, dotted; what is below them may, too.
    old_defaults: as `defaults.json` holds it; None if nothing is known.
    new_defaults: likewise.
  """
  explicit = (_leaves(old), _leaves(new))
  defaults = (_leaves(old_defaults or {}), _leaves(new_defaults or {}))
  a, b = ({**d, **e} for d, e in zip(defaults, explicit, strict=True))
  named = {*explicit[0], *explicit[1]}
  for key in sorted({*a, *b}, key=lambda key: (key not in named, key)):
    if any(key == one or key.startswith(f'{one}.') for one in free):
      continue
    before, now = a.get(key, _ABSENT), b.get(key, _ABSENT)
    if before is _ABSENT and now == defaults[1].get(key, _ABSENT):
      continue
    if now is _ABSENT and before == defaults[0].get(key, _ABSENT):
      continue
    before, now = (None if value is _ABSENT else value for value in (before, now))
    if before != now:
      yield key, before, now


def _leaves(tree: Mapping[str, Any], at: str = '') -> dict[str, Any]:
  found: dict[str, Any] = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      found |= _leaves(value, f'{at}{name}.')
    else:
      found[f'{at}{name}'] = value
  return found
