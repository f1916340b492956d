"""The timeline of recordings that are sent as files.

They are written into a folder of their own, under names of the server's, and gone through by
`har.stream.predict` in a process of its own, which ends when it takes too long or nobody waits.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from har.stream.recordings import MATRICES, TABLES
from har.stream.serve.limits import Limits, Refused
from har.stream.serve.site import Site

_FILES = 8  # A film, and a file of each sensor.
_PART = 2**20
_ROOT = Path(__file__).parents[3]


async def predict(request: Request) -> Response:
  """Answers a form of files with what `timeline.json` holds.

  Raises:
    Refused: the files are too large, too slow, not such, or the model does not take them.
  """
  site: Site = request.app.state.site
  if site.working.locked():
    raise Refused(503, 'another recording is gone through; try again later')
  async with site.working:
    with tempfile.TemporaryDirectory(prefix='har-upload-') as folder:
      try:
        async with asyncio.timeout(site.limits.uploading):
          paths = await _store(request, Path(folder), site.limits)
      except TimeoutError:
        raise Refused(408, f'took more than {site.limits.uploading:g} s to come') from None
      except ClientDisconnect:
        raise Refused(400, 'ended before its end') from None
      found = await _timeline(request, site, paths, Path(folder))
  return JSONResponse(found)


async def _store(request: Request, folder: Path, limits: Limits) -> list[Path]:
  """Writes what comes; its names are taken for its kind only."""
  kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
  if kind != 'multipart/form-data':
    raise Refused(415, 'files come as multipart/form-data')
  body = _bounded(request, limits.upload)
  parser = MultiPartParser(request.headers, body, max_files=_FILES, max_fields=0)
  try:
    form = await parser.parse()
  except (MultiPartException, FormParserError) as e:
    raise Refused(400, f'not a readable form ({e})') from None
  try:
    given = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
    if not given or len(given) < len(form.multi_items()):
      raise Refused(400, 'the form holds no files, or something else')
    paths = []
    for i, one in enumerate(given):
      suffix = Path(one.filename or '').suffix.lower()
      table = suffix in TABLES + MATRICES
      path = folder / (f'samples-{i + 1}{suffix}' if table else f'film-{i + 1}')
      with open(path, 'xb') as file:
        while data := await one.read(_PART):
          file.write(data)
      paths.append(path)
    return paths
  finally:
    await form.close()


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
  """The body, as long as it is not too large."""
  length = request.headers.get('content-length', '')
  if length.isdecimal() and int(length) > most:
    raise Refused(413, f'more than {most} bytes')
  seen = 0
  async for data in request.stream():
    seen += len(data)
    if seen > most:
      raise Refused(413, f'more than {most} bytes')
    yield data


async def _timeline(
  request: Request, site: Site, paths: Sequence[Path], folder: Path
) -> dict[str, Any]:
  """What `har.stream.predict` says of files."""
  given = f'--input={",".join(map(str, paths))}'
  search = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get('PYTHONPATH', '')]))
  process = await asyncio.create_subprocess_exec(
    *(sys.executable, '-m', 'har.stream.predict', *site.flags, given, '--output=-'),
    stdin=asyncio.subprocess.DEVNULL,
    stdout=asyncio.subprocess.PIPE,
    stderr=asyncio.subprocess.PIPE,
    env={**os.environ, 'PYTHONPATH': search},
  )
  working = asyncio.create_task(process.communicate())
  leaving = asyncio.create_task(_gone(request))
  try:
    await asyncio.wait(
      (working, leaving),
      timeout=site.limits.predicting,
      return_when=asyncio.FIRST_COMPLETED,
    )
  finally:
    leaving.cancel()
    if not working.done():
      process.kill()
      await asyncio.wait((working,))
  out, err = working.result()
  here = f'{folder}{os.sep}'
  if process.returncode == 0:
    found = json.loads(out)
    return {**found, 'notes': [note.replace(here, '') for note in found['notes']]}
  told = err.decode(errors='replace').replace(here, '').splitlines()
  if process.returncode == 2 and told and told[-1].startswith('error: '):
    raise Refused(422, told[-1].removeprefix('error: ').removeprefix('--input='))
  if process.returncode == -signal.SIGKILL:
    raise Refused(503, f'took more than {site.limits.predicting:g} s to be gone through')
  print(err.decode(errors='replace'), file=sys.stderr, flush=True)
  raise Refused(500, 'cannot be gone through; the log of the server says why')


async def _gone(request: Request) -> None:
  """Returns when nobody waits for the answer any more."""
  while (await request.receive())['type'] != 'http.disconnect':
    pass
