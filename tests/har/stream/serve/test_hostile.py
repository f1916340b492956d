"""Whatever comes in: nothing breaks, grows or is touched, and each is refused with a reason."""

import concurrent.futures
import contextlib
import functools
import pathlib
import socket
import struct
import tempfile
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from har.stream.options import Options
from har.stream.serve.limits import Limits
from tests.har.stream import exports
from tests.har.stream.serve import hostile, serving

OPTIONS = Options(seconds=1.0, step=0.25)
CODES = {1007, 1008, 1009}
MOST = 2**16  # Of uploads.
LEFT = 70  # Times that somebody goes away, which nobody can be told of.
LIMITS = Limits(upload=MOST, idle=5.0)
QUICK = Limits(begin=2.0, idle=2.0, uploading=2.0, streams=2, messages=40.0, volume=2e5)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
  """Where temporary files go."""
  folder = tmp_path / 'scratch'
  folder.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(folder))
  return folder


def refused(served, messages, *, begun):
  """The code and reason that a stream is closed with."""
  with served.stream() as stream:
    with contextlib.suppress(ConnectionClosed):
      if begun:
        stream.send(serving.start(imu=50.0, video=15.0))
      for one in messages:
        stream.send(one)
      while True:
        stream.recv(20.0)
    return stream.close_code, stream.close_reason


def process(served):
  """Of the server: MB of memory, and how many files and connections are open."""
  home = pathlib.Path(f'/proc/{served.pid}')
  resident = home.joinpath('status').read_text().partition('VmRSS:')[2].split()[0]
  return int(resident) / 1024, sum(1 for _ in home.joinpath('fd').iterdir())


def attempts(served, seed):
  """What is tried, in an order that is drawn; each asserts that it is refused with a reason."""

  def stream(messages, begun):
    code, reason = refused(served, messages, begun=begun)
    assert code in CODES, messages[-1][:80]
    assert reason, messages[-1][:80]

  def request(data):
    status, _, body = served.request(data)
    assert 400 <= status < 500, data[:80]
    assert body.strip(), data[:80]
    assert len(body.strip().splitlines()) == 1

  found = [functools.partial(stream, [one], False) for one in hostile.beginnings()]
  found += [functools.partial(stream, messages, True) for messages in hostile.later(seed)]
  found += [functools.partial(request, data) for data in hostile.requests(served.address)]
  for head, body in hostile.bodies(MOST):
    data = served.head('POST', '/predict', **head) + b'\r\n' + body
    found.append(functools.partial(request, data))
  return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def leave(served, seed):
  """Goes away in the middle of everything; returns how often."""
  rng = np.random.default_rng(seed)
  whole = [hostile.upgrade(served.address), hostile.line('GET', '/', Host=served.address)]
  length = {'Content_Length': '60000', 'Content_Type': 'multipart/form-data; boundary=b'}
  whole.append(hostile.line('POST', '/predict', Host=served.address, **length) + bytes(500))
  for i in range(LEFT - 10):
    data = whole[i % 3]
    with socket.create_connection(('127.0.0.1', served.port)) as one:
      one.sendall(data[: int(rng.integers(0, len(data) + 1))])
      if i % 2:  # A reset, not an end.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
  for i in range(10):
    settled(served)
    with served.stream() as stream:
      stream.send(serving.start(imu=50.0, video=15.0))
      for k in range(i):
        stream.send(serving.frame(k / 15, hostile.jpeg()))
      stream.close_socket()
  return LEFT


def settled(served, seconds=20.0):
  """Waits until all streams have ended."""
  end = time.monotonic() + seconds
  while b'har_streams 0\n' not in served.get('/metrics')[2]:
    assert time.monotonic() < end
    time.sleep(0.05)


def contents(folder):
  """Of all files, with their times."""
  return {
    one: (one.stat().st_mtime_ns, one.is_file() and one.read_bytes()) for one in folder.rglob('*')
  }


def test_more_than_300_hostile_inputs(both, tmp_path):
  files = contents(both.parent)
  scratch, home = tmp_path / 'scratch', tmp_path / 'home'
  scratch.mkdir()
  home.mkdir()
  with serving.Apart(both, MOST, TMPDIR=str(scratch), HOME=str(home)) as served:
    counts = []
    for seed in range(2):
      tried = attempts(served, seed)
      for one in tried:
        one()
      counts.append(len(tried) + leave(served, seed))
      settled(served)
      memory, opened = process(served)
      if not seed:  # Now it has met all of it once.
        before = memory, opened
    assert min(counts) >= 300
    assert sum(counts) - 2 * LEFT >= 500  # That were told why.
    assert memory < 1.05 * before[0]
    assert opened == before[1]
    assert contents(both.parent) == files
    assert [*scratch.iterdir(), *home.iterdir()] == []
    _, _, metrics = served.get('/metrics')
    assert 'har_refused_total{code="1007"}' in metrics.decode()
    assert served.get('/')[0] == 200
    # And goes on to work.
    with served.stream() as stream:
      stream.send(serving.start(imu=50.0))
      for k, row in enumerate(exports.movement(2.0)):
        stream.send(serving.samples([k / 50], [row]))
      assert serving.until(stream, 'window')[-1]['class']


