"""Packages that only exporting needs."""

import importlib
import types

from har.errors import UserError

INSTALL = 'pip install -r requirements-export.txt'


def load(name: str) -> types.ModuleType:
  """Imports a module.

  Raises:
    UserError: it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ImportError as e:
    package = name.partition('.')[0]
    raise UserError(f'{package} is not installed or broken ({e}): {INSTALL}') from e
