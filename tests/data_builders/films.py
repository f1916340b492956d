"""Small video files of many kinds, made up."""

import dataclasses
import io
import pathlib
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
import pytest

RATE = 30
NEEDS_WRITER = pytest.mark.skipif(
  not hasattr(av.video.stream.VideoStream, 'set_display_rotation'),
  reason='this version of PyAV reads such files but cannot write them',
)
SIZE = (48, 64)
# Colours of the quarters: upper left, upper right, lower left, lower right.
QUARTERS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 250]])
PIXELS = {
  'mjpeg': 'yuvj420p',
  'png': 'rgba',
  'qtrle': 'argb',
  'rawvideo': 'bgr24',
}

# Containers, codecs and options of files that tell their size, and of others.
FINISHED = [
  ('avi', 'mjpeg', {}),
  ('avi', 'mpeg4', {'b_frames': 2}),
  ('avi', 'libx264', {}),
  ('mp4', 'libx264', {'b_frames': 2}),
  ('mp4', 'libx264', {'movflags': 'faststart', 'sound': 1}),
  ('mp4', 'libx264', {'movflags': 'dash+global_sidx+frag_keyframe'}),
  ('mov', 'mpeg4', {'movflags': 'faststart'}),
  ('matroska', 'libx264', {'b_frames': 2}),
  ('webm', 'libvpx', {}),
  ('flv', 'flv1', {}),
  ('flv', 'libx264', {'sound': 1}),
  ('asf', 'wmv2', {}),
]
UNFINISHED = [
  ('avi', 'mpeg4', {'live': True}),
  ('mp4', 'libx264', {'movflags': 'frag_keyframe+empty_moov'}),
  ('matroska', 'libx264', {'live': True}),
  ('asf', 'wmv2', {'live': True}),
  ('mpeg', 'mpeg2video', {}),
  ('mpegts', 'libx264', {}),
]


class Pipe(io.BytesIO):
  """What cannot be gone back in, so that sizes are never filled in."""

  def seekable(self) -> bool:
    return False


def flat(i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
  """Grey, brighter from frame to frame."""
  return np.full((*size, 3), 20 + 5 * i, np.uint8)


def noise(i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
  """What takes some bytes."""
  return np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)


def quarters(i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
  """Four colours."""
  del i
  blocks = QUARTERS.reshape(2, 2, 3).astype(np.uint8)
  return blocks.repeat(size[0] // 2, 0).repeat(size[1] // 2, 1)


@dataclasses.dataclass(frozen=True)
class Film:
  """A video to be written, whose frame i is shown at `times[i]` / 30 s.

  Attributes:
    form: the container.
    codec: of the pictures.
    times: of the frames.
    picture: gives frame i, uint8 [H, W, 3].
    size: height and width.
    pixels: their format.
    b_frames: in a row.
    sound: seconds of silence.
    cover: whether there is a cover picture.
    title: of the film.
    aspect: width of a pixel by its height.
    rotation: counterclockwise, degrees.
    live: whether it is written to a pipe.
    movflags: of MP4.
  """

  form: str = 'mp4'
  codec: str = 'libx264'
  times: Sequence[int] = range(12)
  picture: Callable[[int, tuple[int, int]], np.ndarray] = flat
  size: tuple[int, int] = SIZE
  pixels: str = ''
  b_frames: int = 0
  sound: float = 0
  cover: bool = False
  title: str = ''
  aspect: Fraction | None = None
  rotation: int = 0
  live: bool = False
  movflags: str = ''

  def write(self) -> bytes:
    if self.live:
      buffer = Pipe()
      self._mux(buffer)
      return buffer.getvalue()
    with tempfile.NamedTemporaryFile() as file:  # Some of the muxers' flags need one to read again.
      self._mux(file.name)
      return pathlib.Path(file.name).read_bytes()

  def _mux(self, target) -> None:
    options = {'movflags': self.movflags} if self.movflags else {}
    with av.open(target, 'w', format=self.form, options=options) as container:
      if self.title:
        container.metadata['title'] = self.title
      stream = self._add_stream(container)
      poster = _add_poster(container) if self.cover else None
      if self.sound:
        _add_sound(container, self.sound)
      for i, time in enumerate(self.times):
        frame = av.VideoFrame.from_ndarray(self.picture(i, self.size), format='rgb24')
        frame.pts, frame.time_base = time, Fraction(1, RATE)
        container.mux(stream.encode(frame))
      container.mux(stream.encode(None))
      if poster:
        _print(container, poster)

  def _add_stream(self, container):
    stream = container.add_stream(self.codec, rate=RATE)
    stream.height, stream.width = self.size
    stream.pix_fmt = self.pixels or PIXELS.get(self.codec, 'yuv420p')
    stream.codec_context.gop_size = 4
    stream.codec_context.max_b_frames = self.b_frames
    if self.aspect:
      stream.codec_context.sample_aspect_ratio = self.aspect
    if self.rotation:
      stream.set_display_rotation(self.rotation)
    return stream


def film(*args, **kwargs) -> bytes:
  """The file of a `Film`."""
  return Film(*args, **kwargs).write()


def song(cover: bool) -> bytes:
  """Sound, perhaps with a cover picture."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    poster = _add_poster(container) if cover else None
    _add_sound(container, 1)
    if poster:
      _print(container, poster)
  return buffer.getvalue()


def _add_poster(container):
  stream = container.add_stream('mjpeg', rate=1)
  stream.height, stream.width, stream.pix_fmt = 96, 96, 'yuvj420p'
  stream.disposition = av.stream.Disposition.attached_pic
  return stream


def _print(container, poster) -> None:
  frame = av.VideoFrame.from_ndarray(flat(40, (96, 96)), format='rgb24')
  container.mux([*poster.encode(frame), *poster.encode(None)])


def _add_sound(container, seconds: float) -> None:
  stream = container.add_stream('aac', rate=16000, layout='mono')
  for i in range(round(seconds * 16000 / 1024)):
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
    frame.sample_rate, frame.pts = 16000, 1024 * i
    container.mux(stream.encode(frame))
  container.mux(stream.encode(None))


def boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
  """Name, place and size of MP4's boxes."""
  while at < end:
    (size,) = struct.unpack_from('>I', data, at)
    yield data[at + 4 : at + 8], at, size
    at += size


def cover_first(data: bytes) -> bytes:
  """Puts tags before tracks, as taggers do; FFmpeg then takes the cover for the first stream."""
  _, at, size = next(box for box in boxes(data, 0, len(data)) if box[0] == b'moov')
  order = {b'mvhd': 0, b'udta': 1}
  inner = sorted(boxes(data, at + 8, at + size), key=lambda box: order.get(box[0], 2))
  moov = b''.join(data[place : place + length] for _, place, length in inner)
  return data[: at + 8] + moov + data[at + size :]


def trim(data: bytes, first: int, count: int) -> bytes:
  """An edit list that shows `count` frames from `first` on, and leaves all in the file."""
  changed = bytearray(data)
  at = data.index(b'elst')
  start = struct.unpack_from('>Ii', data, at + 12)[1]  # Where presentation begins.
  unit = 512  # of the track's clock, a frame
  struct.pack_into('>Ii', changed, at + 12, round(1000 * count / RATE), start + first * unit)
  return bytes(changed)


def turn(data: bytes, a: int, b: int, c: int, d: int) -> bytes:
  """A film to be shown with x' = a x + c y and y' = b x + d y."""
  changed, one = bytearray(data), 1 << 16
  matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
  struct.pack_into('>9i', changed, data.index(b'tkhd') + 44, *matrix)
  return bytes(changed)
