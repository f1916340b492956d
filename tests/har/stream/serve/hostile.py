"""What strangers may send: streams, requests and files that a server must refuse."""

import io
import json
import struct

import numpy as np
from PIL import Image

from tests.har.stream.serve.serving import frame, samples, start

CHANNELS = 6


def jpeg(size=(32, 24), seed=0):
  """A picture."""
  buffer = io.BytesIO()
  pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
  Image.fromarray(pixels).save(buffer, 'JPEG')
  return buffer.getvalue()


def bomb():
  """A small JPEG that says that it has 65500 x 65500 pixels."""
  data = bytearray(jpeg())
  place = data.index(b'\xff\xc0')
  data[place + 5 : place + 9] = struct.pack('>HH', 65500, 65500)
  return bytes(data)


def beginnings():
  """First messages."""
  deep = '[' * 2000 + ']' * 2000
  texts = ['', ' ', '{', 'null', '[]', '3', '"start"', 'start', '{}', '{"type": 1}', deep, '\0' * 9]
  texts += ['{"type": "stop"}', '{"type": "hello"}', '{"type": "start"}', '{"type": ["start"]}']
  texts += [json.dumps({'type': 'start', name: {'rate': 50}}) for name in ('audio', '../imu', '')]
  for rate in ('NaN', 'Infinity', '-1', '0', '1e9', 'true', '"50"', 'null', '[50]', '{}', '1e999'):
    texts.append(f'{{"type": "start", "imu": {{"rate": {rate}}}}}')
  texts += [
    '{"type": "start", "imu": 50}',
    '{"type": "start", "imu": {"rate": 50, "path": "/etc"}}',
  ]
  texts += [start(imu=1.0), start(imu=999.0), start(video=999.0), 'x' * 5000, '{"a":' * 900]
  texts += [start(imu=50.0)[:-n] for n in range(1, 12)]
  rng = np.random.default_rng(0)
  return texts + [b'', samples([0.0], [np.zeros(CHANNELS)])] + [rng.bytes(n) for n in range(1, 9)]


def later(seed):
  """Lists of messages after the first."""
  rng = np.random.default_rng(seed)
  rest = np.zeros(CHANNELS)
  found = [[start(imu=50.0, video=15.0)], ['{"type": "start"}'], ['nonsense'], ['[1]'], [b'']]
  for time in (np.nan, np.inf, -np.inf, 1e300):
    found.append([samples([time], [rest])])
    found.append([frame(time, jpeg())])
  for value in (np.nan, np.inf, -1e7, 1e300):
    found.append([samples([0.0], [rest + value])])
  found.append([samples([5.0], [rest]), samples([1.0], [rest])])  # Goes back.
  found.append([samples([0.0], [rest]), samples([500.0], [rest])])  # Ahead of the clock.
  found.append([samples([0.0] * 300, np.zeros((300, CHANNELS)))])  # Too many.
  found += [[samples([0.0], [np.zeros(n)])] for n in (0, 1, 5, 7, 50)]
  found += [[samples([0.0], [rest])[:n]] for n in (1, 2, 9, 30, 56)]
  found += [[bytes([kind]) + rng.bytes(56)] for kind in (0, 3, 9, 255)]
  found += [[frame(0.0, data)] for data in (b'', b'GIF89a', b'\xff\xd8', rng.bytes(500), bomb())]
  found += [[frame(0.0, b'\xff\xd8\xff' + rng.bytes(n))] for n in (0, 3, 100, 5000)]
  found += [[frame(0.0, jpeg()[:n])] for n in (20, 200, 400)]
  found += [[frame(0.0, jpeg() * 2 + b'x')[:40]], [b'\1' + bytes(2**20)], ['x' * 2**20 + 'x']]
  found += [[rng.bytes(int(n))] for n in rng.integers(1, 4000, 40)]
  return found