def test_files_that_are_none(both, scratch):
  told = {
    b'evil.csv': b'\0\1\2' * 50,
    b'../../a.mat': b'MATLAB 5.0 MAT-file' + bytes(200),
    b'/etc/passwd': b'#EXTM3U\nfile:///etc/passwd\n',
    b'film.mp4': hostile.jpeg(),
  }
  with serving.Served(both, OPTIONS, LIMITS) as served:
    for name, content in told.items():
      status, _, body = served.post([(name.decode(), content)])
      assert status == 422, body
      assert str(scratch).encode() not in body
      assert body.startswith((b'samples-1.', b'film-1'))
      assert len(body.strip().splitlines()) == 1
    assert list(scratch.iterdir()) == []


def test_what_is_slow_or_too_much_is_refused(both, scratch):
  with serving.Served(both, OPTIONS, QUICK) as served:
    for data in (b'', b'GET', b'GET / HTTP/1.1\r\nHost: x\r\nX: '):
      status, _, body = served.request(data)
      assert (status, body) == (408, b'the headers took more than 2 s\n')
    head = {'Content_Type': 'multipart/form-data; boundary=b', 'Content_Length': '50000'}
    status, _, body = served.request(served.head('POST', '/predict', **head) + b'\r\n--b')
    assert (status, body) == (408, b'took more than 2 s to come\n')
    assert refused(served, [], begun=False) == (1008, 'nothing came for 2 s')
    assert refused(served, [], begun=True) == (1008, 'nothing came for 2 s')
    rest = [serving.samples([k / 50], [np.zeros(6)]) for k in range(200)]
    assert refused(served, rest, begun=True) == (1008, 'more than 40 messages a second')
    large = [serving.frame(k / 15, hostile.jpeg((400, 300))) for k in range(20)]
    assert refused(served, large, begun=True) == (1008, 'more than 200000 bytes a second')
    settled(served)
    with contextlib.ExitStack() as stack:
      for _ in range(2):
        one = stack.enter_context(served.stream())
        one.send(serving.start(imu=50.0))
        serving.until(one, 'started')
      code, reason = refused(served, [], begun=False)
      assert (code, reason) == (1013, '2 streams are followed already; try again later')
    settled(served)
  assert list(scratch.iterdir()) == []


def test_who_has_no_token_is_refused(both):
  token = 'a-very-long-token-of-a-server'
  with serving.Served(both, OPTIONS, token=token) as served:
    good = [{'Cookie': f'x=1; har_token={token}'}, {'Authorization': f'Bearer {token}'}]
    bad = [{}, {'Cookie': 'har_token='}, {'Cookie': f'har_token={token}x'}, {'Cookie': '\xff=;;"'}]
    bad += [{'Authorization': one} for one in (token, f'Basic {token}', 'Bearer', 'Bearer \xe9')]
    for path in ('/', '/main.js', '/offers', '/metrics', '/nothing', '/?token=', '/?token=wrong'):
      for headers in bad:
        status, headers, body = served.get(path, **headers)
        assert (status, 'set-cookie' in headers) == (401, False)
        assert body == b'open the address with ?token=... that the server printed when it started\n'
    for headers in bad:
      request = hostile.upgrade(served.address, **headers)
      assert served.request(request)[0] == 401
      assert (
        served.request(request.replace(b'/stream', b'/stream?token=' + token.encode()))[0] == 401
      )
      assert served.post([('a.csv', b'')], **headers)[0] == 401
    for headers in good:
      assert served.get('/offers', **headers)[0] == 200
    status, headers, _ = served.get(f'/?token={token}')
    assert status == 200
    assert headers['set-cookie'] == f'har_token={token}; httponly; samesite=strict; path=/'
    with served.stream(additional_headers=good[0]) as stream:
      stream.send(serving.start(imu=50.0))
      assert serving.until(stream, 'started')[-1]['labels'] == ['wave', 'swipe_left', 'swipe_right']


def test_one_recording_after_the_other(both):
  with serving.Served(both, OPTIONS) as served:
    head = {'Content_Type': 'multipart/form-data; boundary=b', 'Content_Length': '50000'}
    with socket.create_connection(('127.0.0.1', served.port)) as one:
      one.sendall(served.head('POST', '/predict', **head) + b'\r\n')
      end = time.monotonic() + 10
      while not served.site.working.locked() and time.monotonic() < end:
        time.sleep(0.01)
      status, _, body = served.post([('a.csv', b'1\n')])
    assert (status, body) == (503, b'another recording is gone through; try again later\n')


def test_four_streams_at_once(both):
  """Each has a model of its own."""

  def follow(served):
    with served.stream() as stream:
      stream.send(serving.start(imu=50.0))
      for k, row in enumerate(exports.movement(3.0)):
        stream.send(serving.samples([k / 50], [row]))
      stream.send('{"type": "stop"}')
      return [one for one in serving.until(stream, 'counters') if one['state'] == 'window']

  with serving.Served(both, OPTIONS) as served, concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(follow, [served] * 4))
  shown = [[(one['start'], one['class'], one['confidence']) for one in each] for each in found]
  assert len(shown[0]) > 0
  assert shown[0] == shown[1] == shown[2] == shown[3]
