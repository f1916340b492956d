"""Fetches a published file once, and checks it."""

import hashlib
import http.client
import os
import pathlib
import shutil
import tempfile
import urllib.parse
import urllib.request

from data_builders import litter
from har.errors import UserError

CACHE_DIR = pathlib.Path('~/.cache/har')


def fetch(
  url: str, sha256_prefix: str, cache_dir: str | pathlib.Path | None, alternative: str
) -> pathlib.Path:
  """The local copy of a published file, downloaded if there is none.

  The file appears in the cache only when it is complete and its checksum right.

  Args:
    url: the file's address.
    sha256_prefix: first hexadecimal digits of its SHA-256.
    cache_dir: the folder of the copy; None for `CACHE_DIR`.
    alternative: what a user without network can do, for the error.

  Returns:
    The path of the copy.

  Raises:
    UserError: it cannot be downloaded or written, or its checksum is wrong.
  """
  folder = pathlib.Path(cache_dir or CACHE_DIR).expanduser()
  path = folder / pathlib.PurePosixPath(urllib.parse.urlparse(url).path).name
  if path.exists():
    verify(path, sha256_prefix, f'{path} has a wrong checksum: delete it and start again')
    return path
  partial = None
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix='.part', delete=False) as file:
      partial = pathlib.Path(file.name)
      with urllib.request.urlopen(url, timeout=60) as response:
        shutil.copyfileobj(response, file)
    verify(partial, sha256_prefix, f'{url} arrived with a wrong checksum: start again')
    os.replace(partial, path)
  except (OSError, http.client.HTTPException) as error:
    reason = getattr(error, 'reason', None) or error
    raise UserError(
      f'cannot download {url} to {folder} ({reason}): download it elsewhere to {path}, or '
      f'{alternative}'
    ) from error
  finally:
    if partial is not None:
      partial.unlink(missing_ok=True)
  return path


def verify(path: pathlib.Path, sha256_prefix: str, message: str) -> None:
  """Raises a `UserError` with the message if the file's SHA-256 begins otherwise."""
  with path.open('rb') as file:
    fault = litter.mistaken(file.read(1024), 'zip')
    file.seek(0)
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  if not digest.startswith(sha256_prefix):
    raise UserError(message + (f'; it is {fault}' if fault else ''))
