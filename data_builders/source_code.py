"""Digests of the code that a builder consists of, which comments and layout do not change."""

import ast
import hashlib
import inspect
import pathlib
from collections.abc import Iterator
from typing import Any

# They tell people about a dataset and do not alter it.
_NOTES = ('RELEASE_NOTES', 'MANUAL_DOWNLOAD_INSTRUCTIONS')
# Of the syntax tree: what no program depends on.
_SKIPPED = ('ctx', 'kind', 'type_comment', 'type_ignores')


def digests(builder: type) -> dict[str, Any]:
  """Digests by module of a builder's own code: its module, and those beside it that it imports.

  A class with a `RECORD_VERSION` says by that number whether its records would come out another,
  and its code is not looked at. Modules that many builders share (those directly in
  `data_builders`) have a version of their own, see `fingerprint.SHARED_VERSION`.
  """
  version = getattr(builder, 'RECORD_VERSION', None)
  if version is not None:
    return {'RECORD_VERSION': version}
  found: dict[str, str] = {}
  for one in builder.__mro__:
    name = one.__module__
    if name.partition('.')[0] in ('tensorflow_datasets', 'builtins', 'abc') or _is_shared(name):
      continue
    try:
      path = inspect.getsourcefile(one)
    except TypeError:  # Of a notebook, which has no file.
      path = None
    if path and pathlib.Path(path).is_file():
      _add(found, name, pathlib.Path(path))
  return found


def _is_shared(module: str) -> bool:
  return module.startswith('data_builders.') and module.count('.') == 1


def _add(found: dict[str, str], name: str, path: pathlib.Path) -> None:
  """Adds a module, and what it imports of its own package."""
  if name in found:
    return
  tree = ast.parse(path.read_bytes())
  found[name] = hashlib.sha256(repr(_form(tree)).encode()).hexdigest()[:16]
  package = name.rpartition('.')[0]
  for imported in _imports(tree, package):
    rest = imported.removeprefix(f'{package}.')
    if package and rest != imported:
      other = path.parent.joinpath(*rest.split('.')).with_suffix('.py')
      if other.is_file():
        _add(found, imported, other)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
  """Dotted names that may be modules."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      parents = package.split('.')[: len(package.split('.')) - node.level + 1] if node.level else []
      base = '.'.join([*parents, *([node.module] if node.module else [])])
      yield base
      yield from (f'{base}.{alias.name}' for alias in node.names)


def _form(node: Any) -> Any:
  """The syntax tree as lists, equal in all versions of Python, without docstrings and notes."""
  if isinstance(node, list):
    return [_form(one) for one in node if not _is_note(one)]
  if not isinstance(node, ast.AST):
    return repr(node)
  empty: tuple[Any, ...] = (None, [], '')
  fields = [
    (name, _form(value))
    for name, value in ast.iter_fields(node)
    if name not in _SKIPPED and (isinstance(node, ast.Constant) or value not in empty)
  ]
  return [type(node).__name__, *fields]


def _is_note(node: Any) -> bool:
  if isinstance(node, ast.Expr):
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
  targets = getattr(node, 'targets', None) or [getattr(node, 'target', None)]
  return isinstance(node, ast.Assign | ast.AnnAssign) and any(
    isinstance(target, ast.Name) and target.id in _NOTES for target in targets
  )
