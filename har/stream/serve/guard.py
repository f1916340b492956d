"""Who is let in, and what browsers are told to keep to."""

import hmac
import ipaddress
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from har.stream.serve.limits import Refused
from har.stream.serve.site import Totals

COOKIE = 'har_token'
_HEADERS = 2**14  # Bytes.
_SCHEMES = {'ws': 'http', 'wss': 'https'}


def names(host: str) -> frozenset[str]:
  """Names by which a server that listens on `host` may be called, besides addresses."""
  own = socket.gethostname().lower()
  return frozenset({'localhost', host.lower(), own, f'{own.removesuffix(".local")}.local'})


class Guard:
  """Refuses other sites' requests and those without the token, and adds headers to answers.

  A page of another site can make a browser ask this server: what it asks as its own site has its
  `Origin`, and what it asks under a name of its own that it had resolved to this address (DNS
  rebinding) has that name as `Host`. Addresses in digits cannot be rebound.
  """

  def __init__(self, app: ASGIApp, totals: Totals, hosts: Collection[str], token: str, wasm: bool):
    """Guards an application.

    Args:
      app: ASGI.
      totals: where it is counted what is refused.
      hosts: names by which the server may be called, besides addresses.
      token: that everyone needs; empty: nobody.
      wasm: whether pages may compile WebAssembly.
    """
    self._app, self._totals, self._hosts, self._token = app, totals, hosts, token
    self._script = "'self' 'wasm-unsafe-eval'" if wasm else "'self'"

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] not in ('http', 'websocket'):
      await self._app(scope, receive, send)
      return
    headers = Headers(scope=scope)
    try:
      if sum(len(name) + len(value) for name, value in headers.raw) > _HEADERS:
        raise Refused(431, f'headers of more than {_HEADERS} bytes')
      host = self._host(headers)
      self._origin(scope, headers, host)
      fresh = self._allowed(scope, headers)
    except Refused as e:
      self._totals.refuse(e.code)
      await _refuse(e, scope, receive, send)
      return
    added = self._headers(host, scope['scheme'] in ('https', 'wss'), fresh)

    async def answer(message: Message) -> None:
      if message['type'] == 'http.response.start':
        given = MutableHeaders(scope=message)
        for name, value in added:
          given.append(name, value)
      await send(message)

    await self._app(scope, receive, answer)

  def _host(self, headers: Headers) -> str:
    given = headers.getlist('host')
    host = given[0] if len(given) == 1 else ''
    name, colon, port = host.rpartition(':')
    if not colon or host.endswith(']'):
      name, port = host, '0'
    if not (port.isdecimal() and (_is_address(name) or name.lower() in self._hosts)):
      raise Refused(421, 'this server is not called so: use its address, or its own name')
    return host

  def _origin(self, scope: Scope, headers: Headers, host: str) -> None:
    own = f'{_SCHEMES.get(scope["scheme"], scope["scheme"])}://{host}'.lower()
    if any(one.lower() != own for one in headers.getlist('origin')):
      raise Refused(403, 'pages of other sites are not answered')

  def _allowed(self, scope: Scope, headers: Headers) -> bool:
    """Whether somebody came with the token in the address, and shall have it as a cookie."""
    if not self._token:
      return False
    try:
      cookie = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
    except CookieError:
      cookie = None
    kind, _, bearer = headers.get('authorization', '').partition(' ')
    if cookie is not None and self._is_token(cookie.value):
      return False
    if kind.lower() == 'bearer' and self._is_token(bearer):
      return False
    query = parse_qs(scope['query_string'].decode('latin-1'), max_num_fields=None)
    if scope['type'] == 'http' and self._is_token(query.get('token', [''])[0]):
      return True
    raise Refused(401, 'open the address with ?token=... that the server printed when it started')

  def _is_token(self, given: str) -> bool:
    return hmac.compare_digest(given.encode(errors='replace'), self._token.encode())

  def _headers(self, host: str, secure: bool, fresh: bool) -> list[tuple[str, str]]:
    socket_address = f'{"wss" if secure else "ws"}://{host}'  # Safari's 'self' is without it.
    policy = (
      f"default-src 'none'; script-src {self._script}; style-src 'self'; img-src 'self' blob:; "
      f"media-src 'self' blob:; connect-src 'self' {socket_address}; worker-src 'self'; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    found = [
      ('Content-Security-Policy', policy),
      (
        'Permissions-Policy',
        'camera=(self), accelerometer=(self), gyroscope=(self), microphone=()',
      ),
      ('Referrer-Policy', 'no-referrer'),
      ('X-Content-Type-Options', 'nosniff'),
      ('Cross-Origin-Opener-Policy', 'same-origin'),
      ('Cross-Origin-Resource-Policy', 'same-origin'),
      ('Cache-Control', 'no-store'),
    ]
    if fresh:
      also = '; Secure' if secure else ''
      cookie = f'{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/{also}'
      found.append(('Set-Cookie', cookie))
    return found


def _is_address(name: str) -> bool:
  try:
    ipaddress.ip_address(name.removeprefix('[').removesuffix(']'))
  except ValueError:
    return False
  return True


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
  """Answers a request, or a WebSocket that has not begun."""
  headers = {'Connection': 'close', 'Cache-Control': 'no-store'}
  if scope['type'] == 'websocket':
    await receive()
  await PlainTextResponse(f'{refused.reason}\n', refused.code, headers)(scope, receive, send)
