"""Small video files of many kinds, made up."""

import io
import pathlib
import struct
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

RATE = 30
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


def film(
  form: str = 'mp4',
  codec: str = 'libx264',
  times: Sequence[int] = range(12),
  picture=flat,
  size: tuple[int, int] = SIZE,
  pixels: str = '',
  b_frames: int = 0,
  sound: float = 0,
  cover: bool = False,
  title: str = '',
  aspect: Fraction | None = None,
  rotation: int = 0,
  live: bool = False,
  **options: str,
) -> bytes:
  """A video whose frame i is shown at `times[i]` / 30 s.

  Args:
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
    **options: of the container.
  """
  buffer: io.BytesIO = Pipe() if live else io.BytesIO()
  with tempfile.NamedTemporaryFile() as file:
    # Some of the muxers' options need a file to read again.
    with av.open(buffer if live else file.name, 'w', format=form, options=options) as container:
      if title:
        container.metadata['title'] = title
      stream = container.add_stream(codec, rate=RATE)
      stream.height, stream.width = size
      stream.pix_fmt = pixels or PIXELS.get(codec, 'yuv420p')
      stream.codec_context.gop_size = 4
      stream.codec_context.max_b_frames = b_frames
      if aspect:
        stream.codec_context.sample_aspect_ratio = aspect
      if rotation:
        stream.set_display_rotation(rotation)
      if cover:
        poster = container.add_stream('mjpeg', rate=1)
        poster.height, poster.width, poster.pix_fmt = 96, 96, 'yuvj420p'
        poster.disposition = av.stream.Disposition.attached_pic
      if sound:
        add_sound(container, sound)
      for i, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(picture(i, size), format='rgb24')
        frame.pts, frame.time_base = time, Fraction(1, RATE)
        container.mux(stream.encode(frame))
      container.mux(stream.encode(None))
      if cover:
        frame = av.VideoFrame.from_ndarray(flat(40, (96, 96)), format='rgb24')
        container.mux([*poster.encode(frame), *poster.encode(None)])
    return buffer.getvalue() if live else pathlib.Path(file.name).read_bytes()


def add_sound(container, seconds: float) -> None:
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