def requests(address):
  """Requests as bytes."""
  paths = [
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc/passwd',
    '//etc/passwd',
  ]
  paths += [
    '/page/index.html',
    '/index.html%00.js',
    '/style.css/../main.js',
    '/style.css/',
    '/.git',
  ]
  paths += ['/stream.py', '/%c0%ae%c0%ae/', '/\\..\\..', '/main.js;x', '/MAIN.JS', '/predict/..']
  paths += [
    '/' + 'a' * 9000,
    '/files/../../x',
    '/%00',
    '/~root',
    '/etc/passwd',
    '/har/stream/log.py',
  ]
  found = [line('GET', path, Host=address) for path in paths]
  for method in ('POST', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'CONNECT', 'X' * 50):
    found += [line(method, path, Host=address) for path in ('/', '/metrics', '/main.js')]
  found += [line(method, '/predict', Host=address) for method in ('GET', 'PUT', 'DELETE')]
  hosts = [
    'evil.example',
    'evil.example:8765',
    '',
    'localhost.evil.example',
    '127.0.0.1.evil',
    ':80',
  ]
  hosts += ['127.0.0.1:x', '[::1', '127.0.0.1@evil.example', '127.1.evil:80', 'user:pw@localhost']
  for host in hosts:
    found += [line('GET', '/', Host=host), line('GET', '/offers', Host=host), upgrade(host)]
  for origin in (
    'http://evil.example',
    'null',
    f'https://{address}',
    'http://127.0.0.1:1',
    'x',
    '',
  ):
    found.append(line('GET', '/offers', Host=address, Origin=origin))
    found.append(upgrade(address, Origin=origin))
    found.append(line('POST', '/predict', Host=address, Origin=origin, Content_Length='0'))
  found += [
    b'\r\n\r\n\r\nx\r\n\r\n',
    b'GET\r\n\r\n',
    b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n',
  ]
  found += [
    b'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    b'GET / HTTP/1.1\r\n\r\n',
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]
  found += [b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', b'GET / HTTP/1.1\r\nHost : a\r\n\r\n']
  found.append(line('GET', '/', Host=address, **{f'X{i}': 'y' * 1000 for i in range(90)}))
  found.append(line('POST', '/predict', Host=address, Content_Length='-5'))
  found.append(line('POST', '/predict', Host=address, Content_Length='x'))
  found.append(line('POST', '/predict', Host=address, Transfer_Encoding='x, chunked'))
  return found


def line(method, path, **headers):
  """A request without a body."""
  given = {'Connection': 'close'} | headers
  lines = [f'{name.replace("_", "-")}: {value}' for name, value in given.items()]
  return '\r\n'.join([f'{method} {path} HTTP/1.1', *lines, '', '']).encode('latin-1')


def upgrade(host, **headers):
  """A request that a stream begins with."""
  key = 'dGhlIHNhbXBsZSBub25jZQ=='
  given = {'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec_WebSocket_Key': key}
  return line('GET', '/stream', Host=host, **given, Sec_WebSocket_Version='13', **headers)


def bodies(most):
  """Forms that are none: a head's additions and the body."""
  kind = {'Content_Type': 'multipart/form-data; boundary=b'}
  part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.csv"\r\n\r\n'
  found = [
    ({'Content_Type': 'application/json'}, b'{}'),
    ({'Content_Type': 'multipart/form-data'}, b'x'),
    ({'Content_Type': 'text/csv'}, b'1,2\n'),
    ({}, b'x'),
    (kind, b''),
    (kind, b'garbage'),
    (kind, b'--b--\r\n'),
    (kind, b'--b\r\n\r\nx\r\n--b--\r\n'),
    (kind, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n'),
    (kind, (part + b'1\r\n') * 20 + b'--b--\r\n'),
    (kind, part.replace(b'\r\n\r\n', b'\r\n' + b'X: y\r\n' * 5000)),
    (kind | {'Content_Length': str(most + 1)}, b'x'),
    (kind, part + bytes(most) + b'\r\n--b--\r\n'),
  ]
  return [({'Content_Length': str(len(body))} | head, body) for head, body in found]
