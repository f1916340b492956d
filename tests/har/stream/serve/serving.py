"""A server in this process or in one of its own, on a port of its own, and clients of it."""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

import uvicorn
from websockets.sync import client

from har.stream import command
from har.stream.options import Options
from har.stream.serve import app, guard, local, offers, protocols
from har.stream.serve.__main__ import flags
from har.stream.serve.limits import Limits
from har.stream.serve.site import Site

ROOT = pathlib.Path(__file__).parents[4]


class Client:
  """Of the server that listens on `port` of 127.0.0.1."""

  port: int

  @property
  def address(self):
    return f'127.0.0.1:{self.port}'

  def stream(self, **options):
    return client.connect(f'ws://{self.address}/stream', compression=None, **options)

  def request(self, data, seconds=20.0):
    """What the server answers to bytes: the status, headers and body."""
    with socket.create_connection(('127.0.0.1', self.port), seconds) as connection:
      connection.sendall(data)
      found = b''
      with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(2**16):
          found += more
    return parse(found)

  def get(self, path, **headers):
    return self.request(self.head('GET', path, **headers) + b'\r\n')

  def head(self, method, path, **headers):
    given = {'Host': self.address, 'Connection': 'close'} | headers
    lines = [f'{name.replace("_", "-")}: {value}' for name, value in given.items()]
    return '\r\n'.join([f'{method} {path} HTTP/1.1', *lines, '']).encode('latin-1')

  def post(self, files, path='/predict', boundary='xyz', **headers):
    body = form(files, boundary)
    kind = f'multipart/form-data; boundary={boundary}'
    head = self.head(
      'POST', path, **{'Content-Type': kind, 'Content-Length': str(len(body))} | headers
    )
    return self.request(head + b'\r\n' + body, 300.0)


class Served(Client):
  """A server that listens.

  Attributes:
    port: on 127.0.0.1.
    site: of its parts.
  """

  def __init__(self, export, options, limits=None, log=None, token='', runtime=''):
    self.token, limits = token, limits or Limits()
    found = offers.find(str(export), 'float32', '', 1, options)
    files = local.add(found, runtime) if runtime else {}
    self.site = Site(found, options, flags_of(export, options), limits, log)
    built = app.build(self.site, guard.names('127.0.0.1'), token, files)
    self._listening = socket.create_server(('127.0.0.1', 0))
    self.port = self._listening.getsockname()[1]
    config = protocols.configuration(built, limits, log_level='critical')
    self._server = uvicorn.Server(config)
    self._thread = threading.Thread(target=self._run)

  def _run(self):
    asyncio.run(self._server.serve([self._listening]))

  def __enter__(self):
    self._thread.start()
    while not self._server.started:
      time.sleep(0.01)
    return self

  def __exit__(self, *_):
    self._server.should_exit = True
    self._thread.join(30)
    self._listening.close()
    assert not self._thread.is_alive()


class Apart(Client):
  """A server in a process of its own, without a log.

  Attributes:
    pid: of the process.
  """

  def __init__(self, export, upload, **environment):
    command = [sys.executable, '-m', 'tests.har.stream.serve.serving', str(export), str(upload)]
    self._process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=os.environ | environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.pid = self._process.pid

  def __enter__(self):
    self.port = int(self._process.stdout.readline())
    return self

  def __exit__(self, *_):
    self._process.communicate(timeout=60)
    assert self._process.returncode == 0


def parse(answer):
  head, _, body = answer.partition(b'\r\n\r\n')
  first, *lines = head.decode('latin-1').split('\r\n')
  headers = dict(line.lower().split(': ', 1) for line in lines)
  return int(first.split()[1]) if first else 0, headers, body


def form(files, boundary='xyz'):
  """Files, (name, content), as a form."""
  parts = []
  for name, content in files:
    head = f'Content-Disposition: form-data; name="recording"; filename="{name}"'
    parts.append(f'--{boundary}\r\n{head}\r\n\r\n'.encode() + content + b'\r\n')
  return b''.join(parts) + f'--{boundary}--\r\n'.encode()


def flags_of(export, options):
  parser = command.parser('', '')
  given = [f'--model={export}']
  values = {**vars(options.rule), 'seconds': options.seconds, 'step': options.step}
  values['threshold'] = options.threshold
  given += [f'--{name}={value!r}' for name, value in values.items()]
  return flags(parser.parse_args(given))


def samples(times, values):
  """A message of samples `[T, C]`."""
  rows = [struct.pack(f'<{1 + len(v)}d', t, *v) for t, v in zip(times, values, strict=True)]
  return b'\2' + b''.join(rows)


def frame(time, jpeg):
  """A message of a frame."""
  return struct.pack('<Bd', 1, time) + jpeg


def start(**rates):
  """The first message."""
  return json.dumps({'type': 'start', **{name: {'rate': rate} for name, rate in rates.items()}})


def until(socket, state, seconds=60.0):
  """Messages up to the first of a state."""
  found = []
  while not found or found[-1]['state'] != state:
    found.append(json.loads(socket.recv(seconds)))
  return found


def main():
  """Serves argv's export with uploads of so many bytes until standard input ends."""
  export, upload = sys.argv[1:]
  limits = Limits(upload=int(upload), idle=5.0)
  with Served(export, Options(seconds=1.0, step=0.25), limits) as served:
    print(served.port, flush=True)
    sys.stdin.read()


if __name__ == '__main__':
  main()
