"""uvicorn's protocols, with less patience."""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from har.stream.serve.limits import Limits

_GOING = 5.0  # Seconds for a connection that is closed to have gone.


def configuration(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
  """How uvicorn serves.

  Args:
    app: what answers.
    limits: of what comes in.
    **options: further ones of uvicorn: certificates, how much is logged.
  """
  return uvicorn.Config(
    app,
    http=http(limits),
    ws=Leaving,
    ws_max_size=limits.message,
    ws_per_message_deflate=False,
    limit_concurrency=limits.connections,
    timeout_graceful_shutdown=3,
    access_log=False,
    proxy_headers=False,
    server_header=False,
    **options,
  )


def http(limits: Limits) -> type[asyncio.Protocol]:
  """HTTP whose requests must have their headers in time; uvicorn waits for ever."""

  class Impatient(H11Protocol):
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
      super().connection_made(transport)
      self._watch()

    def data_received(self, data: bytes) -> None:
      super().data_received(data)
      self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
      self._stop()
      super().connection_lost(exc)

    def _watch(self) -> None:
      if self.conn.their_state is not h11.IDLE or self.transport.get_protocol() is not self:
        self._stop()
      elif self._deadline is None:
        self._deadline = self.loop.call_later(limits.begin, self._give_up)

    def _stop(self) -> None:
      if self._deadline is not None:
        self._deadline.cancel()
        self._deadline = None

    def _give_up(self) -> None:
      idle = self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE
      if idle and not self.transport.is_closing():
        reason = f'the headers took more than {limits.begin:g} s\n'.encode()
        head = f'HTTP/1.1 408 Request Timeout\r\nContent-Length: {len(reason)}\r\n'
        self.transport.write(f'{head}Connection: close\r\n\r\n'.encode() + reason)
        self.transport.close()

  return Impatient


class Leaving(WebSocketsSansIOProtocol):
  """A WebSocket that goes when it is closed, though the other side does not read."""

  async def run_asgi(self) -> None:
    await super().run_asgi()
    self.loop.call_later(_GOING, self.transport.abort)
