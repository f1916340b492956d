"""Groups of recordings by what their names say, such as a class or a person."""

import re
from collections.abc import Sequence

from har.errors import UserError

_PART = re.compile(r'\{(\w+)\}|(\*)')


def by_names(pattern: str, names: Sequence[str]) -> dict[str, dict[str, list[int]]]:
  """Places of names, by part of the pattern and what stands there.

  Args:
    pattern: of whole names, such as `{class}/U{person}_*`: each part in braces stands for a group,
      within a folder's or file's name; * for anything.
    names: of the recordings.

  Raises:
    UserError: a pattern without a part in braces, with one twice, or that a name does not fit, or
      fits in two ways.
  """
  where = f'--by={pattern}'
  parts = [found[1] for found in _PART.finditer(pattern) if found[1]]
  if not parts or len(set(parts)) < len(parts) or any(part[0].isdigit() for part in parts):
    raise UserError(f"{where}: needs parts in braces, each once, as in '{{class}}/U{{person}}_*'")
  lazy, greedy = _compile(pattern, '?'), _compile(pattern, '')
  groups: dict[str, dict[str, list[int]]] = {part: {} for part in parts}
  for place, name in enumerate(names):
    match, other = lazy.fullmatch(name), greedy.fullmatch(name)
    if match is None or other is None:
      raise UserError(f'{where}: {name} does not fit')
    if match.groupdict() != other.groupdict():
      raise UserError(f'{where}: {name} fits in two ways; write more of what stands between parts')
    for part, text in match.groupdict().items():
      groups[part].setdefault(text, []).append(place)
  return {part: dict(sorted(found.items())) for part, found in groups.items()}


def _compile(pattern: str, least: str) -> re.Pattern:
  text, start = '', 0
  for found in _PART.finditer(pattern):
    text += re.escape(pattern[start : found.start()])
    text += f'(?P<{found[1]}>[^/]+{least})' if found[1] else f'.*{least}'
    start = found.end()
  return re.compile(text + re.escape(pattern[start:]), re.DOTALL)
