"""The WebSocket that a page sends to and is told by."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from har.errors import UserError
from har.stream.recordings import SourceError
from har.stream.serve import messages
from har.stream.serve.limits import BAD_DATA, FAILED, LATER, NOT_ALLOWED, TOO_BIG, Rate, Refused
from har.stream.serve.live import Live
from har.stream.serve.site import Site

_REASON = 123  # Bytes that the reason of a close may have (RFC 6455, section 5.5).
_WAITING = 256  # Messages that wait to be sent.
_LAST = 2.0  # Seconds for what is still to be sent at the end.
_ENDED = 1000
Task = asyncio.Future[Any]


async def stream(websocket: WebSocket) -> None:
  """Follows one stream; whatever is refused is told when the socket is closed."""
  site: Site = websocket.app.state.site
  await websocket.accept()
  try:
    if site.totals.open >= site.limits.streams:
      raise Refused(LATER, f'{site.limits.streams} streams are followed already; try again later')
    with site.totals.stream() as number:
      await _Connection(websocket, site, number).follow()
    await _close(websocket, _ENDED, 'ended')
  except Refused as e:
    site.totals.refuse(e.code)
    await _close(websocket, e.code, e.reason)
  except WebSocketDisconnect:
    pass


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
  reason = reason.encode()[:_REASON].decode(errors='ignore')
  # The other side may have gone, or not listen.
  with contextlib.suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
    await asyncio.wait_for(websocket.close(code, reason), _LAST)


def _faults(kind: type[Exception], *tasks: Task) -> list[BaseException]:
  """What such tasks raised as have ended."""
  found = [task.exception() for task in tasks if task.done() and not task.cancelled()]
  return [fault for fault in found if isinstance(fault, kind)]


class _Connection:
  """One stream's."""

  def __init__(self, websocket: WebSocket, site: Site, number: int):
    self._socket, self._site, self._limits, self._number = websocket, site, site.limits, number
    self._waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(_WAITING)
    self._messages, self._volume = Rate(self._limits.messages), Rate(self._limits.volume)

  async def follow(self) -> None:
    """Goes on to the end.

    Raises:
      Refused: something is not taken.
      WebSocketDisconnect: the other side has gone.
    """
    data = await self._receive(self._limits.begin)
    if not isinstance(data, str):
      raise Refused(NOT_ALLOWED, 'a stream begins with {"type": "start", ...}')
    rates = messages.start(messages.text(data, self._limits), self._site.offers)
    offer = self._site.offers[frozenset(rates)]
    loop, site = asyncio.get_running_loop(), self._site
    arguments = offer, rates, site.options, site.log, self._number
    try:
      live = await loop.run_in_executor(site.threads, Live, *arguments)
    except UserError as e:
      raise Refused(FAILED, str(e)) from None
    self._waiting.put_nowait({'state': 'started', 'stream': self._number, **offer.about})
    reader = messages.Reader(offer, rates, self._limits)
    receiving = asyncio.create_task(self._receive_all(live, reader))
    sending = asyncio.create_task(self._send_all())

    def say(record: Mapping[str, Any]) -> None:
      loop.call_soon_threadsafe(self._tell, record, sending)

    working = asyncio.ensure_future(loop.run_in_executor(site.threads, live.run, say))
    try:
      await asyncio.wait((receiving, sending, working), return_when=asyncio.FIRST_COMPLETED)
    finally:
      live.close()
      receiving.cancel()
      await asyncio.wait((receiving, working))
    await self._finish(receiving, sending, working)

  async def _finish(self, receiving: Task, sending: Task, working: Task) -> None:
    """Sends what is left, and says why it ended."""
    slow, gone = sending.done(), _faults(WebSocketDisconnect, receiving, sending)
    if not slow and not gone:
      await asyncio.sleep(0)  # What the thread has told last is put.
      if not self._waiting.full():
        self._waiting.put_nowait({})
        await asyncio.wait((sending,), timeout=_LAST)
    sending.cancel()
    await asyncio.wait((sending,))
    _faults(Exception, sending)  # Whatever it was, it has been seen.
    failed = _faults(Exception, working)
    for fault in (*gone, *_faults(Exception, receiving)):
      raise fault
    for fault in failed:
      if not isinstance(fault, UserError):
        raise fault
      raise Refused(BAD_DATA if isinstance(fault, SourceError) else FAILED, str(fault)) from None
    if slow:
      raise Refused(NOT_ALLOWED, f'does not take what it is told within {self._limits.idle:g} s')

  def _tell(self, record: Mapping[str, Any], sending: Task) -> None:
    if record['state'] == 'counters':
      self._site.totals.count(self._number, record)
    if not self._waiting.full():
      self._waiting.put_nowait(record)
    else:
      sending.cancel()

  async def _send_all(self) -> None:
    while record := await self._waiting.get():
      text = json.dumps(record, ensure_ascii=False)
      await asyncio.wait_for(self._socket.send_text(text), self._limits.idle)

  async def _receive_all(self, live: Live, reader: messages.Reader) -> None:
    """Until the page says that it stops."""
    begun: float | None = None
    while True:
      data = await self._receive(self._limits.idle)
      if isinstance(data, str):
        if messages.text(data, self._limits)['type'] == 'stop':
          return
        raise Refused(NOT_ALLOWED, 'a stream begins once')
      begun = begun or time.monotonic()
      for item in reader.items(data, time.monotonic() - begun):
        live.put(item)

  async def _receive(self, seconds: float) -> str | bytes:
    try:
      message = await asyncio.wait_for(self._socket.receive(), seconds)
    except TimeoutError:
      raise Refused(NOT_ALLOWED, f'nothing came for {seconds:g} s') from None
    if message['type'] == 'websocket.disconnect':
      raise WebSocketDisconnect(message.get('code', 1006))
    text, data = message.get('text'), message.get('bytes')
    found: str | bytes = text if text is not None else data or b''
    if len(found) > self._limits.message:
      raise Refused(TOO_BIG, f'a message of more than {self._limits.message} bytes')
    if not self._messages.take(1):
      raise Refused(NOT_ALLOWED, f'more than {self._limits.messages:g} messages a second')
    if not self._volume.take(len(found)):
      raise Refused(NOT_ALLOWED, f'more than {self._limits.volume:g} bytes a second')
    return found
