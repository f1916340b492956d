"""The pages and addresses of the server."""

import contextlib
import importlib.resources
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from har.stream.serve import upload, websocket
from har.stream.serve.guard import Guard
from har.stream.serve.limits import Refused
from har.stream.serve.site import Site

TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.onnx': 'application/octet-stream',
}
_FIRST = 'index.html'
Endpoint = Callable[[Request], Awaitable[Response]]


def build(
  site: Site, hosts: frozenset[str], token: str = '', files: Mapping[str, Path] | None = None
) -> ASGIApp:
  """The application.

  Args:
    site: what its parts share.
    hosts: names by which it may be called, see `guard.names`.
    token: that everyone needs; empty: nobody.
    files: what else it gives, by address, such as a runtime for browsers.
  """
  routes: list[BaseRoute] = [
    Route('/offers', _offers(site), methods=['GET']),
    Route('/metrics', _metrics, methods=['GET']),
    Route('/predict', upload.predict, methods=['POST']),
    WebSocketRoute('/stream', websocket.stream),
  ]
  for name, content in page().items():
    address = '/' if name == _FIRST else f'/{name}'
    routes.append(Route(address, _content(content, TYPES[Path(name).suffix]), methods=['GET']))
  for address, path in (files or {}).items():
    routes.append(Route(address, _file(path), methods=['GET']))

  @contextlib.asynccontextmanager
  async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    site.threads.shutdown(wait=True, cancel_futures=True)

  async def refuse(request: Request, refused: Exception) -> Response:
    del request
    assert isinstance(refused, Refused)
    site.totals.refuse(refused.code)
    return PlainTextResponse(f'{refused.reason}\n', refused.code, {'Connection': 'close'})

  app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: refuse})
  app.router.redirect_slashes = False
  app.state.site = site
  return Guard(app, site.totals, hosts, token, wasm=bool(files))


def page() -> dict[str, bytes]:
  """The files of the page by name."""
  folder = importlib.resources.files('har.stream.serve') / 'page'
  return {one.name: one.read_bytes() for one in folder.iterdir() if Path(one.name).suffix in TYPES}


def _content(content: bytes, kind: str) -> Endpoint:
  async def answer(request: Request) -> Response:
    del request
    return Response(content, media_type=kind)

  return answer


def _file(path: Path) -> Endpoint:
  async def answer(request: Request) -> Response:
    del request
    return FileResponse(path, media_type=TYPES[path.suffix])

  return answer


def _offers(site: Site) -> Endpoint:
  about = {
    'offers': [one.about for one in site.offers.values()],
    'limits': {'upload': site.limits.upload, 'message': site.limits.message},
  }
  return _content(json.dumps(about, ensure_ascii=False).encode(), TYPES['.json'])


async def _metrics(request: Request) -> Response:
  return PlainTextResponse(
    request.app.state.site.totals.text(), media_type='text/plain; version=0.0.4'
  )
