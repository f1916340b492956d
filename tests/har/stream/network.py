"""Cameras of a network, as this computer serves them to itself: over HTTP and RTSP."""

import contextlib
import http.server
import socketserver
import struct
import threading
from fractions import Fraction

import av
import numpy as np

RATE = 25
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=film
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 32
a=control:track
""".replace('\n', '\r\n')
_ANSWERS = {
  'OPTIONS': 'Public: DESCRIBE, SETUP, PLAY, TEARDOWN',
  'DESCRIBE': 'Content-Type: application/sdp',
  'SETUP': 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1',
  'PLAY': 'Session: 1',
}
_REPORT = 200  # The kind of packet that is of RTCP.


class Written(list):
  """What a muxer writes, piece by piece."""

  def write(self, data):
    self.append(bytes(data))
    return len(data)


def film(frames, form):
  """So many frames of MPEG-2, ever brighter, as pieces: of 'mpegts' or packets of 'rtp'."""
  pieces = Written()
  options = {'packetsize': '1400'} if form == 'rtp' else {}
  with av.open(pieces, 'w', format=form, options=options) as container:
    stream = container.add_stream('mpeg2video', rate=RATE)
    stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
    for i in range(frames):
      grey = np.full((32, 48, 3), 20 + 200 * i // frames, np.uint8)
      frame = av.VideoFrame.from_ndarray(grey, format='rgb24')
      frame.pts, frame.time_base = i, Fraction(1, RATE)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return pieces


@contextlib.contextmanager
def served(handler, released):
  """The port of 127.0.0.1 at which a handler answers; ends when those that hang are released."""
  with socketserver.ThreadingTCPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield server.server_address[1]
    finally:
      released.set()
      server.shutdown()
      thread.join()


def over_http(frames, *, share=1.0, hang=False):
  """An HTTP address of a film, of which a share is sent; then it ends or nothing more comes."""
  data, released = b''.join(film(frames, 'mpegts')), threading.Event()

  class Camera(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
      pass

    def do_GET(self):
      self.send_response(200)
      self.send_header('Content-Length', str(len(data)))
      self.end_headers()
      self.wfile.write(data[: round(share * len(data))])
      if hang:
        released.wait(60)

  return served(Camera, released)


def over_rtsp(frames, *, share=1.0, hang=False):
  """An RTSP address of such a film, by TCP."""
  packets, released = film(frames, 'rtp'), threading.Event()

  class Camera(socketserver.StreamRequestHandler):
    def handle(self):
      while head := self.head():
        method = head[0].split()[0]
        body = _SDP if method == 'DESCRIBE' else ''
        number = next(line for line in head if line.startswith('CSeq:'))
        told = ['RTSP/1.0 200 OK', number, _ANSWERS[method], f'Content-Length: {len(body)}', '']
        self.wfile.write('\r\n'.join([*told, body]).encode())
        if method == 'PLAY':
          self.play()
          return

    def head(self):
      lines = []
      while line := self.rfile.readline().decode().strip():
        lines.append(line)
      return lines

    def play(self):
      for one in packets[: round(share * len(packets))]:
        self.wfile.write(struct.pack('>cBH', b'$', one[1] == _REPORT, len(one)) + one)
      if hang:
        released.wait(60)

  return served(Camera, released)
