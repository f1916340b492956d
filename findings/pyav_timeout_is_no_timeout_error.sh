#!/usr/bin/env bash
# PyAV: a time limit that runs out raises neither TimeoutError nor OSError.
#
# Expected: `av.open(url, timeout=1)` of a server that says nothing raises `TimeoutError`, or
# `av.error.TimeoutError`, which exists and is one; at least an OSError, as a refused connection is.
#
# What happens: `av.error.ExitError`, 'Immediate exit requested', which derives from neither, when
# opening and when a stream falls silent later. `except OSError` around a camera lets it through, and
# its text speaks of no time limit.
#
# Seen with av 18.1.0 (and 14.0.0, 15.1.0) on Python 3.11.
#
# Instead: `except (OSError, av.FFmpegError)`, and treat `av.error.ExitError` as the limit.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check av==18.1.0

cat > check.py <<'PYTHON'
import io
import socket
import threading
import time

import av

print('av', av.__version__)


def film():
  """Three seconds of MPEG-TS."""
  held = io.BytesIO()
  with av.open(held, 'w', format='mpegts') as container:
    stream = container.add_stream('mpeg2video', rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 64, 'yuv420p'
    for i in range(75):
      frame = av.VideoFrame(64, 64, 'yuv420p')
      for plane in frame.planes:
        plane.update(bytes([i]) * plane.buffer_size)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return held.getvalue()


def serve(answer):
  """Answers one request with these bytes and then says nothing more, with the line open."""
  listener = socket.create_server(('127.0.0.1', 0))
  kept = []

  def run():
    connection, _ = listener.accept()
    kept.append(connection)
    connection.recv(65536)
    connection.sendall(answer)

  threading.Thread(target=run, daemon=True).start()
  return f'http://127.0.0.1:{listener.getsockname()[1]}/film.ts', kept


def read(answer):
  """Frames that come, and what the silence after them raises."""
  url, _kept = serve(answer)
  frames, start = 0, time.monotonic()
  try:
    with av.open(url, timeout=1.0) as container:
      for _ in container.decode(video=0):
        frames += 1
  except Exception as e:
    print(f'{frames} frames, after {time.monotonic() - start:.1f} s: {type(e).__mro__}, {e}')
    return frames, e
  raise AssertionError('ended as if nothing were missing')


head = b'HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n'
frames, opening = read(b'')
assert frames == 0
frames, later = read(head + film())
assert frames > 0
for error in (opening, later):
  assert type(error) is av.error.ExitError
  assert not isinstance(error, (OSError, av.error.TimeoutError))
  assert 'Immediate exit requested' in str(error)
assert issubclass(av.error.TimeoutError, TimeoutError)

# A connection that is refused is an OSError.
with socket.create_server(('127.0.0.1', 0)) as closed:
  port = closed.getsockname()[1]
try:
  av.open(f'http://127.0.0.1:{port}/film.ts', timeout=1.0)
except OSError as e:
  print('refused:', type(e).__name__)
else:
  raise AssertionError('opened')
PYTHON
venv/bin/python check.py
