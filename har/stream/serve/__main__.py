"""A page that shows what a model sees: a camera, a phone's motion sensors, or recordings.

python -m har.stream.serve --model=EXPORT [--log=FILE] [--host=0.0.0.0 --certificate=C --key=K]

EXPORT is the folder `export` of a workdir, a stage's folder in it or a .tflite file. The page is
for this computer alone unless --host is given; then it takes a token, which is part of the address
that is printed. Browsers give cameras and motion sensors to pages of this computer or over HTTPS.
No JAX is needed.
"""

import contextlib
import ipaddress
import logging
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.stream import command
from har.stream.log import EventLog
from har.stream.options import NUMBERS

_LEAST_TOKEN = 16


def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = command.parser(__doc__ or '', 'python -m har.stream.serve')
  add = parser.add_argument
  add('--host', default='127.0.0.1', help='address to listen on, such as 0.0.0.0 for all')
  add('--port', type=int, default=8765, help='0 for any that is free')
  add('--token', default='', help='that others need; made anew at each start if not given')
  add('--certificate', default='', help='PEM file for HTTPS')
  add('--key', default='', help="the certificate's key, PEM")
  add('--browser_runtime', default='', help="onnxruntime-web's package/dist, to compute on phones")
  add('--log', default='', help='file that events are appended to, a line of JSON each')
  args = parser.parse_args(argv)
  with command.told():
    serve(args)
  return 0


def serve(args: Any) -> None:
  """Serves until it is told to end.

  Raises:
    UserError: something is missing, or an option is wrong.
  """
  try:
    import uvicorn

    from har.stream.serve import app, guard, local, offers, protocols
    from har.stream.serve.limits import Limits
    from har.stream.serve.site import Site
  except ImportError as e:
    raise UserError(f'{e.name} is missing: pip install -r requirements-serve.txt') from e
  # It warns of what is refused anyway.
  logging.getLogger('python_multipart').setLevel(logging.ERROR)
  options, limits, token = command.options(args), Limits(), token_of(args.host, args.token)
  found = offers.find(args.model, args.variant, args.stage, args.threads, options)
  files = local.add(found, args.browser_runtime) if args.browser_runtime else {}
  log = EventLog(args.log) if args.log else None
  site = Site(found, options, flags(args), limits, log)
  built = app.build(site, guard.names(args.host), token, files)
  encrypted = encryption(args.certificate, args.key)
  config = protocols.configuration(built, limits, log_level='warning', **encrypted)
  with listen(args.host, args.port) as listening:
    scheme = 'https' if args.certificate else 'http'
    for name in addresses(args.host):
      query = f'?token={token}' if token else ''
      print(f'{scheme}://{name}:{listening.getsockname()[1]}/{query}', flush=True)
    with contextlib.suppress(KeyboardInterrupt):
      uvicorn.Server(config).run([listening])


def token_of(host: str, given: str) -> str:
  """The token; empty where none is needed, on this computer's own address.

  Raises:
    UserError: it can be guessed, or cannot stand in an address.
  """
  if given and (len(given) < _LEAST_TOKEN or not given.replace('-', '').replace('_', '').isalnum()):
    told = f'at least {_LEAST_TOKEN} letters, digits, - and _'
    raise UserError(f'--token: {told}, or leave it out: one is made')
  return given or ('' if is_loopback(host) else secrets.token_urlsafe(24))


def is_loopback(host: str) -> bool:
  """Whether only this computer reaches an address."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == 'localhost'


def encryption(certificate: str, key: str) -> dict[str, Any]:
  """uvicorn's options for HTTPS.

  Raises:
    UserError: the files do not go together.
  """
  if not certificate and not key:
    return {}
  import ssl

  for flag, path in (('certificate', certificate), ('key', key)):
    if not Path(path).is_file():
      raise UserError(f'--{flag}={path}: no such file; --certificate and --key go together')
  try:
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password='')
  except (ssl.SSLError, OSError) as e:
    raise UserError(f'--certificate={certificate}, --key={key}: {e.strerror or e}') from e
  return {'ssl_certfile': certificate, 'ssl_keyfile': key}


def flags(args: Any) -> tuple[str, ...]:
  """Those that `har.stream.predict` has, too."""
  given = {name: repr(getattr(args, name)) for name in NUMBERS}
  given |= {name: getattr(args, name) for name in ('model', 'variant', 'stage', 'time_unit')}
  return tuple(f'--{name}={value}' for name, value in given.items())


def listen(host: str, port: int) -> socket.socket:
  """Raises UserError if that cannot be listened on."""
  try:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
  except (OSError, OverflowError) as e:
    raise UserError(f'--host={host} --port={port}: cannot be listened on ({e})') from e


def addresses(host: str) -> list[str]:
  """By which the server may be reached."""
  if host not in ('0.0.0.0', '::'):
    return [f'[{host}]' if ':' in host else host]
  found = ['127.0.0.1']
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    try:
      probe.connect(('192.0.2.1', 9))  # Sends nothing: it only chooses an address of this computer.
      found.insert(0, probe.getsockname()[0])
    except OSError:
      pass
  return found


if __name__ == '__main__':
  sys.exit(main())
